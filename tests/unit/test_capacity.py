"""The law of capacity, and the plan: scopes apart, parts even, none beyond its bounds."""

import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memkit.errors import InvalidInputError
from memkit.lora.consolidation.capacity import RECALL, Law, Point, fit
from memkit.lora.consolidation.partition import Limits, halves, next_rank, plan
from memkit.types import Record

NOW = datetime(2025, 1, 1, tzinfo=UTC)
SCOPES = [{}, {"user": "u1"}, {"user": "u2"}, {"session": "s", "user": "u1"}]


def record(number, scope):
    return Record(f"r{number}", "text", None, None, scope, {}, NOW, NOW, 1, "")


def limits(records=16, *, rank=8, max_rank=16, room=lambda rank: 100.0 * rank):
    return Limits(records, rank, max_rank, room)


def ids(parts):
    return [[one.id for one in part.records] for part in parts]


# -- the plan


@given(
    st.lists(st.tuples(st.sampled_from(SCOPES), st.integers(0, 300)), max_size=60),
    st.integers(1, 20),
)
def test_every_record_is_in_one_part_and_no_part_is_too_full(given_records, size):
    records = [record(number, scope) for number, (scope, _) in enumerate(given_records)]
    tokens = {f"r{number}": load for number, (_, load) in enumerate(given_records)}

    parts = plan(records, tokens, limits(size, room=lambda rank: 25.0 * rank))

    assert sorted(one.id for part in parts for one in part.records) == sorted(tokens)
    for part in parts:
        load = sum(tokens[one.id] for one in part.records)
        assert 0 < len(part.records) <= size
        assert load <= 200 or len(part.records) == 1
        assert part.rank == (16 if load > 200 else 8)
        assert {tuple(one.scope.items()) for one in part.records} == {
            tuple(part.records[0].scope.items())
        }
    for scope in SCOPES:
        mine = [one for part in parts for one in part.records if one.scope == scope]
        assert mine == [one for one in records if one.scope == scope]


