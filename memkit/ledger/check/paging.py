"""All rows of a table, however many there are."""

from __future__ import annotations

from collections.abc import Iterator

from memkit.ledger.engine.sqlite import Database, Row

_PAGE = 1000  # rows that are in memory at once


def rows_of(database: Database, table: str, key: str, *columns: str) -> Iterator[Row]:
    """Read a table page by page; it may be written to meanwhile.

    Args:
        database: Has the table.
        table: Its name.
        key: A column of whole numbers above 0 that tells its rows apart; the first of each row.
        columns: The others that are wanted.
    """
    wanted, last = ", ".join([key, *columns]), 0
    query = f"SELECT {wanted} FROM {table} WHERE {key} > ? ORDER BY {key} LIMIT ?"  # noqa: S608 - names
    while rows := database.rows(query, last, _PAGE):
        yield from rows
        last = rows[-1][0]
