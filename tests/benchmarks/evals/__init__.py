"""Measurements that the docs quote, each with the command that repeats it."""
