"""Where "none" begins, computed by hand."""

import numpy as np
import pytest

from memkit.errors import InvalidInputError
from memkit.lora.guards import GUARD_PROMPTS
from memkit.routing.calibrate import MARGIN, threshold_between
from memkit.routing.prompts import UNRELATED_PROMPTS


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


def test_the_prompts_are_not_those_of_training():
    assert len(set(UNRELATED_PROMPTS)) == len(UNRELATED_PROMPTS) >= 32
    assert not set(UNRELATED_PROMPTS) & set(GUARD_PROMPTS)
