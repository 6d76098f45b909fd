"""Synthesizers for tests of consolidation."""

from __future__ import annotations

from collections.abc import Sequence

from memkit.lora.training.template_synthesizer import TemplateSynthesizer
from memkit.protocols import Example
from memkit.types import Record


class FirstWordings(TemplateSynthesizer):
    """Trains on the first wording of each answer: training ends when it is known by heart."""

    def examples(self, records: Sequence[Record]) -> list[Example]:
        """The first of the trained wordings of each answer, and all that are held out."""
        first: dict[tuple[object, ...], Example] = {}
        for one in super().examples(records):
            first.setdefault((one.record_id, one.answer, one.held_out and one.question), one)
        return list(first.values())


class Script:
    """A synthesizer that says what it was told to.

    Args:
        taught: Record id to pairs of question and answer.
    """

    def __init__(self, **taught: Sequence[tuple[str, str]]) -> None:
        self.taught = taught

    def examples(self, records: Sequence[Record]) -> list[Example]:
        """The pairs of the records, in order."""
        return [
            Example(question, answer, record.id)
            for record in records
            for question, answer in self.taught.get(record.id, [])
        ]
