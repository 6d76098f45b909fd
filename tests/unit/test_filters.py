from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Mapping
from contextlib import closing

import numpy as np
import pytest
from hypothesis import example, given, reject
from hypothesis import strategies as st

from memkit.errors import InvalidInputError
from memkit.ledger import Ledger
from memkit.ledger.records import filters
from memkit.ledger.records.filters import matches, plain
from memkit.types.validate import check_metadata

NESTED: object = 1
for _ in range(5000):
    NESTED = [NESTED]

CONNECTION = sqlite3.connect(":memory:")


def selected(where, metadata) -> bool:
    """Ask SQLite whether metadata passes the compiled filter."""
    sql, parameters = filters.parse(where).sql("m.metadata")
    rows = CONNECTION.execute(
        f"SELECT 1 FROM (SELECT ? AS metadata) AS m WHERE {sql}",
        [json.dumps(metadata, ensure_ascii=False), *parameters],
    )
    return bool(rows.fetchall())


@pytest.fixture(scope="module")
def in_postgres(postgres):
    """Asks PostgreSQL the same."""
    with closing(Ledger.open(postgres.place("filters"))) as ledger:

        def selected(where, metadata) -> bool:
            sql, parameters = filters.parse(where).sql("m.metadata")
            rows = ledger._database.rows(
                f"SELECT 1 FROM (SELECT ?::text AS metadata) AS m WHERE {sql}",
                *(json.dumps(metadata, ensure_ascii=False), *parameters),
            )
            return bool(rows)

        yield selected


