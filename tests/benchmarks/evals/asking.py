"""Questions put to one adapter, without routing, and how many come back right."""

from __future__ import annotations

from collections.abc import Sequence

from memkit.lora.serving.bank import AdapterBank
from memkit.lora.serving.hooks import Adapter, AdapterLayers
from memkit.lora.serving.layout import Row
from memkit.lora.spec import LoraSpec
from memkit.lora.verify import same_answer
from memkit.models.language_model import TransformersModel
from memkit.protocols import Sampling

BATCH = 24
BRIEF = Sampling(max_new_tokens=24)


def bank_of(
    base: TransformersModel, layers: AdapterLayers, adapter: Adapter, lora: LoraSpec
) -> AdapterBank:
    """A bank in which every key is the same adapter, as it was trained."""
    row = Row.of(adapter, lora.scale)
    return AdapterBank(layers, lambda _: row, device=base.device, dtype=base.model.dtype)


def answers(
    base: TransformersModel, questions: Sequence[str], bank: AdapterBank | None
) -> list[str]:
    """What the model says, with the adapter of `bank_of` or, without a bank, by itself."""
    said = []
    for start in range(0, len(questions), BATCH):
        prompts = [base.prompt(question) for question in questions[start : start + BATCH]]
        mixture = None if bank is None else bank.mix([{"trained": 1.0}] * len(prompts))
        said += [one.text for one in base.generate(prompts, BRIEF, adapters=mixture)]
    return said


def right(
    base: TransformersModel, pairs: Sequence[tuple[str, str]], bank: AdapterBank | None
) -> int:
    """How many questions are answered exactly.

    Args:
        base: The base model.
        pairs: Questions with their answers.
        bank: Of `bank_of`; None for the model by itself.
    """
    said = answers(base, [question for question, _ in pairs], bank)
    return sum(same_answer(answer, one) for (_, answer), one in zip(pairs, said, strict=True))
