"""The contracts between memkit's parts; each has at least two implementations.

Shapes: ``n`` texts, ``b`` queries, ``dim`` embedding dimension.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from memkit.types import (
    GREEDY,
    Completion,
    Draft,
    Evidence,
    Example,
    Metadata,
    Prompt,
    Query,
    Record,
    Route,
    Sampling,
    Scope,
)
from memkit.types.calibration import Calibration

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats2d = NDArray[np.float32]


class Embedder(Protocol):
    """Turns texts into unit vectors."""

    @property
    def name(self) -> str:
        """Identifies the model; vectors of different names are never compared."""
        ...

    @property
    def dim(self) -> int:
        """Length of a vector."""
        ...

    def encode_query(self, texts: Sequence[str], /) -> Floats2d:
        """Embed queries: shape ``(n, dim)``, float32, unit rows."""
        ...

    def encode_document(self, texts: Sequence[str], /) -> Floats2d:
        """Embed passages: shape ``(n, dim)``, float32, unit rows."""
        ...


class VectorIndex(Protocol):
    """Unit vectors under integer keys, searchable by inner product, which is their cosine."""

    @property
    def dim(self) -> int:
        """Length of a vector."""
        ...

    def __len__(self) -> int:
        """How many vectors there are."""
        ...

    def search(
        self, queries: Floats2d, *, k: int, allowed: NDArray[np.int64] | None = None
    ) -> list[list[tuple[int, float]]]:
        """Find vectors near each query.

        Args:
            queries: Unit rows, shape ``(b, dim)``.
            k: How many to find; at least 1.
            allowed: Only these keys take part, shape ``(n,)``; unknown ones are ignored; None
                for all.

        Returns:
            One list per query of ``(key, inner product)``, nearest first: ``k`` of them, or all
            that are allowed if those are fewer. An approximate index may miss near ones.
        """
        ...


class MutableVectorIndex(VectorIndex, Protocol):
    """A vector index that grows and shrinks; one of your own goes into ``Memory.open``.

    The ledger keeps the vectors, so it needs no files. Calls never overlap, and come with checked
    arguments.
    """

    def add(self, keys: NDArray[np.int64], vectors: Floats2d, /) -> None:
        """Take in vectors: unit rows, shape ``(n, dim)``, under new keys, shape ``(n,)``."""
        ...

    def remove(self, keys: NDArray[np.int64], /) -> object:
        """Take out what is under these keys, shape ``(n,)``; unknown ones are ignored.

        Their vectors may be those of texts that are forgotten: nothing of them may stay, neither
        in memory nor on disk.
        """
        ...


VectorIndexFactory = Callable[[int], MutableVectorIndex]  # of the dimension; the index is empty


class Reranker(Protocol):
    """Scores texts for a query by reading both together; a plain function is one."""

    def __call__(self, query: str, texts: Sequence[str], /) -> Sequence[float]:
        """Give one finite number per text, in order; higher is better."""
        ...


class Records(Protocol):
    """What a backend may read of the records that the memory holds; the ledger has them."""

    def ids(self, *, visible_to: Scope | None = None, where: Metadata | None = None) -> list[str]:
        """Ids in the order in which records were added.

        Args:
            visible_to: Only what this scope may see; None for all.
            where: Only records that pass this metadata filter.
        """
        ...

    def find(self, ids: Sequence[str], *, scope: Scope | None = None) -> list[Record]:
        """Records in the order asked, as they are now; without those that are not there.

        Args:
            ids: May repeat.
            scope: Leave out what this scope may not see, too.
        """
        ...


class Backend(ABC):
    """One of the places where knowledge can live; derive from it.

    The ledger holds the records. What a backend keeps is made from them and can be made again.
    `name`, `write`, `recall` and `delete` have to be defined; the other methods do nothing
    unless they are overridden.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """Tells it apart from the other backends of a memory."""

    def sync(self, records: Records) -> None:
        """Take in what the memory holds and is not here yet; called on opening and after imports.

        Args:
            records: Stays readable while the memory is open.
        """

    def prepare(self, drafts: Sequence[Draft]) -> None:
        """Do what takes long about drafts that `write` is about to bring as records.

        It is called before the transaction begins, so that others need not wait for it. What is
        prepared may never be written.
        """

    @abstractmethod
    def write(self, records: Sequence[Record]) -> None:
        """Take in records that are new or have changed, so that `recall` finds them.

        It is called inside the transaction that stores them; an error undoes that. Repeating it
        changes nothing.
        """

    @abstractmethod
    def recall(self, query: Query) -> Evidence:
        """Contribute evidence for a query; empty evidence if there is none.

        The memory leaves out hits that the query's scope or filter excludes; a backend that heeds
        both itself has more hits left. Turns and routes the memory takes as they are.
        """

    @abstractmethod
    def delete(self, ids: Sequence[str]) -> None:
        """Let go of records that are being forgotten. Unknown ids are no error.

        It is called inside the transaction that deletes them, while the ledger still has them.
        """

    def scrub(self) -> None:
        """Destroy the bytes of what was deleted; called after the transaction."""

    def stats(self) -> Mapping[str, int]:
        """Count what is here."""
        return {}

    def close(self) -> None:
        """Release what is held open. Repeating it changes nothing."""


