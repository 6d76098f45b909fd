"""The optimizer of one adapter: its schedule, its steps, and where it stops."""

import math
import pickle

import pytest
import torch

from memkit.errors import TrainingError
from memkit.lora.training.optimizer import WARMUP, DivergedError, Optimizer, cosine


def test_the_schedule_rises_briefly_and_ends_at_nothing():
    assert cosine(0.0) == pytest.approx(0.1)
    assert cosine(WARMUP / 2) == pytest.approx(0.55)
    assert cosine(WARMUP) == pytest.approx(1.0)
    assert cosine((1.0 + WARMUP) / 2) == pytest.approx(0.5)
    assert cosine(1.0) == pytest.approx(0.0)


def test_a_step_moves_every_weight_by_the_rate_however_large_the_gradient():
    """By hand: of a matrix of one row the nearest orthonormal one is the gradient's direction."""
    weights = torch.tensor([[[1.0, -2.0]]], requires_grad=True)
    optimizer = Optimizer([weights], 0.1, guess=4.0)

    (100.0 * weights).sum().backward()
    optimizer.step(1.0)

    torch.testing.assert_close(weights.detach(), torch.tensor([[[0.9, -2.1]]]))
    assert weights.grad is None
    assert optimizer.steps == 1


def test_without_a_rate_nothing_moves():
    weights = torch.ones(1, 1, 2, requires_grad=True)

    weights.sum().backward()
    Optimizer([weights], 0.1, guess=4.0).step(0.0)

    torch.testing.assert_close(weights.detach(), torch.ones(1, 1, 2))


@pytest.mark.parametrize("loss", [math.nan, math.inf, 12.1])
def test_a_loss_that_leaves_is_stopped(loss):
    weights = torch.ones(1, 1, 1, requires_grad=True)
    optimizer = Optimizer([weights], 0.5, guess=4.0)
    optimizer.watch(1.0)
    weights.sum().backward()
    optimizer.step(0.5)
    optimizer.watch(11.9)  # an easy batch first, and a hard one

    with pytest.raises(DivergedError, match=r"from 1.00 to .* at step 1 with learning rate 0.5"):
        optimizer.watch(loss)


def test_an_untrained_model_may_begin_worse_than_a_guess():
    optimizer = Optimizer([torch.ones(1, 1, 1, requires_grad=True)], 0.5, guess=4.0)

    optimizer.watch(7.0)
    optimizer.watch(20.9)
    assert optimizer.loss == 20.9


def test_a_divergence_is_a_training_error_and_survives_a_process_pool():
    error = DivergedError("no", hint="yes")

    assert isinstance(error, TrainingError)
    assert pickle.loads(pickle.dumps(error)).hint == "yes"
