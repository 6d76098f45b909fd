"""How long records live: `memory.retention`."""

from __future__ import annotations

from memkit.memory import forget
from memkit.memory.engine import Engine
from memkit.memory.reach import seen_by
from memkit.types import AnyScope, Receipt, Record, Scope, Ttl
from memkit.types.validate import ttl_seconds


class Retention:
    """Pins records, lets them expire, and destroys what has expired."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def pin(self, id: str, *, scope: AnyScope | None = None) -> Record:
        """Pin a record: it is part of all evidence, and does not expire.

        `recall`, `ask` and `stream` put the pinned records that a query may see before all
        others, as far as the budget goes and beside its ``k``. `search` ranks them like any
        other. `merge` never gives one up.

        Raises:
            RecordNotFoundError: If there is no such record, or none that ``scope`` may see.
        """
        return self._engine.ledger.records.pin(self._visible(id, scope))

    def unpin(self, id: str, *, scope: AnyScope | None = None) -> Record:
        """Undo `pin`; from now on the record lives as long as its scope's default says.

        Raises:
            RecordNotFoundError: As for `pin`.
        """
        return self._engine.ledger.records.unpin(self._visible(id, scope))

    def expire(self, id: str, ttl: Ttl | None, *, scope: AnyScope | None = None) -> Record:
        """Let a record expire so long from now; None lets it live for good.

        Raises:
            RecordNotFoundError: As for `pin`.
            InvalidInputError: If it is pinned, or ``ttl`` is no time.
        """
        seconds = None if ttl is None else ttl_seconds(ttl)
        return self._engine.ledger.records.expire(self._visible(id, scope), seconds)

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
        """Destroy what has expired, as `Memory.forget` does, weights included.

        From the moment when a record expires nothing shows it any more, and no module that was
        trained on it answers. Its bytes are there until now. `Memory.consolidate` sweeps first.

        Args:
            retrain: As for `Memory.forget`.
        """
        return forget.sweep(self._engine, retrain=retrain)

    def _visible(self, id: str, scope: AnyScope | None) -> str:
        return self._engine.ledger.records.get([id], scope=seen_by(scope))[0].id
