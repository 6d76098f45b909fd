"""The layout of the package: few rooms, imports that only go down, bounded depth, small files.

A room is a top-level entry of the package, a file or a folder. Every import between rooms counts:
at the top of a module, inside a function, and under TYPE_CHECKING.
"""

import ast
from collections import Counter
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import memkit

PACKAGE = Path(memkit.__file__).parent

# From the top down; rooms of one rank may not import each other.
ORDER = (
    {"cli"},
    {"evals", "server"},
    {"memory"},
    {"testing"},
    {"lora"},
    {"answering"},
    {"routing"},
    {"rag", "buffer"},
    {"models", "ledger"},
    {"text", "protocols"},
    {"types", "files"},
    {"errors", "version"},
)
RANK = {room: -depth for depth, rooms in enumerate(ORDER) for room in rooms}

FLOORS = 11  # of the longest chain; whoever adds one says why, and 12 are the limit
MOST_ARROWS = 101  # `evals` and `server` use nearly all that is below them
MOST_ENTRIES = 22
MOST_LINES = 400

NO_ROOMS = {"__init__", "__main__", "py"}  # doors, and the marker py.typed
SHARED_NAMES = {"__init__.py"}

SOURCES = sorted(PACKAGE.rglob("*.py"))
ENTRIES = sorted(path for path in PACKAGE.iterdir() if path.name != "__pycache__")
ROOMS = {path.name.partition(".")[0] for path in ENTRIES} - NO_ROOMS


def room_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(source):
    """The line and the room of every import from the package.

    The public names come from `memory`, the highest room that `memkit/__init__.py` opens.
    """
    imports = []
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            package, _, path = name.partition(".")
            if package == "memkit":
                room = path.partition(".")[0]
                room = "version" if room == "__version__" else room
                imports.append((node.lineno, room if room in ROOMS else "memory"))
    return imports


def edges():
    """Pairs of rooms, the importing one first, with the places in the sources."""
    places = {}
    for path in SOURCES:
        room = room_of(path)
        if room in ROOMS:
            for line, other in imports_of(path.read_text(encoding="utf-8")):
                if other != room:
                    place = f"{path.relative_to(PACKAGE)}:{line}"
                    places.setdefault((room, other), {})[place] = None
    return places


EDGES = edges()


def circle(pairs):
    """Rooms that import each other in a circle, or None."""
    graph = {}
    for room, other in pairs:
        graph.setdefault(room, set()).add(other)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return None


def longest_chain(pairs):
    """The longest chain of rooms, each of which imports the next."""
    below = {}
    for room, other in pairs:
        below.setdefault(room, set()).add(other)
    chains = {}
    for room in TopologicalSorter(below).static_order():  # what is imported comes first
        longest = max((chains[other] for other in sorted(below.get(room, ()))), key=len, default=[])
        chains[room] = [room, *longest]
    return max(chains.values(), key=len, default=[])


def listed(pairs):
    return "\n".join(
        f"{room} -> {other}: {', '.join(EDGES[room, other])}" for room, other in sorted(pairs)
    )


def test_every_room_has_a_rank():
    assert ROOMS - RANK.keys() == set()


def test_imports_go_down():
    upward = [pair for pair in EDGES if RANK[pair[0]] <= RANK[pair[1]]]

    assert not upward, f"{len(upward)} imports go up or sideways:\n{listed(upward)}"


def test_nothing_imports_the_contract_suites():
    users = [pair for pair in EDGES if pair[1] == "testing"]

    assert not users, listed(users)


def test_rooms_do_not_import_each_other_in_circles():
    rooms = circle(EDGES)

    assert rooms is None, (
        " -> ".join(rooms) + "\n" + listed(pair for pair in EDGES if set(pair) <= set(rooms))
    )


def test_the_longest_chain_of_rooms_does_not_grow():
    assert not circle(EDGES), "rooms in a circle have no depth"
    chain = longest_chain(EDGES)

    assert len(chain) <= FLOORS <= 12, " -> ".join(chain)


def test_few_rooms_know_each_other():
    assert len(EDGES) <= MOST_ARROWS


def test_the_doors_open_nothing_above_the_memory():
    doors = [path for path in SOURCES if path.name == "__init__.py" and path.parent == PACKAGE]
    rooms = {room for path in doors for _, room in imports_of(path.read_text(encoding="utf-8"))}

    assert rooms == {"errors", "memory", "types", "version"}


def test_the_package_has_few_entries():
    assert len(ENTRIES) <= MOST_ENTRIES, ", ".join(path.name for path in ENTRIES)


def test_no_file_is_long():
    lines = {
        str(path.relative_to(PACKAGE)): len(path.read_text(encoding="utf-8").splitlines())
        for path in SOURCES
    }

    assert {name: count for name, count in lines.items() if count > MOST_LINES} == {}


def test_no_two_files_share_a_name():
    names = Counter(path.name for path in SOURCES if path.name not in SHARED_NAMES)
    shared = {name for name, count in names.items() if count > 1}

    assert [str(path.relative_to(PACKAGE)) for path in SOURCES if path.name in shared] == []


@pytest.mark.parametrize(
    ("source", "rooms"),
    [
        ("from memkit.types.records import Record", ["types"]),
        ("from memkit import Memory", ["memory"]),
        ("from memkit import __version__", ["version"]),
        ("import memkit", ["memory"]),
        ("from memkit import errors", ["errors"]),
        ("def f():\n    import memkit.ledger.engine.schema", ["ledger"]),
        ("if TYPE_CHECKING:\n    from memkit.lora import lora_backend", ["lora"]),
        ("import json, memkitten", []),
    ],
)
def test_imports_are_seen(source, rooms):
    assert [room for _, room in imports_of(source)] == rooms


def test_a_relative_import_is_refused():
    with pytest.raises(AssertionError, match="line 2: relative import"):
        imports_of("\nfrom . import x")


def test_circles_and_chains_are_measured():
    assert circle([("a", "b"), ("b", "c"), ("c", "a")])[0] in "abc"
    assert circle([("a", "b"), ("a", "c"), ("b", "c")]) is None
    assert longest_chain([("a", "c"), ("a", "b"), ("b", "c"), ("d", "c")]) == ["a", "b", "c"]