@pytest.mark.slow
@pytest.mark.parametrize(
    ("where", "metadata", "expected"),
    [
        ({}, {}, True),
        ({"source": "hr"}, {"source": "hr"}, True),
        ({"source": "hr"}, {"source": "HR"}, False),
        ({"source": "hr"}, {}, False),
        ({"tags": "hr"}, {"tags": ["it", "hr"]}, True),
        ({"tags": "hr"}, {"tags": []}, False),
        ({"tags": "hr"}, {"tags": [["hr"]]}, False),
        ({"tags": "hr"}, {"tags": {"hr": "hr"}}, False),
        ({"tags": None}, {"tags": [1, None]}, True),
        ({"tags": 1}, {"tags": [True, "1"]}, False),
        ({"tags": {"$ne": "hr"}}, {"tags": ["it", "hr"]}, False),
        ({"tags": {"$ne": "hr"}}, {"tags": ["it"]}, True),
        ({"tags": {"$ne": "hr"}}, {"tags": []}, True),
        ({"tags": {"$in": ["a", "hr"]}}, {"tags": ["it", "hr"]}, True),
        ({"tags": {"$in": []}}, {"tags": ["it"]}, False),
        ({"tags": {"$nin": ["a", "hr"]}}, {"tags": ["it", "hr"]}, False),
        ({"tags": {"$nin": ["a"]}}, {"tags": ["it", "hr"]}, True),
        ({"tags": {"$nin": ["a"]}}, {"tags": "a"}, False),
        ({"tags": {"$nin": ["a"]}}, {}, True),
        ({"tags": {"$nin": []}}, {"tags": "a"}, True),
        ({"n": {"$gt": 5}}, {"n": [1, 7]}, True),
        ({"n": {"$gt": 5}}, {"n": [1, "7"]}, False),
        ({"n": {"$gt": 1, "$lt": 0}}, {"n": [-1, 2]}, True),  # each operator by itself
        ({"tags": {"$exists": True}}, {"tags": []}, True),
        ({"tags": {"$contains": "hr"}}, {"tags": ["it", "hr"]}, True),
        ({"tags": {"$contains": "h"}}, {"tags": ["it", "hr"]}, False),
        ({"tags": {"$contains": 1.0}}, {"tags": [1]}, True),
        ({"tags": {"$contains": None}}, {"tags": [None]}, True),
        ({"tags": {"$contains": None}}, {"tags": None}, False),
        ({"tags": {"$contains": 1}}, {"tags": 1}, False),
        ({"tags": {"$contains": "1"}}, {"tags": 11}, False),
        ({"tags": {"$contains": "hr"}}, {}, False),
        ({"title": {"$contains": "arch"}}, {"title": "The archive"}, True),
        ({"title": {"$contains": "ARCH"}}, {"title": "The archive"}, False),
        ({"title": {"$contains": "%"}}, {"title": "The archive"}, False),
        ({"title": {"$contains": 1}}, {"title": "1"}, False),
        ({"source": {"$eq": "hr"}}, {"source": "hr"}, True),
        ({"source": {"$ne": "hr"}}, {"source": "it"}, True),
        ({"source": {"$ne": "hr"}}, {"source": "hr"}, False),
        ({"source": {"$ne": "hr"}}, {}, True),
        ({"source": {"$ne": "hr"}}, {"source": {"a": 1}}, True),
        ({"n": 1}, {"n": 1.0}, True),
        ({"n": 1}, {"n": True}, False),
        ({"n": True}, {"n": 1}, False),
        ({"n": True}, {"n": True}, True),
        ({"n": False}, {"n": 0}, False),
        ({"n": False}, {"n": None}, False),
        ({"n": 1}, {"n": "1"}, False),
        ({"n": None}, {"n": None}, True),
        ({"n": None}, {}, False),
        ({"n": {"$ne": None}}, {}, True),
        ({"n": {"$ne": None}}, {"n": None}, False),
        ({"n": {"$gt": 1}}, {"n": 2}, True),
        ({"n": {"$gt": 1}}, {"n": 1}, False),
        ({"n": {"$gte": 1}}, {"n": 1.0}, True),
        ({"n": {"$lt": 1}}, {"n": 0.5}, True),
        ({"n": {"$lte": 1}}, {"n": 1}, True),
        ({"n": {"$lt": 1}}, {}, False),
        ({"n": {"$lt": 1}}, {"n": None}, False),
        ({"n": {"$gte": 0}}, {"n": True}, False),
        ({"n": {"$gt": 1}}, {"n": "2"}, False),
        ({"n": {"$gt": "1"}}, {"n": 2}, False),
        ({"n": {"$gt": "a"}}, {"n": "b"}, True),
        ({"n": {"$gt": 1, "$lt": 3}}, {"n": 2}, True),
        ({"n": {"$gt": 1, "$lt": 3}}, {"n": 3}, False),
        ({"n": {"$in": [1, "a", None]}}, {"n": None}, True),
        ({"n": {"$in": [1, "a", None]}}, {"n": 1.0}, True),
        ({"n": {"$in": [1, "a", None]}}, {"n": True}, False),
        ({"n": {"$in": [1, "a", None]}}, {}, False),
        ({"n": {"$in": []}}, {"n": 1}, False),
        ({"n": {"$exists": True}}, {"n": None}, True),
        ({"n": {"$exists": True}}, {}, False),
        ({"n": {"$exists": False}}, {}, True),
        ({"n": {"$exists": False}}, {"n": 0}, False),
        ({"a.b": 1}, {"a": {"b": 1}}, True),
        ({"a.b": 1}, {"a.b": 1}, True),
        ({"a.b.c": 1}, {"a.b": {"c": 1}}, True),
        ({"a.b.c": 1}, {"a": {"b.c": 1}}, True),
        ({"a.b.c": 1}, {"a": {"b": {"c": 1}}}, True),
        ({"a.b.c": 1}, {"a.b.c": [0, 1]}, True),
        ({"a.b.c": 1}, {"a.b.c": {"a": 1}, "c": 1, "b.c": 1}, False),
        ({"a.b": {"$ne": 1}}, {"a.b": 1}, False),
        ({"a.b": {"$exists": False}}, {"a.b": None}, False),
        ({"a.": 1}, {"a": {"": 1}}, True),
        ({".": 1}, {".": 1}, True),
        ({"..": 1}, {"": {"": {"": 1}}}, True),
        ({"a.b": 1}, {"a": [{"b": 1}]}, False),
        ({"e\u0301": "e\u0301"}, {"\u00e9": "\u00e9"}, True),
        ({"a.b": 1}, {"a": 1}, False),
        ({"a.b": 1}, {"a": "text"}, False),
        ({"a.0": 1}, {"a": [1]}, False),
        ({"a.b.c": {"$exists": False}}, {"a": {"b": {}}}, True),
        ({"": 1}, {"": 1}, True),
        ({'q"uote': 1}, {'q"uote': 1}, True),
        ({"back\\slash": 1}, {"back\\slash": 1}, True),
        ({"it's": "o'clock"}, {"it's": "o'clock"}, True),
        ({"ключ": "значение"}, {"ключ": "значение"}, True),
        ({"a[0]": 1}, {"a[0]": 1}, True),
        ({"a": 1, "b": 2}, {"a": 1, "b": 2}, True),
        ({"a": 1, "b": 2}, {"a": 1}, False),
        ({"$and": [{"a": 1}, {"b": 2}]}, {"a": 1, "b": 2}, True),
        ({"$or": [{"a": 1}, {"b": 2}]}, {"b": 2}, True),
        ({"$or": [{"a": 1}, {"b": 2}]}, {}, False),
        ({"$not": {"a": 1}}, {}, True),
        ({"$not": {"a": 1}}, {"a": 1}, False),
        ({"$not": {}}, {}, False),
        ({"$or": [{"a": 1}, {"$not": {"b": {"$gt": 1}}}], "c": 3}, {"b": 1, "c": 3}, True),
    ],
)
def test_meaning(where, metadata, expected, in_postgres):
    assert matches(where, metadata) is expected
    assert selected(where, metadata) is expected
    assert in_postgres(where, metadata) is expected


CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
# Small pools, so that filters often meet what they ask for.
SCALARS = (
    st.sampled_from([None, True, False, 0, 1, -1, 0.0, 1.0, 0.5, "", "1", "a", "b", "true", "é"])
    | NUMBERS
    | st.text(CHARACTERS, max_size=4)
)
KEYS = st.sampled_from(["a", "b", "", '"', "'", "\\", "$.a", "0", "ü", " ", "a[0]", '\\"', "\n"])
METADATA = st.recursive(
    st.dictionaries(KEYS, SCALARS, max_size=3),
    lambda inner: st.dictionaries(
        KEYS | st.text(CHARACTERS, max_size=3), SCALARS | inner | st.lists(SCALARS), max_size=4
    ),
    max_leaves=6,
)
PATHS = st.lists(KEYS.filter(lambda key: not key.startswith("$")), min_size=1, max_size=3).map(
    ".".join
)
TESTS = st.one_of(
    SCALARS,
    st.fixed_dictionaries({"$eq": SCALARS}),
    st.fixed_dictionaries({"$ne": SCALARS}),
    st.fixed_dictionaries({"$in": st.lists(SCALARS, max_size=4)}),
    st.fixed_dictionaries({"$nin": st.lists(SCALARS, max_size=4)}),
    st.fixed_dictionaries({"$contains": SCALARS.filter(lambda value: value != "")}),
    st.fixed_dictionaries({"$exists": st.booleans()}),
    st.dictionaries(
        st.sampled_from(["$gt", "$gte", "$lt", "$lte"]),
        NUMBERS | st.sampled_from(["", "a", "b", 0, 1]) | st.text(CHARACTERS, max_size=2),
        min_size=1,
    ),
)
FILTERS = st.recursive(
    st.dictionaries(PATHS, TESTS, max_size=2),
    lambda inner: st.one_of(
        st.fixed_dictionaries({"$and": st.lists(inner, min_size=1, max_size=3)}),
        st.fixed_dictionaries({"$or": st.lists(inner, min_size=1, max_size=3)}),
        st.fixed_dictionaries({"$not": inner}),
    ),
    max_leaves=5,
)


