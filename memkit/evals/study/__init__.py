"""The study: one module for each of its questions."""
