"""Every parameter of every public verb refuses what is not of its kind, and nothing changes.

There is a catalogue of wrong values for each kind; a verb is only told which of its parameters
are of which kind.
"""

import asyncio
import functools
import inspect
import math
import typing
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo

import numpy as np
import pytest

from memkit import AsyncMemory, InvalidInputError, Memory
from memkit.answering.prompt import PromptFormat
from memkit.ledger.items import NewItem
from memkit.lora.recipe import Recipe
from memkit.lora.spec import LoraSpec, TrainSpec
from memkit.memory import options as option_types
from memkit.memory.check import check
from memkit.testing import HashingEmbedder
from memkit.types import Draft, Sampling, TurnDraft

NESTED: object = "x"
for _ in range(3000):
    NESTED = [NESTED]
DEEP = {"a": 1}
for _ in range(3000):
    DEEP = {"$not": DEEP}
WEST, EAST = timezone(timedelta(hours=-5)), timezone(timedelta(hours=5))
NFC, NFD = "\u00e9", "e\u0301"


def labelled(value):
    """The name of a parameter; of a wrong value, which may have no representation, its class."""
    named = isinstance(value, str) and value.isidentifier()
    return value if named else type(value).__name__


class Equal:
    """Equal to everything, and neither true nor false."""

    __hash__ = None

    def __eq__(self, other):
        return True

    def __bool__(self):
        raise ValueError("no truth")


class Zone(tzinfo):
    """A time zone that tells no offset that Python takes."""

    def __init__(self, offset):
        self.offset = offset

    def utcoffset(self, moment):
        return self.offset


class Silent:
    def __repr__(self):
        raise RuntimeError("no repr")


STRINGS = [5, True, b"x", {}, NESTED, Silent(), "", " \n", "a\0", "\ud800", str]
SHORT = [*STRINGS, "x" * 257]
FLAGS = [0, 1, "no", [], Silent()]
SCOPES = [
    *("u1", 5, [], [("user", "u1")], NESTED, Silent(), {"": "x"}, {"a": ""}, {"a": " "}),
    *({"a": 1}, {1: "a"}, {"a": None}, {"a\0": "b"}, {"a": "\ud800"}, {"a" * 257: "b"}),
    *({"a": "b" * 257}, {str(n): "x" for n in range(7)}, {NFC: "a", NFD: "a"}, {"a": ["b"]}),
    *(Equal(), np.array(["all", "all"]), np.zeros(2), np.zeros(0)),
]
WHERES = [
    *("a", 5, ["a"], NESTED, Silent(), {1: 2}, {"a\0": 1}, {"a": "\ud800"}, {"$xor": []}, DEEP),
    *({"a": {}}, {"a": {"$in": "x"}}, {"a": {"$gt": [1]}}, {"a": {"$nin": 5}}, {"a": NESTED}),
    *({"a": math.nan}, {"a": 2**63}, {"a": {"$contains": {}}}, {"a" * 9000: 1}, {"a": Silent()}),
    *({"a": datetime(2025, 1, 1, tzinfo=UTC)}, {"$and": NESTED}, {"a": {"$exists": 1}}),
    *(Equal(), np.zeros(2), {"a": {"$gt": np.True_}}, {"a": {"$lte": None}}, {"$or": [{}] * 201}),
]
METADATA = [
    *("a", 5, [("a", 1)], NESTED, Silent(), {1: 2}, {"a\0": 1}, {"a": "\0"}, {"\ud800": 1}),
    *({"a": math.nan}, {"a": -math.inf}, {"a": 2**63}, {"a": 10**5000}, {"a": {1}}, {"a": b"x"}),
    *({"a": NESTED}, {"a": Silent()}, {"a": np.zeros(2)}, {"a.b": 1, "a": {"b": 1}}),
    *({NFC: 1, NFD: 1}, {"a": datetime(2025, 1, 1, tzinfo=UTC)}, {"a" * 257: 1}),
    *(Equal(), np.zeros(2), np.zeros(0)),
]
TTLS = [
    *(0, -1, 1e-9, math.nan, math.inf, 10**400, 4e10, True, "5", [], timedelta(0), timedelta.max),
    *(np.array([5.0]), np.zeros(2), Equal(), Silent(), -timedelta(seconds=1)),
]
TIMES = [
    *("2025-01-01", 5, 1.5, True, date(2025, 1, 1), datetime(2025, 1, 1), datetime.min),
    *(datetime.max, datetime.max.replace(tzinfo=WEST), datetime.min.replace(tzinfo=EAST)),
    *(datetime.max.replace(tzinfo=UTC), Silent(), Equal(), np.zeros(2)),
    *(datetime(2025, 1, 1, tzinfo=Zone(offset)) for offset in (timedelta(hours=30), 5, "x")),
    datetime(2025, 1, 1, tzinfo=tzinfo()),
]
LIMITS = [0, -1, True, 1.5, "5", [], 2**70, -(2**70), math.nan, math.inf, Silent()]
PATHS = [5, True, b"x", "", " ", "a\0b", [], NESTED, Silent(), "\ud800", "x" * 300, "x/" * 3000]
NUMBERS = ["5", True, math.nan, -1, [], 10**5000, Silent()]
QUESTIONS = [
    *STRINGS,
    *([], ["Who?"], [{}], [{"role": "user"}], [{"role": "user", "content": 5}], [NESTED]),
    *([{"role": "bot", "content": "x"}], [{"role": ["user"], "content": "x"}]),
    *([{"role": "user", "content": "\ud800"}], [{"role": "assistant", "content": "x"}]),
    [{"role": "user", "content": "a\0"}, {"role": "user", "content": "x"}],
]
NAMESPACES = ["a", 5, [1], ("a.b",), ("",), (" ",), ("a\0",), ("\ud800",), ("a" * 257,), {"a"}]
NO_PART = [5, "most", [], NESTED, Silent()]
CHOICES = [5, None, "most", [], NESTED, Silent()]

