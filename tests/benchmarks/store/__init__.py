"""Measurements of the store: adding, searching, durability and memory, beside other stores."""
