"""Scopes as row-level security: who reads the tables by SQL sees the rows of its scope alone.

Switched on and off by ``row_security`` in a memory's URL, by the role that owns the tables. That
role is not limited, and memkit connects as it. Others see what ``give_scope`` lets them see, and
without it nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

from memkit.ledger.engine.database import Database

SCOPES = "role_scopes"  # role to scope; NULL for one that says its scope itself, as memkit.scope
_VISIBLE = "(SELECT visible_scope()) @> scope::jsonb"
_OF_RECORD = "EXISTS (SELECT 1 FROM records WHERE number = record)"
# What is visible of each table that may be read. Those within a condition are limited as well.
_READABLE = {
    "memory_state": "TRUE",
    SCOPES: "role = current_user",
    "records": _VISIBLE,
    "turns": _VISIBLE,
    "items": _VISIBLE,
    "module_versions": _VISIBLE,
    "versions": _OF_RECORD,
    "passages": _OF_RECORD,
    "placements": _OF_RECORD,
    "syntheses": _OF_RECORD,
    "examples": "EXISTS (SELECT 1 FROM syntheses WHERE number = synthesis)",
    "members": "EXISTS (SELECT 1 FROM module_versions AS own "
    "WHERE own.module = members.module AND own.version = members.version)",
    "modules": "EXISTS (SELECT 1 FROM module_versions WHERE module = name)",
}
_TABLES = (
    "SELECT quote_ident(relname) FROM pg_class "
    "WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r' ORDER BY 1"
)
_STATES = "SELECT DISTINCT rowsecurity FROM pg_tables WHERE schemaname = current_schema()"
# Their bodies are read when they are made: whoever calls them cannot put other tables below them.
_MADE = (
    f"""
    CREATE TABLE IF NOT EXISTS {SCOPES} (
        role NAME PRIMARY KEY,
        scope TEXT CHECK (scope IS JSON OBJECT)
    )
    """,
    f"""
    CREATE OR REPLACE FUNCTION visible_scope() RETURNS jsonb LANGUAGE sql STABLE
    RETURN (
        SELECT coalesce(scope, nullif(current_setting('memkit.scope', true), ''))::jsonb
        FROM {SCOPES} WHERE role = current_user
    )
    """,
)
_GIVE = """
    CREATE OR REPLACE FUNCTION give_scope(reader name, given text) RETURNS void
    LANGUAGE plpgsql SET search_path = {schema}, pg_temp AS $$ BEGIN
        EXECUTE format('GRANT USAGE ON SCHEMA {schema} TO %I', reader);
        EXECUTE format('GRANT SELECT ON {tables} TO %I', reader);
        INSERT INTO role_scopes VALUES (reader, given)
            ON CONFLICT (role) DO UPDATE SET scope = excluded.scope;
    END $$
"""


def switch(database: Database, schema: str, *, on: bool) -> None:
    """Limit what others than the owner can read to their scopes, or lift that.

    Raises:
        ReadOnlyError: If the role does not own the tables.
    """
    if database.column(_STATES) == [on]:
        return
    with database.transaction():
        for statement in _switching(database, schema, on=on):
            database.execute(statement)


def _switching(database: Database, schema: str, *, on: bool) -> Iterator[str]:
    if on:
        yield from _MADE
        yield _GIVE.format(schema=schema, tables=", ".join(_READABLE))
    for table in database.column(_TABLES):
        yield f"DROP POLICY IF EXISTS memkit_scope ON {table}"
        yield f"ALTER TABLE {table} {'ENABLE' if on else 'DISABLE'} ROW LEVEL SECURITY"
        if on and table in _READABLE:
            yield f"CREATE POLICY memkit_scope ON {table} FOR SELECT USING ({_READABLE[table]})"
