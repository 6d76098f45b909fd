"""Shapes of adapters and ways of training: their defaults, their refusals, their JSON form."""

import json

import pytest

from memkit.errors import InvalidInputError
from memkit.lora.spec import LoraSpec, TrainSpec


@pytest.mark.parametrize(
    ("rank", "alpha", "scale"), [(8, None, 2.0), (1, None, 2.0), (4, 8.0, 2.0), (16, 4.0, 0.25)]
)
def test_the_delta_is_scaled_by_alpha_over_rank(rank, alpha, scale):
    assert LoraSpec(rank=rank, alpha=alpha).scale == scale


@pytest.mark.parametrize("rank", [0, -1])
def test_a_rank_below_one_is_refused(rank):
    with pytest.raises(InvalidInputError, match=f"`rank` must be an integer .*, got {rank}"):
        LoraSpec(rank=rank)


@pytest.mark.parametrize("layers", [(-0.1, 1.0), (0.5, 0.5), (0.6, 0.4), (0.0, 1.1)])
def test_layers_outside_the_model_are_refused(layers):
    with pytest.raises(InvalidInputError, match="`layers` must be two fractions"):
        LoraSpec(layers=layers)


@pytest.mark.parametrize(
    "spec",
    [
        LoraSpec(),
        LoraSpec(rank=3, alpha=1.5, target_modules=("q_proj", "v_proj"), layers=(0.25, 0.75)),
    ],
)
def test_a_spec_survives_the_manifest(spec):
    assert LoraSpec.from_dict(json.loads(json.dumps(spec.as_dict()))) == spec


def test_the_training_spec_is_json():
    spec = TrainSpec(learning_rate=1e-3, seed=7)

    assert TrainSpec(**json.loads(json.dumps(spec.as_dict()))) == spec


@pytest.mark.parametrize(
    ("steps", "visits"), [(1, 24), (2, 24), (3, 24), (4, 18), (7, 18), (1000, 18)]
)
def test_few_steps_an_epoch_make_more_epochs(steps, visits):
    assert TrainSpec().visits(steps) == visits
    assert TrainSpec(epochs=5).visits(steps) == 5  # what is asked for is not exceeded


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epochs": 0}, "`epochs` must be an integer of at least 1, got 0"),
        ({"batch_size": 0, "guards": 0}, "`batch_size` must be an integer of at least 1, got 0"),
        ({"guards": 8}, "`guards` must leave room for facts in a batch of 8, got 8"),
        ({"guards": -1}, "`guards` must be an integer of at least 0, got -1"),
        ({"learning_rate": 0.0}, "`learning_rate` must be above 0"),
        ({"learning_rate": float("nan")}, "`learning_rate` must be finite, got nan"),
        ({"mastery": 0.0}, "`mastery` must be between 0 and 1"),
        ({"mastery": 1.0}, "`mastery` must be between 0 and 1"),
    ],
)
def test_training_settings_out_of_range(values, message):
    with pytest.raises(InvalidInputError, match=message):
        TrainSpec(**values)


def test_target_modules_are_a_tuple():
    with pytest.raises(InvalidInputError, match="or a tuple of layer names, got 'q_proj'"):
        LoraSpec(target_modules="q_proj")
