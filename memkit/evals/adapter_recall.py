"""What one adapter recalls when it is asked directly, without a router."""

from __future__ import annotations

from collections.abc import Sequence

from memkit.lora.serving.bank import AdapterBank
from memkit.lora.serving.hooks import Adapter, AdapterLayers
from memkit.lora.serving.layout import Row
from memkit.lora.spec import LoraSpec
from memkit.lora.verify import same_answer
from memkit.models.language_model import TransformersModel
from memkit.types import Sampling

BATCH = 24
SHORT_ANSWER = Sampling(max_new_tokens=24)


def single_adapter_bank(
    base: TransformersModel, layers: AdapterLayers, adapter: Adapter, lora: LoraSpec
) -> AdapterBank:
    """A bank in which every name is the same adapter, in the precision it was trained in."""
    row = Row.of(adapter, lora.scale)
    return AdapterBank(
        layers,
        lambda _: row,
        bound=base.bounds.adapters,
        device=base.device,
        dtype=base.model.dtype,
    )


def generate_answers(
    base: TransformersModel, questions: Sequence[str], bank: AdapterBank | None
) -> list[str]:
    """Answer questions from the weights alone, with nothing else in the prompt.

    The bank is one of `single_adapter_bank`; None asks the base model without an adapter.
    """
    texts: list[str] = []
    for start in range(0, len(questions), BATCH):
        prompts = [base.prompt(question) for question in questions[start : start + BATCH]]
        mixture = None if bank is None else bank.mix([{"trained": 1.0}] * len(prompts))
        completions = base.generate(prompts, SHORT_ANSWER, adapters=mixture)
        texts += [completion.text for completion in completions]
    return texts


def are_correct(
    base: TransformersModel, pairs: Sequence[tuple[str, str]], bank: AdapterBank | None
) -> list[bool]:
    """Whether the question of each pair is answered exactly, as `generate_answers` asks it."""
    texts = generate_answers(base, [question for question, _ in pairs], bank)
    return [same_answer(answer, text) for (_, answer), text in zip(pairs, texts, strict=True)]


def count_correct(
    base: TransformersModel, pairs: Sequence[tuple[str, str]], bank: AdapterBank | None
) -> int:
    """Count the questions of pairs that are answered exactly."""
    return sum(are_correct(base, pairs, bank))
