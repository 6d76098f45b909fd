"""Partition: every record in one part, scopes apart, parts even, order kept."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memkit.errors import InvalidInputError
from memkit.lora.capacity import partition
from memkit.types import Record

NOW = datetime(2025, 1, 1, tzinfo=UTC)
SCOPES = [{}, {"user": "u1"}, {"user": "u2"}, {"session": "s", "user": "u1"}]


def record(number, scope):
    return Record(f"r{number}", "text", None, None, scope, {}, NOW, NOW, 1, "")


@given(st.lists(st.sampled_from(SCOPES), max_size=60), st.integers(1, 20))
def test_every_record_is_in_one_part(scopes, size):
    records = [record(number, scope) for number, scope in enumerate(scopes)]

    parts = partition(records, size)

    assert sorted(r.id for part in parts for r in part) == sorted(r.id for r in records)
    assert all(0 < len(part) <= size for part in parts)
    assert all(part[0].scope == r.scope for part in parts for r in part)
    for scope in SCOPES:
        mine = [part for part in parts if part[0].scope == scope]
        lengths = [len(part) for part in mine]
        assert [r.id for part in mine for r in part] == [r.id for r in records if r.scope == scope]
        assert max(lengths, default=0) - min(lengths, default=0) <= 1
        assert len(mine) == -(-sum(lengths) // size)  # no more parts than needed


def test_parts_by_hand():
    records = [record(number, {}) for number in range(10)]
    records.insert(5, record("x", {"user": "u1"}))

    parts = partition(records, 4)

    assert [[r.id for r in part] for part in parts] == [
        ["rx"],
        ["r0", "r1", "r2"],
        ["r3", "r4", "r5", "r6"],
        ["r7", "r8", "r9"],
    ]


def test_the_order_of_a_scopes_keys_does_not_matter():
    one, other = {"a": "1", "b": "2"}, {"b": "2", "a": "1"}

    assert len(partition([record(0, one), record(1, other)])) == 1


def test_nothing_gives_no_part():
    assert partition([]) == []


@pytest.mark.parametrize("size", [0, -3])
def test_a_size_below_one_is_refused(size):
    with pytest.raises(InvalidInputError, match=f"`size` must be at least 1, got {size}"):
        partition([record(0, {})], size)
