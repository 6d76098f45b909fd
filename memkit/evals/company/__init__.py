"""A small invented company: its directory, its handbook, and the words they are made of."""
