"""Adapter modules, their versions, and what they hold."""
