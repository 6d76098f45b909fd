"""The verbs of a memory, and what puts its parts together."""
