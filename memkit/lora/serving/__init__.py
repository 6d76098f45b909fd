"""Adapters in place: bank, buffers, hooks."""
