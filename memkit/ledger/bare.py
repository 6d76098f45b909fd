"""Which records have no passages yet, so that nobody has to look for them among all.

Triggers keep the table in step with ``records`` and ``passages``, whoever writes those.
"""

from __future__ import annotations

_BARE = "NOT EXISTS (SELECT 1 FROM passages WHERE record = records.rowid)"
# All rows that the table is to have.
ALL = f"SELECT rowid FROM records WHERE {_BARE}"  # noqa: S608 - a constant

MIGRATION = (
    """
    CREATE TABLE bare (
        record INTEGER PRIMARY KEY REFERENCES records (rowid) ON DELETE CASCADE
    )
    """,
    f"INSERT INTO bare {ALL}",
    """
    CREATE TRIGGER bare_added AFTER INSERT ON records BEGIN
        INSERT INTO bare VALUES (new.rowid);
    END
    """,
    """
    CREATE TRIGGER bare_no_more AFTER INSERT ON passages BEGIN
        DELETE FROM bare WHERE record = new.record;
    END
    """,
    # Nothing where the passages go with their record.
    f"""
    CREATE TRIGGER bare_again AFTER DELETE ON passages BEGIN
        INSERT OR IGNORE INTO bare
            SELECT rowid FROM records WHERE rowid = old.record AND {_BARE};
    END
    """,  # noqa: S608 - a constant
)
