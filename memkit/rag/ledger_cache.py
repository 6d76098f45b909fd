"""What every search asks the ledger, read once per change of the ledger."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from memkit.ledger import Ledger
from memkit.types import Scope
from memkit.types.scope import scope_key

LIMIT = 64  # values that are remembered; one per scope, and a few more

State = tuple[int, ...]
T = TypeVar("T")


class LedgerCache:
    """Remembers answers of the ledger until it changes, by whichever thread or process.

    A value is never older than the last `refresh`; it may be newer. Not for use inside
    ``ledger.transaction()``: what is read there may be rolled back.

    Args:
        ledger: What is asked.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._lock = threading.Lock()
        self._state: State | None = None
        self._values: dict[Hashable, Any] = {}

    def refresh(self) -> State:
        """Look whether the ledger has changed, and forget all values if so.

        Returns:
            The ledger's state, another value after every change.
        """
        state = self._ledger.state()
        with self._lock:
            if state != self._state:
                self._values.clear()
                self._state = state
        return state

    def made_with(self) -> tuple[str | None, str | None]:
        """Name and dimension of the memory's embedder; None before the first write."""
        return self._get("made_with", lambda: made_with(self._ledger))

    def passages_ever(self) -> int:
        """How many passages there have been."""
        return self._get("passages_ever", self._ledger.passages.ever)

    def has_turns(self) -> bool:
        """Whether the memory holds any conversation."""
        return self._get("has_turns", self._ledger.conversations.exist)

    def speakers(self, scope: Scope) -> list[str]:
        """Names of those who speak in the conversations that a scope may see."""
        return self._get(
            ("speakers", scope_key(scope)),
            lambda: self._ledger.conversations.speakers(visible_to=scope),
        )

    def clear(self) -> None:
        """Forget all values."""
        with self._lock:
            self._values.clear()

    def _get(self, key: Hashable, read: Callable[[], T]) -> T:
        with self._lock:
            state = self._state
            if key in self._values:
                value: T = self._values[key]
                return value
        value = read()
        with self._lock:
            if state == self._state:
                while len(self._values) >= LIMIT:
                    del self._values[next(iter(self._values))]
                self._values[key] = value
        return value


def made_with(ledger: Ledger) -> tuple[str | None, str | None]:
    """Name and dimension of the embedder that a memory was made with; None before the first write.

    Read from the ledger, also inside a transaction.
    """
    return ledger.get_meta("embedder"), ledger.get_meta("embedder_dim")