@pytest.mark.slow
@given(FILTERS, METADATA)
@example({"a": 0.1 + 0.2}, {"a": 0.30000000000000004})
@example({"a": {"$gt": 2**53}}, {"a": float(2**53)})
@example({"a": {"$lt": 2**63 - 1}}, {"a": float(2**63)})
@example({"a": -(2**63)}, {"a": -(2**63)})
@example({"a": 5e-324}, {"a": 5e-324})
@example({"a": -0.0}, {"a": 0})
@example({"a": {"$gt": "\uffff"}}, {"a": "\U00010000"})
def test_sql_and_python_agree(in_postgres, where, metadata):
    expected = matches(where, metadata)
    assert selected(where, metadata) is expected
    assert in_postgres(where, metadata) is expected


@given(METADATA)
def test_every_value_is_found_by_its_path(given):
    try:
        metadata = check_metadata(given)
    except InvalidInputError:  # two keys are one, for a filter
        reject()
    for key, value in leaves(metadata):
        assert selected({key: {"$exists": True}}, metadata)
        elements = value if isinstance(value, list) else [value]
        for element in elements:
            assert selected({key: element}, metadata)
            assert selected({key: {"$in": ["none", element]}}, metadata)
            assert not selected({key: {"$ne": element}}, metadata)
            if isinstance(value, list) and element != "":
                assert selected({key: {"$contains": element}}, metadata)


def leaves(metadata, prefix=""):
    """Scalars and lists of scalars, with their names in a filter; those with $ have none."""
    for key, value in metadata.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        elif not f"{prefix}{key}".startswith("$"):
            yield f"{prefix}{key}", value


@pytest.mark.parametrize(
    ("where", "message"),
    [
        (None, "`where` must be a mapping, got None"),
        ([("a", 1)], "`where` must be a mapping"),
        ({1: 2}, "keys of `where` must be strings, got int: 1"),
        ({"$xor": []}, r"unknown operator '\$xor' in `where`, expected one of \$and, \$or, \$not"),
        ({"$gt": 1}, r"unknown operator '\$gt'"),
        ({"a": {"$regex": "x"}}, r"unknown operator '\$regex'.*one of \$eq, \$ne, \$gt, \$gte, "),
        ({"a": {"b": 1}}, "unknown operator 'b'"),
        ({"a": {1: 1}}, "unknown operator 1"),
        ({"a": {}}, "the key 'a' of `where` has no operator"),
        (
            {"a": [1, 2]},
            r"`\$eq` of the key 'a' in `where` needs a string, number, boolean or null",
        ),
        ({"a": math.nan}, r"`\$eq` of the key 'a'.*got float: nan"),
        ({"a": 2**63}, r"`\$eq` of the key 'a'"),
        ({"a": {"$in": "abc"}}, r"`\$in` of the key 'a' in `where` needs a list"),
        ({"a": {"$in": [[1]]}}, r"`\$in` of the key 'a'"),
        ({"a": {"$gt": None}}, r"`\$gt` of the key 'a' in `where` needs a number or a string"),
        ({"a": {"$lte": True}}, r"`\$lte` of the key 'a'"),
        (
            {"a": {"$exists": 1}},
            r"`\$exists` of the key 'a' in `where` needs true or false, got int: 1",
        ),
        ({"$and": []}, r"`\$and` needs a non-empty list of filters, got list: \[\]"),
        ({"$or": {"a": 1}}, r"`\$or` needs a non-empty list"),
        ({"$or": "ab"}, r"`\$or` needs a non-empty list"),
        ({"$and": [1]}, "`where` must be a mapping, got int: 1"),
        ({"$not": [{"a": 1}]}, "`where` must be a mapping"),
        ({"a": "x\0"}, "`where` must not contain NUL"),
        ({"\ud800": 1}, "`where` must be valid Unicode"),
        ({str(n): n for n in range(201)}, "at most 200 conditions, got 201"),
        ({"a" * 8225: 1}, "keys of `where` have at most 8,224 characters, got 8,225"),
        ({"a": {"$nin": "hr"}}, r"`\$nin` of the key 'a' in `where` needs a list"),
        ({"a": {"$ne": ["hr"]}}, r"`\$ne` of .*list: \['hr'\]\nHint: To choose .*\$contains"),
        ({"a": {"$gt": [1]}}, r"`\$gt` of the key 'a' .* got list: \[1\]"),
        ({"a": {"$contains": ["hr"]}}, r"`\$contains` of the key 'a' .* got list"),
        ({"a": {"$contains": ""}}, r"`\$contains` of the key 'a' .* that is not empty"),
        ({"a": {"$contains": {}}}, r"`\$contains` of the key 'a'"),
        ({"a": {"$in": [{"b": 1}]}}, r"`\$in` of the key 'a'"),
        ({"a": np.array([1, 2])}, r"`\$eq` of the key 'a' in `where` needs .*, got ndarray"),
        ({"a": NESTED}, r"`\$eq` of the key 'a' in `where` needs"),
        ({"a": {"b": NESTED}}, "unknown operator 'b'"),
        ({"$and": NESTED}, "`where` must be a mapping, got list"),
    ],
)
def test_malformed_filters_are_refused(where, message):
    for use in (filters.parse, lambda where: matches(where, {})):
        with pytest.raises(InvalidInputError, match=message):
            use(where)


