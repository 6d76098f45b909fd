"""SQL stays in the ledger, and what only SQLite knows stays in the ledger's engine."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import memkit

PACKAGE = Path(memkit.__file__).parent
LEDGER, ENGINE = PACKAGE / "ledger", PACKAGE / "ledger" / "engine"
FILES = sorted(PACKAGE.rglob("*.py"))
OUTSIDE = [path for path in FILES if LEDGER not in path.parents]
ABOVE = [path for path in FILES if LEDGER in path.parents and ENGINE not in path.parents]

SQL = re.compile(
    r"\b(SELECT\s.*\bFROM|INSERT INTO|UPDATE \w+ SET|DELETE FROM|REPLACE INTO|PRAGMA|VACUUM"
    r"|(CREATE|ALTER|DROP) (TABLE|INDEX|TRIGGER|VIRTUAL TABLE))\b",
    re.DOTALL,
)
ONLY_SQLITE = re.compile(
    r"\b(rowid|json_(each|tree|extract|valid|type|array|group_array)|\w+_fts|fts5|bm25|MATCH|PRAGMA"
    r"|sqlite_\w+|VACUUM|GLOB|REPLACE INTO|OR (IGNORE|REPLACE|ABORT)|CROSS JOIN|WITHOUT ROWID"
    r"|AUTOINCREMENT|iif|instr|typeof|randomblob|total_changes)\b|\?\d|LIMIT -1|CREATE \w*TABLE",
    re.IGNORECASE,
)
ENGINE_ONLY = {
    "sqlite3",
    "memkit.ledger.engine.database",
    "memkit.ledger.engine.dialect",
    "memkit.ledger.engine.sqlite",
}


def strings(source):
    """The texts of a module that are no docstrings, pieces of f-strings included."""
    tree = ast.parse(source)
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        text = node.value if isinstance(node, ast.Constant) else None
        if isinstance(text, str) and id(node) not in docstrings:
            yield text


def imports(source):
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def found(pattern, source):
    return [match.group() for text in strings(source) for match in pattern.finditer(text)]


@pytest.mark.parametrize("path", OUTSIDE, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_sql_outside_of_the_ledger(path):
    source = path.read_text(encoding="utf-8")
    assert found(SQL, source) == []
    assert ENGINE_ONLY.isdisjoint(imports(source))
    assert "._database" not in source


@pytest.mark.parametrize("path", ABOVE, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_sqlite_above_the_engine(path):
    source = path.read_text(encoding="utf-8")
    assert found(ONLY_SQLITE, source) == []
    assert "sqlite3" not in imports(source)


def test_the_engine_imports_nothing_of_what_is_above_it():
    for path in ENGINE.glob("*.py"):
        inside = {name for name in imports(path.read_text(encoding="utf-8")) if "ledger" in name}
        assert all(name.startswith("memkit.ledger.engine") for name in inside), path


@pytest.mark.parametrize(
    ("pattern", "code"),
    [
        (SQL, 'rows("SELECT id FROM records")'),
        (SQL, 'run(f"DELETE FROM {table}")'),
        (SQL, 'sql = "UPDATE records SET text = ?"'),
        (ONLY_SQLITE, 'rows("SELECT rowid FROM records")'),
        (ONLY_SQLITE, 'rows(f"SELECT {columns} FROM json_each(?)")'),
        (ONLY_SQLITE, 'sql = "WHERE id = ?1"'),
        (ONLY_SQLITE, 'sql = "INSERT OR IGNORE INTO t"'),
        (ONLY_SQLITE, 'sql = "FROM passages_fts"'),
    ],
)
def test_what_is_looked_for_is_seen(pattern, code):
    assert found(pattern, code)


def test_docstrings_may_speak_of_sql():
    assert found(SQL, 'def f():\n    """Runs SELECT 1 FROM t."""\n    return "as it is"') == []
