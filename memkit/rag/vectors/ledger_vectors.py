"""Follows the ledger's feed of passage changes, and searches what a query may see."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections import OrderedDict
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from memkit.ledger import Ledger
from memkit.types import ALWAYS, Metadata, Period, Scope
from memkit.types.queries import Bounds, bounds_of

if TYPE_CHECKING:
    from memkit.protocols import Floats2d, VectorIndex

    Keys = NDArray[np.int64]

BEHIND = 100_000  # changes that are taken in although nobody has searched; bounds memory
FILTERS = 8  # with their scopes, whose passages are remembered until something is written


class LedgerVectors(ABC):
    """The ledger's passage vectors, searchable: kept in step with what any process commits.

    Safe across threads. Its lock is taken before the ledger's, never the other way round: do
    not call it inside ``ledger.transaction()``.
    """

    def __init__(self, ledger: Ledger, dim: int) -> None:
        self._ledger = ledger
        self._dim = dim
        self._lock = threading.RLock()
        self._stamp = 0  # the last change of the feed that the index has seen
        self._state: object = None  # of the ledger's file when it was last looked at
        self._allowed: OrderedDict[Bounds, Keys | None] = OrderedDict()

    @property
    @abstractmethod
    def index(self) -> VectorIndex:
        """What is searched."""

    @abstractmethod
    def _apply(self, touched: Keys, keys: Keys, vectors: Floats2d) -> None:
        """Follow a batch of changes.

        Args:
            touched: Keys that were added or removed, shape ``(n,)``.
            keys: Those of them that exist now, shape ``(m,)``.
            vectors: Their vectors, shape ``(m, dim)``.
        """

    @abstractmethod
    def scrub(self) -> tuple[str, ...]:
        """Let nothing that was deleted remain in files or in memory.

        Returns:
            Paths of the files that were rewritten or removed, relative to the memory.

        Raises:
            StorageError: If that cannot be done.
        """

    def wait(self) -> None:
        """Wait until everything that was committed is in the index."""
        self.sync()

    @abstractmethod
    def save(self) -> None:
        """Write the files of the index if that saves time on the next opening.

        Raises:
            StorageError: If they cannot be written.
        """

    @abstractmethod
    def close(self) -> None:
        """Stop what runs in the background."""

    def __len__(self) -> int:
        return len(self.index)

    def sync(self) -> None:
        """Take in what was committed since the last time; next to nothing to do if nothing was."""
        with self._lock:
            state = self._ledger.state()
            if state != self._state:
                self._allowed.clear()
                self._follow()
                self._state = state

    def is_behind(self) -> bool:
        """Whether `sync` would take long by now: the index grows while records are added."""
        return self._ledger.passages.last_change() - self._stamp >= BEHIND

    def _follow(self) -> None:
        while changes := self._ledger.passages.changes(self._stamp):
            touched = np.unique(np.array([change.passage for change in changes], np.int64))
            keys, vectors = self._ledger.passages.vectors(touched.tolist())
            self._apply(touched, keys, vectors)
            self._stamp = changes[-1].seq

    def search(
        self,
        queries: Floats2d,
        *,
        k: int,
        scope: Scope,
        where: Metadata | None,
        period: Period = ALWAYS,
        without: Keys | None = None,
    ) -> list[list[tuple[int, float]]]:
        """`VectorIndex.search` among the passages that a scope may see and filters let pass.

        The passages of the keys ``without`` are left out.
        """
        # One lock around all three: whatever enters the index later is judged by a later look
        # at who may see it.
        with self._lock:
            allowed = self.allowed(scope, where, period)
            if without is not None:
                known = self._ledger.passages.last_key() + 1
                among = np.arange(known) if allowed is None else allowed
                allowed = among[~np.isin(among, without)]
            return self.index.search(queries, k=k, allowed=allowed)

    def allowed(self, scope: Scope, where: Metadata | None, period: Period) -> Keys | None:
        """`PassageTable.keys`, remembered: conversations ask in one scope again and again."""
        with self._lock:
            self.sync()
            bounds = bounds_of(scope, where, period)
            if bounds not in self._allowed:
                self._allowed[bounds] = self._ledger.passages.keys(
                    visible_to=scope, where=where, period=period
                )
            self._allowed.move_to_end(bounds)
            if len(self._allowed) > FILTERS:
                self._allowed.popitem(last=False)
            return self._allowed[bounds]
