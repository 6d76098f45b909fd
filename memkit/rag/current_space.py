"""Which embedding space a memory is in, and how it changes to another while searches go on."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from memkit.errors import IncompatibleModelError
from memkit.ledger import Ledger
from memkit.protocols import Embedder, VectorIndexFactory
from memkit.rag.embedding_space import EmbeddingSpace
from memkit.rag.reembed import Switch, reembed

R = TypeVar("R")


class CurrentSpace:
    """The embedding space that a memory is in.

    Readers take no lock. Each takes the space once, works in it, and looks at the end whether the
    ledger is still of that embedder: if not, its result, or its error, is dropped.

    Attributes:
        space: Replaced as a whole by `change`.
    """

    def __init__(
        self, ledger: Ledger, embedder: Embedder, make_index: VectorIndexFactory | None = None
    ) -> None:
        self.space = EmbeddingSpace(ledger, embedder, make_index)
        self._ledger = ledger
        self._make_index = make_index

    def run(self, work: Callable[[EmbeddingSpace], R]) -> R:
        """Do some work in one space from beginning to end; again if the space was replaced.

        Raises:
            IncompatibleModelError: If another process has changed the memory's embedder.
        """
        while True:
            space = self.space
            try:
                with self._ledger.one_look() as state:
                    ours = self.is_ours(space)
                    if ours:
                        result = work(space)
                if ours and (self._ledger.state() == state or self.is_ours(space)):
                    return result
            except Exception:
                if self.is_ours(space):  # otherwise vectors of two embedders may have met
                    raise
            if space is self.space:
                self.check()

    def change(self, embedder: Embedder) -> int:
        """Embed every passage with another embedder, and make it the memory's.

        Returns:
            How many passages were embedded; 0 if the memory has this embedder already.
        """
        identity = embedder.name, str(embedder.dim)
        if self._made_with() == identity == self.space.identity:
            self._ledger.shadow_vectors.drop()
            return 0
        self.check()
        return reembed(self._ledger, embedder, lambda switch: self._replace(embedder, switch))

    def is_ours(self, space: EmbeddingSpace) -> bool:
        """Whether the memory was made with a space's embedder, or with none yet."""
        return self._made_with() in {(None, None), space.identity}

    def check(self) -> None:
        """Compare the current space with the ledger.

        Raises:
            IncompatibleModelError: If the memory was made with another embedder.
        """
        if self.is_ours(self.space):
            return
        name, dim = self._made_with()
        embedder = self.space.embedder
        raise IncompatibleModelError(
            f"the memory was made with the embedder {name!r} (dimension {dim}), "
            f"got {embedder.name!r} (dimension {embedder.dim})",
            hint="Open it with the original embedder, or pass `rebuild=True` to Memory.open "
            "to embed every record again with the new one (`memkit reembed`).",
        )

    def pin(self) -> None:
        """Make this embedder the memory's, with the first write."""
        if self._ledger.get_meta("embedder") is None:
            name, dim = self.space.identity
            self._ledger.set_meta("embedder", name)
            self._ledger.set_meta("embedder_dim", dim)

    def _made_with(self) -> tuple[str | None, str | None]:
        """Name and dimension of the memory's embedder; None before the first write."""
        return self._ledger.get_meta("embedder"), self._ledger.get_meta("embedder_dim")

    def _replace(self, embedder: Embedder, switch: Switch) -> bool:
        """Replace the space in the transaction in which the ledger changes the vectors."""
        before = self.space
        after = EmbeddingSpace(self._ledger, embedder, self._make_index)
        try:
            with self._ledger.transaction():  # no other thread reads the ledger meanwhile
                changed = switch()
                if changed:
                    self.space = after
        except BaseException:
            self.space = before
            raise
        if changed:
            before.close()
        return changed
