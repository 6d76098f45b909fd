"""Adapters in and out, in PEFT's format."""
