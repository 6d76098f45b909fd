"""The verbs about the life of records; a `memkit.Memory` has them all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from memkit.memory import write as writing
from memkit.memory.chat_log import import_messages
from memkit.memory.engine import Engine
from memkit.types import ImportReport, Metadata, Receipt, Record, Scope, Ttl
from memkit.types.validate import ttl_seconds

if TYPE_CHECKING:
    from memkit.rag.duplicates import Duplicates

NOWHERE: Scope = {}
NEAR = 0.95  # cosine similarity; reworded sentences are above it, related ones below


class LifecycleVerbs:
    """The part of `memkit.Memory` that says how long records live, and makes one of several."""

    _engine: Engine

    def pin(self, id: str, *, scope: Scope | None = None) -> Record:
        """Pin a record: it is part of all evidence, and does not expire.

        `recall`, `ask` and their kin put the pinned records that a query may see before all
        others, as far as the budget goes and beside its ``k``. `search` ranks them like any
        other. `merge` never gives one up.

        Raises:
            RecordNotFoundError: If there is no such record, or none that ``scope`` may see.
        """
        return self._engine.ledger.records.pin(self._seen(id, scope))

    def unpin(self, id: str, *, scope: Scope | None = None) -> Record:
        """Undo `pin`; from now on the record lives as long as its scope's default says.

        Raises:
            RecordNotFoundError: As for `pin`.
        """
        return self._engine.ledger.records.unpin(self._seen(id, scope))

    def expire(self, id: str, ttl: Ttl | None, *, scope: Scope | None = None) -> Record:
        """Let a record expire so long from now; None lets it live for good.

        Raises:
            RecordNotFoundError: As for `pin`.
            InvalidInputError: If it is pinned, or ``ttl`` is no time.
        """
        seconds = None if ttl is None else ttl_seconds(ttl)
        return self._engine.ledger.records.expire(self._seen(id, scope), seconds)

    def set_ttl(self, scope: Scope, ttl: Ttl | None) -> None:
        """Set how long records and turns live that are added to a scope from now on.

        It holds for narrower scopes as well, unless they have a default of their own: the scope
        with most keys decides, and of several of them the shortest time. A record's own ``ttl``
        comes before it, and pinned records are spared.

        Args:
            scope: ``{}`` for the whole memory.
            ttl: Seconds or a timedelta; None takes the default away.

        Raises:
            InvalidInputError: If the scope is malformed or ``ttl`` is no time.
        """
        self._engine.ledger.ttls.set(scope, None if ttl is None else ttl_seconds(ttl))

    def sweep(self, *, retrain: bool = True) -> Receipt:
        """Destroy what has expired, as `forget` does, weights included.

        From the moment when a record expires nothing shows it any more, and no module that was
        trained on it answers. Its bytes are there until now. `consolidate` sweeps first.

        Args:
            retrain: As for `forget`.
        """
        return writing.sweep(self._engine, retrain=retrain)

    def duplicates(
        self,
        threshold: float = NEAR,
        *,
        scope: Scope | None = None,
        where: Metadata | None = None,
    ) -> list[Duplicates]:
        """Find records of one scope that say almost the same; nothing is changed.

        Texts are near by their vectors alone: "on the first floor" and "on the second floor"
        may well be. Look at a group before you `merge` it. The effort grows with the square of
        the number of records in a scope: 10,000 take seconds.

        Args:
            threshold: Lowest cosine similarity of two records that are put together, in (0, 1].
            scope: Only records of this scope and narrower ones; None for all.
            where: Only records that pass this metadata filter.

        Raises:
            InvalidInputError: If the threshold is out of range.
            UnsupportedOperationError: Without the "rag" or the "lora" backend.
        """
        self._engine.need_index("duplicates()")
        from memkit.rag.duplicates import duplicates

        return duplicates(self._engine.ledger, threshold, within=scope, where=where)

    def merge(self, ids: Sequence[str], *, scope: Scope | None = None) -> Record:
        """Make one record of several of the same scope: the pinned one, or the newest.

        It stays as it is. What the others said becomes part of its history, older versions
        included, until it is forgotten; their turns belong to it. It expires when the first of
        them would have.

        Args:
            ids: At least two.
            scope: Refuse records that this scope may not see.

        Raises:
            RecordNotFoundError: If one is unknown or not visible.
            InvalidInputError: If they are of different scopes, more than one is pinned, or one
                expires and another one is pinned.
        """
        for id in ids:
            self._seen(id, scope)
        return self._engine.ledger.merge(ids)

    def add_messages(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        scope: Scope = NOWHERE,
        remember: bool = True,
        at: datetime | None = None,
    ) -> ImportReport:
        """Take in a chat log in OpenAI's format, as turns of a conversation and as records.

        What the user and the assistant said becomes both; what tools returned only turns.
        System and developer messages are instructions, not memories, and are left out; so is
        evidence that memkit recalled into a message. A log that has grown can be handed in
        again: messages that are there already are not added a second time. They are known by
        their ``id``, or else by what they say and how often it was said before in the log.

        Args:
            messages: As ``{"role": ..., "content": ...}``, oldest first; content is a string or
                a list of parts, of which the texts are taken.
            scope: The conversation.
            remember: Whether to make records of them.
            at: When the conversation was; by default now.

        Raises:
            InvalidInputError: If a message is malformed, or the time has no time zone; nothing
                is added then.
        """
        return import_messages(self._engine, messages, scope, remember=remember, at=at)

    def _seen(self, id: str, scope: Scope | None) -> str:
        return self._engine.ledger.records.get([id], scope=scope)[0].id
