"""A synthesizer of your own: a language model words the questions that adapters are trained on.

    python examples/own_synthesizer.py

It is asked once for each content of a record; the ledger keeps what it said.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace

from memkit import Memory
from memkit.testing import HashingEmbedder, tiny_llama, tiny_recipe
from memkit.types import Example, Record

PROMPT = "Write one question that this note answers, then on a new line the answer.\n\n{text}"


class AskedForQuestions:
    """Implements `memkit.protocols.Synthesizer`; its tests are `memkit.testing`'s contract."""

    def __init__(self, complete: Callable[[str], str], model: str) -> None:
        self._complete = complete
        self._model = model

    @property
    def key(self) -> str:
        return f"asked-for-questions-1 {self._model}"  # a new key: all examples are made anew

    def examples(self, records: Sequence[Record]) -> list[Example]:
        made = []
        for record in records:
            reply = self._complete(PROMPT.format(text=record.text))
            question, _, answer = reply.partition("\n")
            if question and answer:
                made.append(Example(question, answer, record.id, origin=self._model))
        return made


def hosted_model(prompt: str) -> str:
    """Stands for a model that costs something; call yours here."""
    print("the hosted model is asked")
    subject, _, value = prompt.rpartition("\n")[2].rstrip(".").partition(" is ")
    return f"What is {subject[0].lower() + subject[1:]}?\n{value}"


# Small random models, so that this runs in seconds; leave them out to use the defaults.
recipe = replace(
    tiny_recipe(records_per_module=2), synthesizer=AskedForQuestions(hosted_model, "hosted-1")
)
options = {"recipe": recipe, "base_model": tiny_llama(), "embedder": HashingEmbedder()}
with tempfile.TemporaryDirectory() as folder, Memory.open(folder, **options) as memory:
    memory.add(["The badge of Nora is 4471.", "The badge of Emil is 2250."])
    print(memory.consolidate())
    print(memory.ask("What is the badge of Nora?", budget=0))
    print(memory.modules.retrain())  # from the ledger: the hosted model is not asked again