KINDS = {
    "text": [None, *STRINGS, "x" * 2_000_001],
    "optional text": STRINGS,
    "id": [None, *SHORT],
    "optional id": SHORT,
    "ids": [None, "a", 5, {"a": 1}, [5], [None], ["a", "\ud800"], [""], ["x" * 257], [["a"]]],
    "one or several": [5, {"a": 1}, "", "\ud800", [5], [None], ["a\0"], b"a", Silent()],
    "flag": [None, *FLAGS],
    "optional flag": FLAGS,
    "scope": [None, *SCOPES],
    "optional scope": SCOPES,
    "where": WHERES,
    "metadata": [None, *METADATA],
    "optional metadata": METADATA,
    "ttl": TTLS,
    "time": TIMES,
    "limit": [None, *LIMITS],
    "budget": [None, *[value for value in LIMITS if value != 0 or value is True]],
    "path": [None, *PATHS],
    "cursor": [5, "", "x", "-1", "1.5", "\ud800", "9" * 5000, "\u0663", [], Silent()],
    "number": [None, *NUMBERS],
    "optional number": NUMBERS,
    "question": [None, *QUESTIONS],
    "questions": [None, "Who?", 5, [None], [""], ["x", "\ud800"], {"a": 1}],
    "role": [None, *STRINGS, "bot"],
    "scopes": ["u1", 5, {}, [], [{}, {}], NESTED, Silent(), *([scope] for scope in SCOPES)],
    "choice": CHOICES,
    "schema": [
        *(5, True, "x", b"x", [], NESTED, Silent(), int, Equal(), np.zeros(2), DEEP),
        *({"const": math.nan}, {"const": Silent()}, {"const": "\ud800"}, {(1,): 2}),
    ],
    "tools": [
        *(5, "x", {}, [5], [{}], [{"function": {}}], [{"function": {"name": "a b"}}], NESTED),
        *([{"function": {"name": "a"}}] * 2, [{"function": {"name": "a", "parameters": 5}}]),
        [{"function": {"name": "a", "description": 5}}],
    ],
    "tool choice": [5, "gone", {}, [], NESTED, Silent(), Equal(), "any", "required"],
    "schemas": [5, "x", {}, [], [{}, {}], [5], NESTED, Silent()],
    "sampling": [None, 5, {}, Sampling, Sampling(seed=-1), Sampling(max_new_tokens=True)],
    "messages": [
        *([{"role": "user", "content": "x", part: NESTED}] for part in ("id", "name")),
        *(None, "x", 5, [5], [{}], [{"role": "user", "content": 5}], [{"role": []}]),
    ],
    "turns": [
        *(None, "", "x", b"", 5, {}, TurnDraft("user", "x"), NESTED, Silent(), [None], ["x"]),
        *([TurnDraft("bot", "x")], [TurnDraft("user", "")], [TurnDraft("user", "x", at=5)]),
        *([TurnDraft("user", "x"), TurnDraft("user", "x", remember=1)],),
        *([TurnDraft("user", "x", name="")], [TurnDraft("user", "x", id="x" * 257)]),
    ],
    "vector": [
        *(None, "x", [], ["a"], [math.nan] * 64, [0.0] * 64, NESTED, Silent(), Equal(), 5, {}),
        *([10**400] * 64, ["1"] * 64, [b"1"] * 64, [1j] * 64, [True] * 64, [None] * 64, b"x" * 64),
        *([math.inf] * 64, [[1.0] * 64], [[1.0], [1.0, 2.0]], dict.fromkeys(range(64), 1.0)),
        *(np.array(["2025-01-01"] * 64, "M8[s]"), np.ones((64, 1)), np.array(1.0)),
    ],
    "drafts": [None, 5, b"x", [5], [None], [{"text": ""}], {"text": "x", "page": 3}, Silent()],
}

