"""Servers: a memory for programs that are not written in Python."""