class Router(ABC):
    """Chooses adapter modules for queries. Derive from it; without calibration define `route`."""

    @abstractmethod
    def route(
        self, queries: Sequence[Query], *, pending: Mapping[str, str] | None = None
    ) -> list[Route]:
        """One route per query, in order.

        Args:
            queries: Their scopes bound which facts take part.
            pending: Record id to module, for records that are about to be held: a module is
                asked through the router before it is committed.
        """

    @property
    def calibrated(self) -> bool:
        """Whether it is ready to choose; if not, `calibrate` makes it so."""
        return True

    def calibrate(self, records: Sequence[Record]) -> None:
        """Measure what is chosen by; ``records``, with stored examples, are about to be held."""

    def calibration(self) -> Calibration | None:
        """What was measured, to be shown with an explanation; None if nothing is."""
        return None


class Synthesizer(Protocol):
    """Turns records into training examples.

    It may be slow, cost something or answer differently each time: it is asked once for each
    content of a record, when the record is to be learned, and the ledger keeps what it said.
    """

    @property
    def key(self) -> str:
        """Names it with its version and its settings.

        What was made under another key is made anew when its record is trained.
        """
        ...

    def examples(self, records: Sequence[Record]) -> list[Example]:
        """Examples for the records, in their order; none for what cannot be asked for.

        Each names its record in `Example.record_id`. The first one of an answer that is not
        held out is the question that modules are asked for it.
        """
        ...


@runtime_checkable
class LanguageModel(Protocol):
    """A language model that answers prompts; `memkit.testing.LanguageModelContract` tests one.

    Every memory without the "lora" backend works with any of them. That backend computes inside
    the model, and needs `memkit.models.language_model.TransformersModel`. A model may also have
    ``special_tokens``, texts that no evidence will spell; and ``constraints``, which says that it
    holds answers to `Prompt.constraint`, and ``tools``, which shows tools to it and reads its
    calls (`memkit.answering.held.ToolReader`). Without them, a schema or tools are refused. A
    true ``shares_passes`` says that threads call `generate` and `stream` without holding it, and
    that it answers together what they ask at the same time.
    """

    @property
    def name(self) -> str:
        """For messages and reports; not empty."""
        ...

    def hold(self) -> AbstractContextManager[None]:
        """Use the model alone for the enclosed block; other threads wait.

        Answers are generated and streamed inside of it. A model that threads may use at the same
        time returns ``contextlib.nullcontext()``.

        Raises:
            UnsupportedOperationError: If this thread holds it already, where that would wait
                forever.
            BusyError: If another thread holds it for too long.
        """
        ...

    def forget_prefixes(self) -> None:
        """Let go of what is cached of earlier prompts: they may hold what was forgotten."""
        ...

    def count(self, text: str) -> int:
        """Number of tokens in ``text``."""
        ...

    def prompt(
        self,
        question: str,
        *,
        system: str | None = None,
        history: Sequence[tuple[str, str]] = (),
    ) -> Prompt:
        """Render and tokenize a conversation that ends with ``question``.

        Args:
            question: The user's last message.
            system: System message, evidence included; None for the model's default.
            history: Earlier messages as ``(role, content)``, oldest first.
        """
        ...

    def generate(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling = GREEDY,
        *,
        adapters: AbstractContextManager[object] | None = None,
    ) -> list[Completion]:
        """One completion per prompt, in order, computed as one batch.

        All of ``sampling`` is the model's duty: to check it with `Sampling.check`, to end the
        text before a ``stop`` text, and to draw the same tokens again for the same ``seed``.
        `memkit.testing.LanguageModelContract` tests that; a model that draws nothing overrides
        its test of seeds.

        Args:
            prompts: May differ in length.
            sampling: How tokens are chosen and where the text ends.
            adapters: Entered once the prefixes are encoded and left when the batch is done,
                so that it acts on questions and answers only. None without the "lora" backend.

        Raises:
            InvalidInputError: If ``sampling`` is out of range (`Sampling.check`), or a prompt and
                its answer may be too long for the model.
        """
        ...

    def stream(
        self,
        prompt: Prompt,
        sampling: Sampling = GREEDY,
        *,
        adapters: AbstractContextManager[object] | None = None,
    ) -> Generator[str, None, Completion | None]:
        """Pieces of text as they come, none empty; joined they are `generate`'s text.

        ``sampling`` binds it as it does `generate`: no piece reaches into a ``stop`` text. What
        the generator returns is `generate`'s completion; with None, tokens are counted instead.
        Adapters are entered before the first piece, and left after the last one or when the
        generator is closed.

        Raises:
            InvalidInputError: As `generate`.
        """
        ...
