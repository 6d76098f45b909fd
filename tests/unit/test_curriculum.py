"""Which facts are visited when: all of them until they are mastered, then more and more rarely."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from memkit.lora.training.curriculum import Curriculum, even_shares
from memkit.lora.training.encoding import Encoded


def facts(count, wordings=2):
    """Facts whose wordings carry the fact's number, and are of different lengths."""
    return [
        [Encoded((), (number,) * (1 + number + wording), 1) for wording in range(wordings)]
        for number in range(count)
    ]


def curriculum(count, most=7, wordings=2, seed=0):
    return Curriculum(facts(count, wordings), most, torch.Generator().manual_seed(seed))


def visited(epoch):
    return sorted(fact for step in epoch for fact, _ in step)


@given(st.integers(1, 40), st.integers(1, 9))
def test_the_first_epoch_visits_every_fact_once(count, most):
    epoch = curriculum(count, most).epoch()

    assert visited(epoch) == list(range(count))
    assert len(epoch) == curriculum(count, most).steps
    assert all(1 <= len(step) <= most for step in epoch)
    assert all(example.ids[0] == fact for step in epoch for fact, example in step)


@pytest.mark.parametrize(
    ("count", "per_step"), [(1, 1), (2, 1), (3, 1), (4, 2), (16, 6), (18, 6), (21, 7), (60, 7)]
)
def test_few_facts_make_small_steps(count, per_step):
    assert max(map(len, curriculum(count).epoch())) == per_step


def test_facts_of_like_length_share_a_step():
    for step in curriculum(12, most=4, wordings=1).epoch():
        lengths = [len(example.ids) for _, example in step]
        assert max(lengths) - min(lengths) == len(lengths) - 1


def test_all_wordings_come_up():
    one = curriculum(1, wordings=3)

    assert {len(one.epoch()[0][0][1].ids) for _ in range(40)} == {1, 2, 3}


def test_one_visit_in_four_is_behind_a_records_text():
    told = [[Encoded((1,), (n, n), 1, informed=Encoded((90 + n,), (n, n), 1))] for n in range(4)]
    one = Curriculum(told, 4, torch.Generator().manual_seed(0))

    visits = [(f, e.prefix) for _ in range(200) for step in one.epoch() for f, e in step]

    behind = [(fact, prefix) for fact, prefix in visits if prefix != (1,)]
    assert 150 < len(behind) < 250  # of 800
    own = sum(prefix == (90 + fact,) for fact, prefix in behind)
    assert 0.5 < own / len(behind) < 0.75  # half, and a quarter of the others
    assert all(e.prefix == (1,) for step in one.exam() for _, e in step)


def test_an_epoch_of_everything_lets_nothing_rest():
    one = curriculum(2)
    for _ in range(2):
        for fact in visited(one.epoch()):
            one.note(fact, mastered=True)

    assert visited(one.epoch(everything=True)) == [0, 1]


def test_a_mastered_fact_rests_longer_and_longer():
    one = curriculum(2)
    epochs = []
    for _ in range(16):
        due = visited(one.epoch())
        epochs.append(0 in due)
        assert 1 in due  # never mastered
        for fact in due:
            one.note(fact, mastered=fact == 0)

    # Two visits in a row, then pauses of 1, 2, 3, 3 epochs.
    pattern = [1, 1, 0, 1, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0]
    assert epochs == [bool(visit) for visit in pattern]


def test_a_fact_that_slipped_is_back_at_once():
    one = curriculum(1)
    for mastered in (True, True):
        one.epoch()
        one.note(0, mastered=mastered)
    assert one.settled
    assert one.epoch() == []
    one.epoch()
    one.note(0, mastered=False)

    assert not one.settled
    assert one.mastered == 0.0
    assert visited(one.epoch()) == [0]


def test_settled_means_every_fact():
    one = curriculum(2)
    for _ in range(2):
        one.epoch()
        one.note(0, mastered=True)
    assert not one.settled
    assert one.mastered == 0.5
    for _ in range(2):
        one.note(1, mastered=True)
    assert one.settled


def test_the_seed_decides():
    def run(seed):
        return curriculum(9, seed=seed).epoch()

    assert run(1) == run(1) != run(2)


@given(st.lists(st.integers(), min_size=1), st.integers(1, 10))
def test_shares_are_even_and_complete(items, most):
    shares = even_shares(items, most)

    assert [item for share in shares for item in share] == items
    sizes = [len(share) for share in shares]
    assert max(sizes) <= most
    assert max(sizes) - min(sizes) <= 1
