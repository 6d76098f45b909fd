"""Losses against their formulas, computed with plain torch on whole logits."""

import pytest
import torch
from torch.nn.functional import cross_entropy, softmax

from memkit.answering.prompt import PromptFormat
from memkit.errors import InvalidInputError
from memkit.lora.spec import TrainSpec
from memkit.lora.training.encoding import collate, encode, facts_of
from memkit.lora.training.objectives import Distillation, Likelihood, objective_of
from memkit.protocols import Example
from memkit.testing import tiny_llama, tiny_qwen2

EXAMPLES = [
    Example("Which badge?", "4471", "a", context="The badge is 4471."),
    Example("Who opens?", "Ada Lind", "b", context="Ada Lind opens the shop."),
]


@pytest.fixture(scope="module", params=[tiny_llama, tiny_qwen2])
def base(request):
    return request.param()


def batch_of(base, *, questions=False):
    rows = [one for fact in facts_of(base, EXAMPLES) for one in fact]
    return collate(rows, base.device, questions=questions)


def hidden_of(base, batch):
    with torch.no_grad():
        past = base.past([example.prefix for example in batch.examples])
        hidden = base.extend(past, [example.ids for example in batch.examples])
    return hidden[batch.rows, batch.columns]


def test_likelihood_and_its_gradient_are_cross_entropys(base):
    batch = batch_of(base)
    hidden = hidden_of(base, batch)
    mine, theirs = hidden.clone().requires_grad_(), hidden.clone().requires_grad_()
    weights = torch.linspace(0.5, 1.5, len(batch.targets))  # so that rows differ
    expected = cross_entropy(base.logits(theirs), batch.targets, reduction="none")

    losses, surprise = Likelihood(base, questions=False).losses(batch, mine)

    torch.testing.assert_close(losses, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(surprise, expected.detach(), atol=1e-5, rtol=1e-5)
    assert not surprise.requires_grad
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
        losses, _ = Likelihood(base, questions=False).losses(batch, hidden)
    finally:
        bias, head.bias = head.bias, None
    expected = cross_entropy(hidden @ head.weight.T + bias, batch.targets, reduction="none")

    torch.testing.assert_close(losses, expected, atol=1e-5, rtol=1e-5)


def test_the_whole_sequence_is_question_and_answer(base):
    """Every token but the first, whose predecessor is the prefix."""
    batch = batch_of(base, questions=True)

    for row, example in enumerate(EXAMPLES):
        ids = [*base.prompt(example.question).question, *base.answer_ids(example.answer)]
        mine = batch.rows == row
        assert batch.targets[mine].tolist() == ids[1:]
        assert int(batch.answer[mine].sum()) == len(base.answer_ids(example.answer))
        assert batch.answer[mine].tolist()[-1]


def test_distillation_follows_the_model_that_has_read_the_text(base):
    batch = batch_of(base)
    student = hidden_of(base, batch)
    teacher = []
    for example in EXAMPLES:
        prompt = base.prompt(
            example.question, system=PromptFormat().system_message(example.context)
        )
        answer = base.answer_ids(example.answer)
        with torch.no_grad():
            output = base.model.base_model(
                torch.tensor([[*prompt.prefix, *prompt.question, *answer]])
            )
        start = len(prompt.prefix) + len(prompt.question) - 1
        teacher.append(output.last_hidden_state[0, start : start + len(answer)])
    taught = torch.cat(teacher)
    p = softmax(base.logits(taught) / 2, dim=-1)
    q = softmax(base.logits(student) / 2, dim=-1)
    divergence = (p * (p.log() - q.log())).sum(-1)
    expected = 4 * divergence + 0.1 * (student - taught).abs().mean(-1)

    losses, surprise = Distillation(base).losses(batch, student)

    torch.testing.assert_close(losses, expected, atol=1e-4, rtol=1e-3)
    plain = cross_entropy(base.logits(student), batch.targets, reduction="none")
    torch.testing.assert_close(surprise, plain, atol=1e-5, rtol=1e-5)


def test_nothing_to_read_is_an_error(base):
    bare = encode(base, Example("Which badge?", "4471", "a"))
    batch = collate([bare], base.device, questions=False)

    with pytest.raises(InvalidInputError, match="examples with a `context` to distil from"):
        Distillation(base).losses(batch, hidden_of(base, batch))


@pytest.mark.parametrize(
    ("name", "kind", "questions"),
    [
        ("answer", Likelihood, False),
        ("sequence", Likelihood, True),
        ("distill", Distillation, False),
    ],
)
def test_a_spec_names_its_objective(base, name, kind, questions):
    objective = objective_of(base, TrainSpec(objective=name))

    assert isinstance(objective, kind)
    assert objective.questions is questions
