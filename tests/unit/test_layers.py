"""Imports go down only: each module imports from its own floor or from lower ones.

Reading ``memkit.version.__version__`` is no import from above: it needs nothing but the package.
"""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import memkit

PACKAGE = Path(memkit.__file__).parent

FLOORS = {
    1: {"errors", "types", "outcomes", "scope", "validate", "words"},
    2: {"protocols", "prompt", "compose", "evidence", "ledger", "messages"},
    3: {"rag", "buffer", "models", "forget", "traces", "rows", "adapter_files", "archive"},
    4: {"lora", "routing", "answer"},
    5: {
        "wiring",
        "explain",
        "reading",
        "asking",
        "chat",
        "lookups",
        "writing",
        "importing",
        "lifecycle",
        "modules",
        "transfer",
        "portability",
        "memory",
    },
    6: {"aio", "check", "bench", "evals", "demo", "report"},
    7: {"cli", "on_memory", "__main__", "__init__"},
}
FLOOR = {room: floor for floor, rooms in FLOORS.items() for room in rooms}


def room_of(path):
    """The first name below the package: a module, or a folder of modules."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


SOURCES = sorted(PACKAGE.rglob("*.py"))
ROOMS = {room_of(path) for path in SOURCES}


def imported_rooms(source):
    """Rooms that a module imports from, at its top or inside its functions."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
            names -= {"memkit.version.__version__"}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    parts = [name.split(".") for name in names if name.split(".")[0] == "memkit"]
    # `from memkit import errors` reads a room, `from memkit import Memory` the package itself.
    return {dotted[1] if dotted[1:] and dotted[1] in ROOMS else "__init__" for dotted in parts}


def test_every_room_has_a_floor():
    assert ROOMS - FLOOR.keys() - {"testing"} == set()


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_downwards(path):
    room = room_of(path)
    floor = 4 if room == "testing" else FLOOR[room]
    upward = {
        other
        for other in imported_rooms(path.read_text(encoding="utf-8")) - {room}
        if other == "testing" or FLOOR[other] > floor
    }

    assert upward == set(), f"{room} is on floor {floor} and imports from above"


def test_rooms_do_not_import_each_other_in_circles():
    imports = {room: set() for room in ROOMS}
    for path in SOURCES:
        imports[room_of(path)] |= imported_rooms(path.read_text(encoding="utf-8"))
    graph = {room: others - {room} for room, others in imports.items()}

    assert len(list(TopologicalSorter(graph).static_order())) == len(graph)


@pytest.mark.parametrize(
    ("source", "rooms"),
    [
        ("from memkit.types.records import Record", {"types"}),
        ("from memkit import Memory", {"__init__"}),
        ("from memkit import __version__", set()),
        ("import memkit", {"__init__"}),
        ("from memkit import errors", {"errors"}),
        ("def f():\n    import memkit.ledger.engine.schema", {"ledger"}),
        ("import json, memkitten", set()),
    ],
)
def test_imports_are_seen(source, rooms):
    assert imported_rooms(source) == rooms
