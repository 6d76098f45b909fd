"""Measurements of the engine, one subject a file: ``memkit bench``."""