@given(st.lists(st.sampled_from(SCOPES), max_size=60), st.integers(1, 20))
def test_short_records_are_shared_out_evenly(scopes, size):
    parts = plan([record(i, scope) for i, scope in enumerate(scopes)], {}, limits(size))

    for scope in SCOPES:
        lengths = [len(part.records) for part in parts if part.records[0].scope == scope]
        assert max(lengths, default=0) - min(lengths, default=0) <= 1
        assert len(lengths) == -(-sum(lengths) // size)  # no more parts than needed


def test_parts_by_hand():
    records = [record(number, {}) for number in range(10)]
    records.insert(5, record("x", {"user": "u1"}))

    assert ids(plan(records, {}, limits(4))) == [
        ["rx"],
        ["r0", "r1", "r2"],
        ["r3", "r4", "r5", "r6"],
        ["r7", "r8", "r9"],
    ]


def test_long_answers_fill_a_module_before_its_records_do():
    records = [record(number, {}) for number in range(6)]
    tokens = {"r0": 500, "r1": 400, "r2": 300, "r3": 5, "r4": 5, "r5": 5}

    # Even parts would be three and three: the first would have 1200 tokens, 800 have room.
    assert ids(plan(records, tokens, limits())) == [["r0"], ["r1", "r2", "r3", "r4", "r5"]]


@pytest.mark.parametrize(("load", "rank"), [(800, 8), (801, 16), (1600, 16), (9999, 16)])
def test_a_record_too_long_for_its_rank_gets_a_higher_one_within_bounds(load, rank):
    records = [record(0, {}), record(1, {})]

    first, second = plan(records, {"r0": load, "r1": 700}, limits())

    assert (ids([first, second]), first.rank, second.rank) == ([["r0"], ["r1"]], rank, 8)


def test_the_order_of_a_scopes_keys_does_not_matter():
    one, other = {"a": "1", "b": "2"}, {"b": "2", "a": "1"}

    assert len(plan([record(0, one), record(1, other)], {}, limits())) == 1


def test_nothing_gives_no_part():
    assert plan([], {}, limits()) == []


@pytest.mark.parametrize("size", [0, -3])
def test_a_size_below_one_is_refused(size):
    with pytest.raises(InvalidInputError, match=f"at least 1, got {size}"):
        limits(size)


@pytest.mark.parametrize(
    ("rank", "max_rank", "expected"),
    [(4, 16, 8), (8, 16, 16), (12, 16, 16), (16, 16, 16), (16, 8, 16)],
)
def test_the_next_rank_is_twice_as_high_within_bounds(rank, max_rank, expected):
    assert next_rank(rank, max_rank) == expected


def test_halves():
    records = [record(number, {}) for number in range(5)]

    assert halves(records) == [records[:2], records[2:]]
    assert halves(records[:1]) == [records[:1]]


# -- the law


def points(
    scale, exponent, *, steepness=4.0, asked=200, ranks=(1, 2, 4), loads=(50, 200, 800, 3200)
):
    """Points on the curve ``logit(recall) = logit(RECALL) + steepness log(held / tokens)``."""
    return [
        Point(rank, 0, tokens, asked, round(asked * share), 1.0, 1.0, 1.0)
        for rank in ranks
        for tokens in loads
        for gap in [steepness * math.log(scale * rank**exponent / tokens)]
        for share in [1.0 / (1.0 + math.exp(-gap - math.log(RECALL / (1.0 - RECALL))))]
    ]


@pytest.mark.parametrize(("scale", "exponent"), [(150.0, 0.5), (300.0, 0.9), (100.0, 1.0)])
def test_the_law_is_found_again_in_points_that_follow_it(scale, exponent):
    law = fit(points(scale, exponent))

    for rank in (1, 2, 4):
        assert law.tokens(rank) == pytest.approx(scale * rank**exponent, rel=0.1)


def test_where_everything_is_recalled_the_largest_load_is_all_that_is_known():
    full = [Point(rank, 0, tokens, 100, 100, 1, 1, 1) for rank in (1, 4) for tokens in (50, 700)]

    law = fit(full)

    assert law.tokens(1) == law.tokens(64) == 700.0
    assert law.room(1) == 700.0


def test_a_rank_that_failed_at_the_only_load_is_given_less_than_that():
    """With one load, nothing tells how recall falls with it: capacity grows with the rank."""
    tried = [Point(1, 48, 323, 72, 49, 0.67, 0.58, 1), Point(8, 48, 323, 72, 72, 1.0, 0.82, 1)]

    law = fit(tried)
    more = fit([*tried, Point(8, 96, 647, 72, 72, 1.0, 0.75, 1)])  # not filled either

    assert law.tokens(1) < 323
    assert law.tokens(8) == 323.0
    assert law.exponent == pytest.approx(1.0, abs=0.05)
    assert more.tokens(8) == 647.0
    assert 100 < more.tokens(1) < 323


def test_nothing_is_said_beyond_the_largest_load():
    assert Law(scale=100.0, exponent=1.0, most=300).tokens(2) == 200.0
    assert Law(scale=100.0, exponent=1.0, most=300).tokens(8) == 300.0
    assert Law(scale=100.0, exponent=1.0, most=300).room(8) == 300.0


def test_an_adapter_is_filled_by_half():
    assert Law(scale=100.0, exponent=1.0, most=900).room(4) == 200.0


def test_a_sharp_fall_between_two_loads_is_no_trouble():
    law = fit([Point(1, 0, 100, 500, 500, 1, 1, 1), Point(1, 0, 200, 500, 0, 1, 1, 1)])

    assert 100 <= law.tokens(1) < 200
    assert 50 <= law.room(1) < 100


def test_no_points_give_no_law():
    with pytest.raises(InvalidInputError, match="expected measured points, got none"):
        fit([])
