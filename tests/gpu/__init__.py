"""Checks on a GPU, which run in miniature on a CPU as well: ``python tests/gpu --help``."""
