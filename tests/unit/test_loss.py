"""The loss against its formula, computed with plain torch on whole logits."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from memkit.answering.prompt import PromptFormat
from memkit.lora.training.encoding import collate, facts_of
from memkit.lora.training.loss import token_losses
from memkit.testing import tiny_llama, tiny_qwen2
from memkit.types import Example

EXAMPLES = [
    Example("Which badge?", "4471", "a", context="The badge is 4471."),
    Example("Who opens?", "Ada Lind", "b", context="Ada Lind opens the shop."),
]


@pytest.fixture(scope="module", params=[tiny_llama, tiny_qwen2])
def base(request):
    return request.param()


def batch_of(base):
    rows = [wording for fact in facts_of(base, EXAMPLES, PromptFormat()) for wording in fact]
    return collate(rows, base.device)


def hidden_of(base, batch):
    with torch.no_grad():
        past = base.past([example.prefix for example in batch.examples])
        hidden = base.extend(past, [example.ids for example in batch.examples])
    return hidden[batch.rows, batch.columns]


def test_the_loss_and_its_gradient_are_cross_entropys(base):
    batch = batch_of(base)
    hidden = hidden_of(base, batch)
    mine, theirs = hidden.clone().requires_grad_(), hidden.clone().requires_grad_()
    weights = torch.linspace(0.5, 1.5, len(batch.targets))  # so that rows differ
    expected = cross_entropy(base.logits(theirs), batch.targets, reduction="none")

    losses = token_losses(base, mine, batch.targets)

    torch.testing.assert_close(losses, expected, atol=1e-5, rtol=1e-5)
    (losses * weights).sum().backward()
    (expected * weights).sum().backward()
    torch.testing.assert_close(mine.grad, theirs.grad, atol=1e-6, rtol=1e-4)


def test_a_head_with_a_bias_counts_it(base):
    """Not fused, but right."""
    head = base.model.get_output_embeddings()
    batch = batch_of(base)
    hidden = hidden_of(base, batch)
    head.bias = torch.nn.Parameter(torch.linspace(-1, 1, head.out_features))
    try:
        losses = token_losses(base, hidden, batch.targets)
    finally:
        bias, head.bias = head.bias, None
    expected = cross_entropy(hidden @ head.weight.T + bias, batch.targets, reduction="none")

    torch.testing.assert_close(losses, expected, atol=1e-5, rtol=1e-5)