SELECTION = {
    "scope": "scope",
    "where": "where",
    "since": "time",
    "until": "time",
    "as_of": "time",
}
RECALL = {**SELECTION, "k": "limit"}
EXPLAIN = {**RECALL, "min_score": "optional number"}
ASK = {
    **EXPLAIN,
    "modules": "one or several",
    "combine": "choice",
    "strict": "flag",
    "sampling": "sampling",
    "quote": "optional flag",
    "schema": "schema",
    "tools": "tools",
    "tool_choice": "tool choice",
    "parallel_tool_calls": "optional flag",
}
LEARNED = {
    "scope": "optional scope",
    "where": "where",
    "include_turns": "flag",
    "retry_missed": "flag",
    "priority": [None, "5", True, 1.5, math.nan, [], 2**31, -(2**70), Silent()],
}
BY_ID = {"id": "id", "scope": "optional scope"}

# For each verb a call that is fine, by keywords, and the kinds of its parameters.
VERBS = {
    "add": (
        {"text": "A new text.", "question": "Which?", "answer": "new"},
        {
            "text": "drafts",
            "question": "optional text",
            "answer": "optional text",
            "scope": "scope",
            "metadata": "metadata",
            "id": "optional id",
            "key": "optional id",
            "ttl": "ttl",
            "pinned": "flag",
            "at": "time",
        },
    ),
    "add_turn": (
        {"role": "user", "content": "Hello."},
        {
            "role": "role",
            "content": "text",
            "scope": "scope",
            "remember": "flag",
            "at": "time",
            "name": "optional id",
        },
    ),
    "add_turns": (
        {"turns": [TurnDraft("user", "Hello.")]},
        {"turns": "turns", "scope": "scope"},
    ),
    "add_messages": (
        {"messages": [{"role": "user", "content": "Hello."}]},
        {
            "messages": "messages",
            "scope": "scope",
            "remember": "flag",
            "at": "time",
            "continues": "flag",
        },
    ),
    "update": (
        {"id": "a"},
        {
            **BY_ID,
            "text": "optional text",
            "question": "optional text",
            "answer": "optional text",
            "metadata": [*METADATA, [], (), "", 0, False, np.zeros(0), np.zeros(1), set()],
        },
    ),
    "merge": ({"ids": ["a", "b"]}, {"ids": "ids", "scope": "optional scope"}),
    "consolidate": ({}, {**LEARNED, "wait": "flag"}),
    "forget": (
        {"id": "a"},
        {
            "id": "one or several",
            "scope": "optional scope",
            "where": "where",
            "retrain": "flag",
        },
    ),
    "forget_all": ({}, {}),
    "clear": ({}, {"scope": "scope"}),
    "get": ({"id": "a"}, BY_ID),
    "get_by_prefix": (
        {"prefix": "a"},
        {"prefix": "id", "scope": "optional scope", "limit": "limit"},
    ),
    "get_many": ({"ids": ["a"]}, {"ids": "ids", "scope": "optional scope"}),
    "records": (
        {},
        {"scope": "optional scope", "where": "where", "after": "cursor", "limit": "limit"},
    ),
    "count": ({}, {"scope": "optional scope", "where": "where"}),
    "history": ({"id": "a"}, BY_ID),
    "turns": ({}, {"scope": "scope", "limit": "limit"}),
    "scopes": ({}, {}),
    "search": ({"query": "archive"}, {"query": "question", **RECALL}),
    "stats": ({}, {"scope": "optional scope"}),
    "count_tokens": ({}, {"text": [None, 5, b"x", [], NESTED, Silent(), "\ud800"]}),
    "recall": ({"question": "Who?"}, {"question": "question", "budget": "budget", **RECALL}),
    "explain": ({"question": "Who?"}, {"question": "question", "budget": "budget", **EXPLAIN}),
    "ask": ({"question": "Who?"}, {"question": "question", "budget": "budget", **ASK}),
    "ask_batch": (
        {"questions": ["Who?"]},
        {
            "questions": "questions",
            "budget": "budget",
            "scopes": "scopes",
            "schemas": "schemas",
            **ASK,
        },
    ),
    "stream": ({"question": "Who?"}, {"question": "question", "budget": "budget", **ASK}),
    "export": (
        {"path": "never.archive"},
        {"path": "path", "scope": "optional scope", "adapters": "flag"},
    ),
    "import_": (
        {"path": "never.archive"},
        {
            "path": "path",
            "scope": "optional scope",
            "on_conflict": "choice",
            "adapters": "flag",
        },
    ),
    "close": ({}, {}),
    "jobs.put": ({}, LEARNED),
    "jobs.get": ({"id": "j"}, {"id": "id"}),
    "jobs.status": ({"id": "j"}, {"id": "id"}),
    "jobs.wait": ({"id": "j"}, {"id": "id", "timeout": [*NUMBERS, math.inf, 1e10]}),
    "jobs.cancel": ({"id": "j"}, {"id": "id"}),
    "jobs.list": ({}, {"limit": "limit"}),
    "jobs.start": ({}, {}),
    "jobs.stop": ({}, {}),
    "jobs.work": ({}, {"once": "flag", "stop": NO_PART, "told": NO_PART}),
    "modules.list": ({}, {"scope": "optional scope"}),
    "modules.rollback": ({"name": "m0001", "version": 1}, {"name": "id", "version": "limit"}),
    "modules.retrain": ({}, {"names": "one or several"}),
    "modules.compact": ({}, {"scope": "optional scope"}),
    "modules.export": (
        {"mixture": "m0001", "path": "never"},
        {
            "mixture": [None, *SHORT, {"m0001": "x"}, {"m0001": math.nan}, {5: 1.0}],
            "path": "path",
            "format": "choice",
            "merge": "choice",
            "activated": "optional flag",
        },
    ),
    "modules.import_": (
        {"folder": "never", "records": ["a"]},
        {"folder": "path", "records": "ids"},
    ),
    "modules.peft_model": ({"name": "m0001"}, {"name": "id", "trainable": "flag"}),
    "retention.pin": ({"id": "a"}, BY_ID),
    "retention.unpin": ({"id": "a"}, BY_ID),
    "retention.expire": ({"id": "a", "ttl": None}, {**BY_ID, "ttl": "ttl"}),
    "retention.set_ttl": ({"scope": {}, "ttl": None}, {"scope": "scope", "ttl": "ttl"}),
    "retention.sweep": ({}, {"retrain": "flag"}),
    "vectors.search": ({"vector": [1.0] * HashingEmbedder().dim}, {"vector": "vector", **RECALL}),
    "vectors.get": ({"ids": ["a"]}, {"ids": "ids", "scope": "optional scope"}),
    "vectors.duplicates": (
        {},
        {"threshold": "number", "scope": "optional scope", "where": "where"},
    ),
    "vectors.wait": ({}, {}),
    "vectors.reembed": ({}, {"embedder": [None, 5, True, b"x", "", "a\0b", [], Silent()]}),
}


