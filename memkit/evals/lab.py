"""Where points are measured: the models, the data and the modules that several points share."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from memkit.errors import InvalidInputError
from memkit.evals.configuration import Configuration, Learning
from memkit.evals.data import catalogue
from memkit.evals.data.dataset import DataSet, Document
from memkit.evals.knowledge import Knowledge
from memkit.evals.leakage import check_leaks
from memkit.evals.lessons import Lesson
from memkit.evals.partitions import partition
from memkit.evals.trained_modules import ModuleStore, TrainedModule
from memkit.evals.writers import write
from memkit.lora.serving.hooks import AdapterLayers
from memkit.models.language_model import TransformersModel
from memkit.protocols import Embedder, Synthesizer


class Lab:
    """Models and data for one set of points; close it, or use it as a context manager.

    Args:
        base: The base model.
        embedder: Embeds documents and questions.
        folder: Where trained adapters are kept.
        data: The folder with published data; None where only invented data is used.
        synthesizer: Writes questions about plain texts; None for templates.
        judge: Gives marks to answers, beside the metrics: a function from a prompt to a text, or
            a chat model of LangChain. None for no marks.
    """

    def __init__(
        self,
        base: TransformersModel,
        embedder: Embedder,
        folder: Path,
        data: Path | None = None,
        *,
        synthesizer: Synthesizer | None = None,
        judge: Any = None,
    ) -> None:
        self.base = base
        self.embedder = embedder
        self.folder = folder
        self.data = data
        self.judge = judge
        self._synthesizer = synthesizer
        self._sets: dict[tuple[str, int], DataSet] = {}
        self._knowledge: dict[str, Knowledge] = {}

    @cached_property
    def layers(self) -> AdapterLayers:
        """The hooks on the base model."""
        return AdapterLayers.of(self.base)

    @cached_property
    def store(self) -> ModuleStore:
        """Where modules come from."""
        return ModuleStore(self.base, self.layers, self.folder / "adapters")

    def add(self, data: DataSet) -> None:
        """Make a data set known under its name; configurations then name it, with its size."""
        self._sets[data.name, len(data.documents)] = data

    def data_set(self, name: str, size: int) -> DataSet:
        """A data set, loaded once."""
        if (name, size) not in self._sets:
            self._sets[name, size] = catalogue.load(name, size, self.data)
        return self._sets[name, size]

    def knowledge(self, data: DataSet) -> Knowledge:
        """The index over a data set, made once."""
        if data.digest not in self._knowledge:
            self._knowledge[data.digest] = Knowledge(data, self.embedder)
        return self._knowledge[data.digest]

    def modules(
        self, configuration: Configuration, data: DataSet
    ) -> tuple[dict[str, TrainedModule], dict[str, str]]:
        """The modules of a configuration by name, and which documents they learned.

        Raises:
            LeakError: If training data holds what is asked.
        """
        learning = configuration.learning
        if learning is None:
            raise InvalidInputError("expected a configuration that learns, got `learning` None")
        parts = partition(data.documents, configuration.partition, configuration.modules)
        lessons = {name: self._lessons(data, part, learning) for name, part in parts.items()}
        check_leaks([lesson for some in lessons.values() for lesson in some], data.asked)
        modules = {
            name: self.store.get(some, learning, configuration.seed)
            for name, some in lessons.items()
        }
        placed = {document.id: name for name, part in parts.items() for document in part}
        return modules, placed

    def _lessons(self, data: DataSet, part: Sequence[Document], learning: Learning) -> list[Lesson]:
        return write(
            data, part, learning.forms, writer=learning.writer, synthesizer=self._synthesizer
        )

    def close(self) -> None:
        """Take the hooks off the base model, and let go of indexes."""
        for knowledge in self._knowledge.values():
            knowledge.close()
        self._knowledge.clear()
        if "layers" in vars(self):
            self.layers.detach()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
