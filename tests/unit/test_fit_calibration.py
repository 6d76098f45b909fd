"""Where "none" begins, computed by hand."""

import numpy as np
import pytest

from memkit.errors import InvalidInputError
from memkit.lora.training.guard_prompts import GUARD_PROMPTS
from memkit.routing.fit_calibration import MARGIN, calibrated, limit_between, threshold_between
from memkit.routing.negative_prompts import UNRELATED_PROMPTS
from memkit.types.calibration import Calibration, Features


def test_between_two_values_nearer_to_the_unrelated():
    assert MARGIN == 0.4
    assert threshold_between([0.8], [0.2]) == pytest.approx(0.2 + 0.4 * 0.6)


def test_between_the_tails():
    # Linear quantiles: 1 % of 0.6..0.8 is 0.6 + 0.01 * 0.2; 99 % of 0.1..0.3 is 0.3 - 0.01 * 0.2.
    related, unrelated = np.linspace(0.6, 0.8, 101), np.linspace(0.1, 0.3, 101)

    threshold = threshold_between(list(related), list(unrelated))

    assert threshold == pytest.approx(0.298 + 0.4 * (0.602 - 0.298))


def test_one_outlier_among_many_decides_nothing():
    threshold = threshold_between([0.1] + [0.9] * 200, [0.95] + [0.3] * 200)

    assert threshold == pytest.approx(0.3 + 0.4 * 0.6)


def test_where_they_overlap_the_unrelated_decide():
    related, unrelated = [0.3, 0.5, 0.9], [0.1, 0.6]

    # The 99th percentile of 0.1 and 0.6 lies at 0.1 + 0.99 * 0.5.
    assert threshold_between(related, unrelated) == pytest.approx(0.595)


@pytest.mark.parametrize(("related", "unrelated"), [([], [0.1]), ([0.1], []), ([], [])])
def test_both_kinds_are_needed(related, unrelated):
    with pytest.raises(InvalidInputError, match=f"got {len(related)} related and {len(unrelated)}"):
        threshold_between(related, unrelated)


def test_the_limit_lies_halfway_to_what_is_replaced_in_the_middle():
    # Half of the questions about missing facts have their subject in others: they replace nothing.
    assert limit_between([0.0, 0.0], [0.0, 0.0, 0.0, 1.0, 2.0, 3.0]) == pytest.approx(1.0)
    # Linear quantile: 99 % of 0.0 and 1.0 is 0.99.
    assert limit_between([0.0, 1.0], [3.0]) == pytest.approx((0.99 + 3.0) / 2)


@pytest.mark.parametrize("unstored", [[], [0.0, 0.0], [0.5, 0.6]])
def test_there_is_no_limit_where_the_words_do_not_tell(unstored):
    assert limit_between([0.0, 2.0], unstored) is None


def test_a_question_that_replaces_more_than_the_limit_means_another_fact():
    related = [Features(0.9, 2.0, 1.0)] * 8
    unrelated = [Features(0.1, 0.0, 0.0)] * 8
    unstored = [Features(0.9, 2.0, 1.0, replaced=4.0)] * 8

    chosen = calibrated(related, unrelated, unstored)

    assert chosen.limit == pytest.approx(2.0)
    assert chosen.passes(Features(0.9, 2.0, 1.0, replaced=1.9))
    assert not chosen.passes(Features(0.9, 2.0, 1.0, replaced=2.1))
    assert (chosen.false_activation, chosen.false_refusal, chosen.unstored) == (0.0, 0.0, 0.0)


def test_what_another_version_has_kept_is_not_read():
    kept = Calibration(0.0, 0.0, 0.5, 10.0)
    assert Calibration.from_json(kept.to_json()) == kept
    assert Calibration.from_json('{"threshold": 0.5, "mass": 0.1}') is None
    assert Calibration.from_json(kept.to_json().replace('"version": 2', '"version": 1')) is None


def test_the_prompts_are_not_those_of_training():
    assert len(set(UNRELATED_PROMPTS)) == len(UNRELATED_PROMPTS) >= 32
    assert not set(UNRELATED_PROMPTS) & set(GUARD_PROMPTS)