def verb(memory, path):
    for name in path.split("."):
        memory = getattr(memory, name)
    return memory


CASES = [
    pytest.param(path, parameter, id=f"{path}-{parameter}")
    for path, (_, kinds) in VERBS.items()
    for parameter in kinds
]


@pytest.fixture(scope="module")
def shared(tmp_path_factory, opener):
    """A memory that no test changes."""
    with opener(tmp_path_factory.mktemp("parameters") / "agent.mem") as memory:
        memory.add([Draft("The archive is on the second floor.", id="a"), Draft("b", id="b")])
        memory.add_turn("user", "Where is the archive?")
        memory.items.write([NewItem(("a", "b"), "key", {"v": 1})])
        yield memory


def state(memory):
    records = memory.records(scope="all").records
    return records, memory.turns(limit=100), memory.items.count(), len(memory.modules)


def refuses(use, value):
    """Tell whether a value is refused with a readable message; a built-in error comes through."""
    try:
        use()
    except InvalidInputError as error:
        return len(str(error)) < 1000
    except BaseException as error:
        error.add_note(f"for {labelled(value)}")
        raise
    return False


@pytest.mark.parametrize(("path", "parameter"), CASES)
def test_what_is_not_of_its_kind_is_refused(shared, path, parameter):
    fine, kinds = VERBS[path]
    kind = kinds[parameter]
    before = state(shared)
    for number, value in enumerate(KINDS[kind] if isinstance(kind, str) else kind):
        arguments = {**fine, parameter: value}
        use = functools.partial(verb(shared, path), **arguments)
        assert refuses(use, value), f"number {number}, {labelled(value)}"
    assert state(shared) == before


