"""Measurements of the engine, one subject a file."""