def test_nesting_is_bounded_and_the_deepest_filter_still_works():
    where = {".".join("a" * 32): {"$in": [1]}}
    for depth in range(16):
        where = {"$or": [where, {"b": 1}]} if depth % 2 else {"$not": where}
    metadata: object = 1
    for _ in range(32):
        metadata = {"a": metadata}
    assert selected(where, metadata) is matches(where, metadata)
    with pytest.raises(InvalidInputError, match="`where` must be at most 16 levels deep"):
        filters.parse({"$not": where})


def test_the_longest_filter_still_works():
    where = {"$or": [{f"k{n}": {"$gt": n}} for n in range(200)]}
    assert selected(where, {"k199": 200})
    assert not selected(where, {"k199": 199})


def test_a_long_choice_takes_one_parameter():
    choices = [f"id{n}" for n in range(100_000)]
    _, parameters = filters.parse({"a": {"$in": choices}}).sql()
    assert len(parameters) == 2
    assert selected({"a": {"$in": choices}}, {"a": "id99999"})


def test_keys_and_values_stay_out_of_the_sql():
    where = {"x'; DROP TABLE records; --": "y'; DROP TABLE records; --"}
    sql, parameters = filters.parse(where).sql()
    assert "DROP" not in sql
    assert parameters[0] == "x'; DROP TABLE records; --"


class Odd(float):
    """A number that says nothing of itself."""

    def __repr__(self):
        return "odd"


class Opaque(Mapping):
    def __init__(self, values):
        self._values = values

    def __getitem__(self, key):
        return self._values[key]

    def __iter__(self):
        return iter(self._values)

    def __len__(self):
        return len(self._values)

    def __repr__(self):
        return "opaque"


@pytest.mark.parametrize(
    "where",
    [
        lambda n: {"n": Odd(n)},
        lambda n: Opaque({"n": n}),
        lambda n: {"$or": [{"$not": {"n": {"$ne": Odd(n)}}}, Opaque({"n": {"$in": [Odd(n)]}})]},
    ],
    ids=["value", "mapping", "nested"],
)
def test_filters_that_look_alike_are_not_taken_for_each_other(open_memory, tmp_path, where):
    """What a search remembers by filter, it must not look up by how a filter writes itself."""
    with open_memory(tmp_path / "m", backends=("rag",), count_tokens=len) as memory:
        memory.add(["The parcel is red."], metadata={"n": 1})
        memory.add(["The parcel is blue."], metadata={"n": 2})
        for n in (1, 2):
            assert [
                hit.record.metadata["n"] for hit in memory.search("parcel", where=where(n))
            ] == [n]


def test_a_filter_keeps_its_form_in_plain_values():
    given = {"n": Odd(1), "$or": ({"e\u0301": {"$in": {2}}}, Opaque({"$not": {"x": True}}))}
    assert plain(given) == {"n": 1.0, "$or": [{"\u00e9": {"$in": [2]}}, {"$not": {"x": True}}]}
    assert type(plain(given)["n"]) is float