def parameters_of(function):
    signature = inspect.signature(function)
    for name, parameter in signature.parameters.items():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            (kind,) = typing.get_args(
                eval(parameter.annotation, vars(option_types) | {"Unpack": typing.Unpack})
                if isinstance(parameter.annotation, str)
                else parameter.annotation
            )
            yield from kind.__annotations__
        elif name != "self":
            yield name


def public(memory):
    for group in ("", "jobs", "modules", "retention", "vectors"):
        owner = getattr(memory, group) if group else memory
        for name in dir(type(owner)):
            kind = inspect.getattr_static(type(owner), name)
            if not name.startswith("_") and inspect.isfunction(kind):
                yield f"{group}.{name}" if group else name


def test_every_parameter_of_every_verb_is_in_the_table(shared):
    assert set(public(shared)) == VERBS.keys()
    for path, (_, kinds) in VERBS.items():
        function = getattr(verb(shared, path), "__func__", None)
        assert set(parameters_of(function)) == kinds.keys(), path


@pytest.mark.parametrize(("path", "fine"), [(path, fine) for path, (fine, _) in VERBS.items()])
def test_the_calls_of_the_table_are_fine_otherwise(shared, path, fine):
    reads = {"get", "get_by_prefix", "get_many", "records", "count", "history", "turns", "scopes"}
    reads |= {"search", "stats", "recall"}
    if path in reads | {"vectors.search", "vectors.get", "vectors.duplicates"}:
        verb(shared, path)(**fine)


