"""The second engine: a memory in a schema of a PostgreSQL database (extra ``postgres``)."""
