"""Merging adapters: laws that hold for all of them, small cases by hand, what is refused."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from memkit.errors import InvalidInputError
from memkit.lora.peft.merges import METHODS, Merge, stack_adapters
from memkit.lora.serving.hooks import Factors, Scaled

SHAPES = {"layers.0.up": (5, 7), "layers.0.down": (7, 5), "layers.1.up": (5, 7)}
EXACT = ("cat", "mean_delta", "svd")
BY_FACTOR = sorted(METHODS.keys() - set(EXACT))


def part(seed, rank=2, scale=1.0, shapes=SHAPES):
    random = torch.Generator().manual_seed(seed)
    return Scaled(
        {
            name: Factors(
                torch.randn(rank, n_in, generator=random),
                torch.randn(n_out, rank, generator=random),
            )
            for name, (n_in, n_out) in shapes.items()
        },
        rank,
        scale,
    )


def of(a, b, scale=1.0):
    """An adapter of one layer."""
    factors = Factors(torch.tensor(a, dtype=torch.float32), torch.tensor(b, dtype=torch.float32))
    return Scaled({"up": factors}, len(a), scale)


def deltas(scaled):
    """What an adapter adds to each weight, by definition, in float64."""
    return {
        name: scaled.scale * f.b.double().numpy() @ f.a.double().numpy()
        for name, f in scaled.adapter.items()
    }


def sum_of_deltas(parts, weights):
    total = {}
    for scaled, weight in zip(parts, weights, strict=True):
        for name, delta in deltas(scaled).items():
            total[name] = total.get(name, 0.0) + weight * delta
    return total


def assert_deltas(scaled, expected, factor=1.0, atol=1e-5):
    assert scaled.adapter.keys() == expected.keys()
    for name, delta in deltas(scaled).items():
        np.testing.assert_allclose(delta, factor * expected[name], atol=atol, rtol=1e-5)


def assert_equal(one, other):
    assert (one.rank, one.scale) == (other.rank, other.scale)
    assert list(one.adapter) == list(other.adapter)
    for name, factors in one.adapter.items():
        assert torch.equal(factors.a, other.adapter[name].a)
        assert torch.equal(factors.b, other.adapter[name].b)


def parts_of(*, alike=False):
    """Two to four adapters with their weights, of some of the layers and of various ranks."""
    names = st.just(tuple(SHAPES)) if alike else st.sets(st.sampled_from(list(SHAPES)), min_size=1)
    one = st.builds(
        lambda seed, rank, scale, names: part(
            seed, rank, scale, {n: s for n, s in SHAPES.items() if n in names}
        ),
        st.integers(0, 99),
        st.just(2) if alike else st.integers(1, 4),
        st.floats(0.1, 4.0),
        names,
    )
    weighed = st.lists(st.tuples(one, st.floats(-2.0, 2.0)), min_size=2, max_size=4)
    return weighed.map(lambda pairs: ([p for p, _ in pairs], [w for _, w in pairs]))


# -- the exact ones --------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(parts_of())
def test_cat_is_the_sum_of_the_deltas(drawn):
    parts, weights = drawn
    merged = Merge("cat")(parts, weights)

    assert merged.rank == sum(p.rank for p in parts)
    assert_deltas(merged, sum_of_deltas(parts, weights), atol=1e-4)


@settings(max_examples=40, deadline=None)
@given(parts_of())
def test_cat_is_n_times_the_mean(drawn):
    parts, weights = drawn
    mean = Merge("mean_delta")(parts, weights)

    assert mean.scale == 1.0 / len(parts)
    assert_equal(Merge("cat")(parts, weights), Scaled(mean.adapter, mean.rank, 1.0))


@pytest.mark.parametrize("copies", [1, 2, 3, 5])
def test_the_mean_of_copies_is_the_copy(copies):
    one = part(0, scale=1.5)

    assert_deltas(Merge("mean_delta")([one] * copies, [1.0] * copies), deltas(one))


@settings(max_examples=40, deadline=None)
@given(parts_of(), st.integers(1, 20))
def test_svd_is_the_best_approximation_of_its_rank(drawn, rank):
    parts, weights = drawn
    merged = Merge("svd", rank=rank)(parts, weights)

    assert merged.rank == rank
    for name, delta in sum_of_deltas(parts, weights).items():
        u, values, vh = np.linalg.svd(delta)
        values[rank:] = 0.0
        best = (u[:, : len(values)] * values) @ vh[: len(values)]
        factors = merged.adapter[name]
        assert factors.a.shape == (rank, delta.shape[1])
        assert factors.b.shape == (delta.shape[0], rank)
        np.testing.assert_allclose(
            # At equal singular values other directions may be as good: compare the errors.
            np.linalg.norm(deltas(merged)[name] - delta),
            np.linalg.norm(best - delta),
            atol=1e-4,
        )


def test_svd_takes_the_widest_rank_unless_told_otherwise():
    assert Merge("svd")([part(0, 2), part(1, 3)], [1.0, 1.0]).rank == 3


def test_svd_brings_a_single_adapter_to_another_rank():
    wide = part(0, rank=4, scale=2.0)
    expected = {}
    for name, delta in deltas(wide).items():
        u, values, vh = np.linalg.svd(delta)
        expected[name] = 0.5 * values[0] * np.outer(u[:, 0], vh[0])

    assert_deltas(Merge("svd", rank=1)([wide], [0.5]), expected)
    assert_deltas(Merge("svd", rank=9)([wide], [1.0]), deltas(wide))


def test_stacking_fills_in_zeros_for_absent_layers():
    left = {"x": Factors(torch.ones(1, 2), torch.ones(3, 1))}
    right = {"y": Factors(torch.ones(2, 5), torch.ones(4, 2))}

    stack = stack_adapters([left, right], [1, 2])

    assert stack["x"].a.tolist() == [[1, 1], [0, 0], [0, 0]]
    assert stack["x"].b.tolist() == [[1, 0, 0]] * 3
    assert stack["y"].a.tolist() == [[0] * 5, [1] * 5, [1] * 5]
    assert stack["y"].b.tolist() == [[0, 1, 1]] * 4


# -- by factor -------------------------------------------------------------------------------


def test_linear_by_hand():
    """sqrt(4 * 1) = 2 and sqrt(1 * 9) = 3: B = 2 * 1 + 3 * 10, A = 2 * (1, 2) + 3 * (5, 7)."""
    merged = Merge("linear")([of([[1, 2]], [[1]]), of([[5, 7]], [[10]], scale=9)], [4, 1])

    assert merged.adapter["up"].a.tolist() == [[17, 25]]
    assert merged.adapter["up"].b.tolist() == [[32]]
    assert (merged.rank, merged.scale) == (1, 1.0)


def test_a_negative_weight_turns_the_sign_of_one_factor():
    merged = Merge("linear")([of([[1, 2]], [[1]]), of([[0, 0]], [[0]])], [-4, 1])

    assert merged.adapter["up"].a.tolist() == [[-2, -4]]
    assert merged.adapter["up"].b.tolist() == [[2]]


def test_ties_by_hand():
    """Of four entries two are kept; the elected sign is that of the sum, zeros have no vote."""
    merged = Merge("ties", density=0.5)(
        [
            of([[4, -3, 2, 1]], [[1], [1], [-5], [6]]),
            of([[2, 5, -1, 3]], [[3], [2], [9], [0]]),
        ],
        [1, 1],
    )

    # a: kept [4, -3, 0, 0] and [0, 5, 0, 3]; signs of the sums [+, +, +, +]
    assert merged.adapter["up"].a.tolist() == [[4, 5, 0, 3]]
    # b: kept [0, 0, -5, 6] and [3, 0, 9, 0]; signs of the sums [+, +, +, +]
    assert merged.adapter["up"].b.tolist() == [[3], [0], [9], [6]]


def test_ties_averages_over_those_that_agree():
    merged = Merge("ties", density=1.0)(
        [of([[2, -1]], [[1]]), of([[4, -3]], [[1]]), of([[-3, 1]], [[1]])], [1, 1, 1]
    )

    assert merged.adapter["up"].a.tolist() == [[3, -2]]
    assert merged.adapter["up"].b.tolist() == [[1]]


@settings(max_examples=40, deadline=None)
@given(parts_of(alike=True), st.floats(0.05, 1.0))
def test_ties_at_equal_shares_is_an_nth_of_ties_at_full_weights(drawn, density):
    parts, _ = drawn
    n = len(parts)
    ties = Merge("ties", density=density)

    assert_deltas(ties(parts, [1.0 / n] * n), deltas(ties(parts, [1.0] * n)), 1 / n, atol=1e-4)


def test_ties_at_a_quarter_is_a_quarter_to_the_bit():
    """The roots of 1/4 are powers of two, so that nothing is rounded."""
    parts = [part(seed) for seed in range(4)]
    full, quarter = (Merge("ties")(parts, [weight] * 4) for weight in (1.0, 0.25))

    for name, factors in full.adapter.items():
        assert torch.equal(quarter.adapter[name].a, factors.a / 2)
        assert torch.equal(quarter.adapter[name].b, factors.b / 2)


@pytest.mark.parametrize("method", ["dare_linear", "dare_ties"])
def test_dare_is_seeded(method):
    parts = [part(0), part(1)]
    state = torch.random.get_rng_state()

    one, again, other = (Merge(method, seed=s)(parts, [0.5, 0.5]) for s in (7, 7, 8))

    assert_equal(one, again)
    assert not torch.equal(one.adapter["layers.0.up"].a, other.adapter["layers.0.up"].a)
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize(("dare", "plain"), [("dare_linear", "linear"), ("dare_ties", "ties")])
def test_dare_that_keeps_all_changes_nothing(dare, plain):
    parts, weights = [part(0), part(1)], [0.5, 0.7]
    plain = Merge(plain) if plain == "linear" else Merge(plain, density=1.0)

    assert_equal(Merge(dare, density=1.0)(parts, weights), plain(parts, weights))


def test_dare_drops_its_share_and_enlarges_the_rest():
    shapes = {"up": (100, 50)}
    parts = [part(0, rank=10, shapes=shapes), part(0, rank=10, shapes={"up": (100, 50)})]
    zero = Scaled({"up": Factors(torch.zeros(10, 100), torch.zeros(50, 10))}, 10, 1.0)
    kept = Merge("dare_linear", density=0.25)([parts[0], zero], [1.0, 1.0]).adapter["up"].a
    original = parts[0].adapter["up"].a

    assert 0.2 < (kept != 0).float().mean() < 0.3
    torch.testing.assert_close(kept[kept != 0], 4 * original[kept != 0])


# -- all of them -----------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_a_single_adapter_is_not_merged(method):
    one = part(0, scale=1.5)

    merged = Merge(method)([one], [-0.5])

    assert merged == Scaled(one.adapter, 2, -0.75)
    assert merged.adapter is one.adapter


@pytest.mark.parametrize("method", METHODS)
def test_nothing_that_is_given_is_changed(method):
    parts = [part(0), part(1)]

    Merge(method)(parts, [0.3, 0.7])

    for seed, given_part in enumerate(parts):
        assert_equal(given_part, part(seed))


@pytest.mark.parametrize("method", METHODS)
def test_a_merge_can_be_merged_again(method):
    once = Merge(method)([part(0), part(1)], [0.3, 0.7])
    expected = {name: 2 * delta for name, delta in deltas(once).items()}

    assert_deltas(Merge("cat")([once, once], [1.0, 1.0]), expected, atol=1e-4)


# -- what is refused -------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["average", "", "CAT"])
def test_an_unknown_method_is_refused(method):
    with pytest.raises(InvalidInputError, match=r"must be one of \['cat', 'dare_linear'.*got"):
        Merge(method)


@pytest.mark.parametrize("density", [0.0, -0.1, 1.01, float("nan")])
def test_a_density_that_is_no_share_is_refused(density):
    with pytest.raises(InvalidInputError, match=r"`density` must be (in \(0, 1\]|finite), got"):
        Merge("ties", density=density)


@pytest.mark.parametrize("rank", [0, -3])
def test_a_rank_below_one_is_refused(rank):
    with pytest.raises(InvalidInputError, match="`rank` must be an integer of at least 1, got"):
        Merge("svd", rank=rank)


@pytest.mark.parametrize(
    ("method", "option"),
    [("cat", "density"), ("cat", "rank"), ("linear", "seed"), ("ties", "seed"), ("svd", "density")],
)
def test_an_option_that_would_do_nothing_is_refused(method, option):
    with pytest.raises(InvalidInputError, match=rf"merge '{method}' has no `{option}`, got 1"):
        Merge(method, **{option: 1})


@pytest.mark.parametrize("method", METHODS)
def test_nothing_cannot_be_merged(method):
    with pytest.raises(InvalidInputError, match="at least one adapter to merge, got none"):
        Merge(method)([], [])


@pytest.mark.parametrize("weights", [[], [1.0], [1.0, 1.0, 1.0]])
def test_weights_have_to_match(weights):
    with pytest.raises(InvalidInputError, match=rf"each of 2 adapters, got {len(weights)}"):
        Merge()([part(0), part(1)], weights)


@pytest.mark.parametrize("weight", [float("nan"), float("inf"), "1", None])
def test_weights_have_to_be_finite(weight):
    with pytest.raises(InvalidInputError, match="expected finite weights"):
        Merge()([part(0), part(1)], [1.0, weight])


@pytest.mark.parametrize("method", METHODS)
def test_adapters_of_other_models_do_not_merge(method):
    other = part(1, shapes={**SHAPES, "layers.1.up": (5, 8)})

    with pytest.raises(InvalidInputError, match=r"layers\.1\.up is .*\(5, 7\) .*\(5, 8\)"):
        Merge(method)([part(0), other], [1.0, 1.0])


@pytest.mark.parametrize("method", BY_FACTOR)
def test_factors_of_different_ranks_do_not_add_up(method):
    with pytest.raises(InvalidInputError, match=r"got ranks \[2, 3\]\nHint: .*'cat'"):
        Merge(method)([part(0, 2), part(1, 3)], [1.0, 1.0])


@pytest.mark.parametrize("method", BY_FACTOR)
def test_factors_of_different_layers_do_not_add_up(method):
    fewer = part(1, shapes={"layers.0.up": (5, 7)})

    with pytest.raises(InvalidInputError, match=r"only some have 'layers\.0\.down'\nHint: .*'cat'"):
        Merge(method)([part(0), fewer], [1.0, 1.0])
