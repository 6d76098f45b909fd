"""SQLite: connection, schema, locks, errors."""
