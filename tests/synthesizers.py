"""Synthesizers for tests of consolidation."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from memkit.lora.training.template_synthesizer import TemplateSynthesizer
from memkit.types import Example, Record


class FirstWordings(TemplateSynthesizer):
    """Trains on the first wording of each answer: training ends when it is known by heart."""

    @property
    def key(self) -> str:
        """Name and version of the class; a subclass has its own."""
        return f"{type(self).__qualname__}-1"

    def examples(self, records: Sequence[Record]) -> list[Example]:
        """The first of the trained wordings of each answer, and all that are held out."""
        first: dict[tuple[object, ...], Example] = {}
        for example in super().examples(records):
            wording = example.held_out and example.question
            first.setdefault((example.record_id, example.answer, wording), example)
        return list(first.values())


class Script:
    """A synthesizer whose examples are given.

    Args:
        taught: Record id to pairs of question and answer.
    """

    def __init__(self, **taught: Sequence[tuple[str, str]]) -> None:
        self.taught = taught

    @property
    def key(self) -> str:
        """The class, and a digest of all that is given."""
        digest = hashlib.sha256(repr(sorted(self.taught.items())).encode()).hexdigest()
        return f"{type(self).__qualname__}-{digest[:16]}"

    def examples(self, records: Sequence[Record]) -> list[Example]:
        """The pairs of the records, in order."""
        return [
            Example(question, answer, record.id, origin="script")
            for record in records
            for question, answer in self.taught.get(record.id, [])
        ]


class AskingSynthesizer:
    """Has a language model word a question and an answer for each record; counts its calls.

    Args:
        model: Continues a prompt; any callable from text to text.
        name: Of the model and its settings: part of `key`.
    """

    prompt = "Write a question that this note answers, then on a new line its answer.\n\n{text}"

    def __init__(self, model: Callable[[str], str], name: str) -> None:
        self._model = model
        self._name = name
        self.calls: list[str] = []  # ids of the records, one for each call

    @property
    def key(self) -> str:
        """Version of the prompt and name of the model."""
        return f"asking-1-{self._name}"

    def examples(self, records: Sequence[Record]) -> list[Example]:
        """One example of each record; none where the model gives no two lines."""
        examples = []
        for record in records:
            self.calls.append(record.id)
            question, _, answer = self._model(self.prompt.format(text=record.text)).partition("\n")
            if question.strip() and answer.strip():
                pair = question.strip(), answer.strip()
                examples.append(Example(*pair, record.id, context=record.text, origin=self._name))
        return examples
