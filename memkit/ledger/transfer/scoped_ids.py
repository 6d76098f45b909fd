"""Which id an entry has here: its own, or another one where that is of a foreign scope.

Ids are unique in a memory, over records and turns, so an entry cannot have one that is in use
outside of the scope that is imported. It gets one that is made of its scope and its id: the same
whenever the file comes again, and nothing that is there already has to be changed or shown.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from itertools import count

from memkit.errors import InvalidInputError
from memkit.ledger.engine.database import Database
from memkit.types import Scope
from memkit.types.scope import contains

_OTHERS = {"records": "turns", "turns": "records"}
_NAMESPACE = uuid.UUID("6d656d6b-6974-5069-8d70-6f7274656421")  # of ids that are made of others


class ScopedIds:
    """The ids of the rows of one table, for entries of a scope.

    Args:
        database: Of the ledger.
        table: Has the columns ``id`` and ``scope``.
        scope: That is imported; None for all, where no id is foreign.

    Attributes:
        renamed: Ids of the file, and those that their entries have here, where they differ.
    """

    def __init__(self, database: Database, table: str, scope: Scope | None) -> None:
        self.renamed: dict[str, str] = {}
        self._database = database
        self._table = table
        self._scope = scope

    def of(self, id: str, scope: str) -> str:
        """Give the id that the entry with this id and this stored scope has here.

        Raises:
            InvalidInputError: If a record wants the id of a turn, or a turn that of a record.
        """
        is_own = None if self._scope is None else self._is_own(id)
        if self._scope is None or is_own:
            self._refuse_of_others(id)
            return id
        for other in _made_of(id, scope):
            if (is_made := self._is_own(other)) is not False:
                break
        if is_own is None and is_made is None:
            return id  # nobody has either of them
        self.renamed[id] = other
        return other

    def _is_own(self, id: str) -> bool | None:
        """Whether what has an id is of the scope; None if nothing has it."""
        keys = self._database.column(
            "SELECT scope FROM records WHERE id = ? UNION SELECT scope FROM turns WHERE id = ?",
            *(id, id),
        )
        return all(contains(key, self._scope or {}) for key in keys) if keys else None

    def _refuse_of_others(self, id: str) -> None:
        others = _OTHERS[self._table]
        if self._database.value(f"SELECT 1 FROM {others} WHERE id = ?", id) is not None:
            raise InvalidInputError(
                f"`id` {id!r} of one of the {self._table} is in use: one of the {others} has it",
                "Give the entry another id: they are unique over records and turns.",
            )


def _made_of(id: str, scope: str) -> Iterator[str]:
    for number in count():
        yield str(uuid.uuid5(_NAMESPACE, json.dumps([scope, id, number])))