ITEMS = {
    "namespace": [(), *NAMESPACES],
    "key": [None, *STRINGS, "x" * 1025],
    "value": [*METADATA[:18], *METADATA[19:]],
    "ttl": TTLS,
    "scope": SCOPES,
    "vectors": [
        *([["a"]], [[math.nan]], [[1.0], [1.0, 2.0]], [1.0], "x", 5, None, [[]], {"a": [1.0]}),
        *(
            [[10**400]],
            [["1"]],
            [[1j]],
            [b"x"],
            ["12"],
            [{1: 2}],
            np.array(1.0),
            np.zeros((1, 1, 1)),
        ),
        *([[True]], np.array([["2025-01-01"]], "M8[s]"), [[math.inf]], Silent(), NESTED),
    ],
}


@pytest.mark.parametrize(
    ("field", "value"),
    [(field, value) for field, values in ITEMS.items() for value in values],
    ids=labelled,
)
def test_items_are_checked_before_any_is_written(shared, field, value):
    fine = {"namespace": ("a",), "key": "k", "value": {"v": 1}}
    with pytest.raises(InvalidInputError):
        shared.items.write([NewItem(("a",), "fine", {"v": 1}), NewItem(**{**fine, field: value})])
    assert shared.items.count() == 1


@pytest.mark.parametrize("vector", [*KINDS["vector"][:5], *KINDS["vector"][6:]], ids=labelled)
def test_what_items_are_near_to_is_a_vector(shared, vector):
    with pytest.raises(InvalidInputError):
        list(shared.items.nearest(("a",), vector))


@pytest.mark.parametrize(
    "use",
    [
        *(lambda m, v=v: m.items.get(v) for v in ([("a",)], "ab", 5, [5], [("a", "k", "x")], {})),
        *(lambda m, v=v: m.items.write(v) for v in ([5], 5, "ab", None, [("a", "k")], {})),
        *(lambda m, v=v: m.items.write([], v) for v in ([(("a",), "k", "x")], 5, "ab", None)),
    ],
)
def test_items_and_addresses_come_in_lists(shared, use):
    with pytest.raises(InvalidInputError, match=r"`items`|`deleted`|`addresses`|an address"):
        use(shared)
    assert shared.items.count() == 1


@pytest.mark.parametrize("namespace", NAMESPACES, ids=labelled)
def test_where_items_are_is_checked_when_they_are_read_or_deleted(shared, namespace):
    for use in (
        lambda: shared.items.get([(namespace, "key")]),
        lambda: shared.items.write([], [(namespace, "key")]),
        lambda: list(shared.items.below(namespace)),
        lambda: list(shared.items.nearest(namespace, [1.0])),
    ):
        with pytest.raises(InvalidInputError):
            use()
    assert shared.items.count() == 1


OPEN = {
    "path": KINDS["path"],
    "create": KINDS["flag"],
    "backends": [
        *(None, "rag", 5, [], ["cloud"], [5], [["rag"]], NESTED, Silent(), np.zeros(2)),
        np.array(["rag", "cloud"]),
    ],
    "base_model": [5, True, b"x", "", "a\0b", [], Silent()],
    "embedder": [5, True, b"x", "", "a\0b", [], Silent(), "\ud800", "x" * 300],
    "recipe": [5, {}, Recipe, Silent()],
    "count_tokens": [5, "x", {}, Silent()],
    "rebuild": KINDS["flag"],
    "busy_timeout": [*KINDS["number"], math.inf, 1e10, 2**70],
    "device": [5, "", "gpu", "meta", "cpu:0", "cuda:x", "CPU", "cuda:1234", [], Silent(), str],
    "dtype": [5, "", "float16", "float", "torch.float32", [], Silent(), float, np.float32],
    "attn_implementation": [5, "", "flash", [], Silent(), str],
    "max_memory": [0, -1, True, 1.5, "", "8 GiBs", "-1GiB", "lots", "8XB", [], Silent(), 2**70],
    "quantization": [5, True, "", "4bit", "INT8", [], Silent(), str],
    "ranking": [5, {}, Silent()],
    "reranker": [5, "", "a\0b", [], Silent()],
    "vector_index": [5, "x", {}, [], Silent()],
}


