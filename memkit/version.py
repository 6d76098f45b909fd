"""The version of memkit; the build reads it here."""

__version__ = "0.1.0"