@pytest.mark.parametrize(
    ("option", "value"),
    [("repair", value) for value in KINDS["flag"]]
    + [("busy_timeout", value) for value in OPEN["busy_timeout"]],
    ids=labelled,
)
def test_what_a_memory_is_checked_with(shared, option, value):
    with pytest.raises(InvalidInputError):
        check(shared._engine.ledger.directory, **{option: value})


@pytest.mark.parametrize(
    ("option", "value"),
    [(option, value) for option, values in OPEN.items() for value in values],
    ids=labelled,
)
def test_what_a_memory_is_opened_with(tmp_path, option, value):
    options = {"path": tmp_path / "m", option: value}
    with pytest.raises(InvalidInputError):
        Memory.open(**options)
    assert not (tmp_path / "m").exists()


def test_every_option_of_opening_is_in_the_table():
    assert OPEN.keys() == {"path", "create", *option_types.OpenOptions.__annotations__}


SETTINGS = {
    Recipe: {
        "lora": [5, {}, LoraSpec],
        "train": [5, {}, TrainSpec],
        "synthesizer": [5, "x", object],
        "prompt_format": [5, "x", PromptFormat],
        "records_per_module": KINDS["limit"],
        "max_rank": KINDS["limit"],
        "retries": KINDS["budget"],
        "reworded_bar": [*KINDS["number"], 1.5],
        "row_dtype": CHOICES,
        "router": CHOICES,
        "progress": FLAGS,
    },
    LoraSpec: {
        "rank": KINDS["limit"],
        "alpha": [value for value in KINDS["number"] if value is not None] + [0, math.inf],
        "target_modules": [5, "most", ("",), (5,), [5], None],
        "layers": [5, "ab", (0.5,), (1, 0), (math.nan, 1), ("0", "1"), None],
    },
    TrainSpec: {
        "learning_rate": [*KINDS["number"], 0, math.inf],
        "epochs": [value for value in KINDS["limit"] if value is not None],
        "batch_size": KINDS["limit"],
        "guards": [*KINDS["budget"], 8],
        "mastery": [*KINDS["number"], 0, 1],
        "seed": KINDS["budget"],
        "precision": CHOICES,
        "gradient_checkpointing": CHOICES,
    },
    PromptFormat: {
        name: [None, 5, b"x", [], "\ud800", "a\0"] for name in ("opening", "facts", "turns")
    }
    | {"evidence": [None, 5, "", "none", "{evidence}{evidence}", "{evidence}\0"]},
}


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        (kind, field, value)
        for kind, fields in SETTINGS.items()
        for field, values in fields.items()
        for value in values
    ],
    ids=labelled,
)
def test_settings(kind, field, value):
    with pytest.raises(InvalidInputError):
        kind(**{field: value})


@pytest.mark.parametrize("kind", SETTINGS)
def test_every_setting_is_in_the_table(kind):
    assert SETTINGS[kind].keys() == set(inspect.signature(kind).parameters)


def test_the_same_checks_are_behind_the_awaited_verbs(shared):
    async def use():
        memory = AsyncMemory(shared)
        for path, arguments in [
            ("add", {"text": "x", "ttl": math.nan}),
            ("get", {"id": "\ud800"}),
            ("records", {"limit": 2**70}),
            ("retention.expire", {"id": "a", "ttl": 1e-9}),
            ("vectors.duplicates", {"where": DEEP}),
        ]:
            with pytest.raises(InvalidInputError):
                await verb(memory, path)(**arguments)

    asyncio.run(use())
