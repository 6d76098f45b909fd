"""Records as columns: what the page knows of each, bounded in length."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from memkit.ledger import Ledger
from memkit.types import Record, Scope
from memkit.types.scope import scope_key

_BATCH = 2_000  # records that are read at once
LONGEST = 20_000  # characters of a text that the page has, where there is room
_SHORTEST = 280  # ... and where there are very many records
_ROOM = 32_000_000  # characters of all texts together, about
_VERSIONS = 20  # older versions of a record, the latest ones
_COLUMNS = (
    *("text", "question", "answer", "scope", "module", "version", "created", "updated", "said"),
    *("expires", "key", "pinned", "meta", "tried", "outdated"),
)


class RecordColumns:
    """Records in the order they were added; each column has one value for each record.

    Args:
        ledger: Where they are.
        scope: Only those of this scope and of narrower ones; None for all.
        most: At most so many, the latest ones.
        scopes: Scope as JSON to its number.
        modules: Name of each module to its number.
        trained: Name of the module that was trained on a record, by the record's id.
        routes: Records with a question that are kept, at most.

    Attributes:
        ids: Which records there are.
        index: The number of each, by id.
        left_out: How many earlier ones are not there.
        longest: Characters of a text that are kept; of longer ones it is the beginning.
        columns: By name, what is known of each record.
        versions: Older versions, by the record's number.
        cut: The whole length of each text that is cut, by the record's number.
        asking: The first records with a question, those that a module holds before the others.
        questions: How many records have one.
    """

    def __init__(
        self,
        ledger: Ledger,
        scope: Scope | None,
        most: int,
        *,
        scopes: Mapping[str, int],
        modules: Mapping[str, int],
        trained: Mapping[str, str],
        routes: int,
    ) -> None:
        ids = ledger.records.ids(within=scope)
        self.left_out = max(0, len(ids) - most)
        self.ids = ids[self.left_out :]
        self.index = {id: place for place, id in enumerate(self.ids)}
        self.longest = max(_SHORTEST, min(LONGEST, _ROOM // max(1, len(self.ids))))
        self._ledger = ledger
        self._scopes = scopes
        self.columns: dict[str, list[Any]] = {name: [] for name in _COLUMNS} | {"id": self.ids}
        self.versions: dict[str, list[list[Any]]] = {}
        self.cut: dict[str, int] = {}
        self.questions = 0
        held: list[Record] = []
        others: list[Record] = []
        for start in range(0, len(self.ids), _BATCH):
            batch = ledger.records.get(self.ids[start : start + _BATCH])
            ids = [record.id for record in batch]
            placed, former = ledger.modules.placements(ids), ledger.modules.former_placements(ids)
            for place, record in enumerate(batch, start=start):
                holder = modules.get(placed.get(record.id, ""), -1)
                tried = modules.get(trained.get(record.id, ""), -1) if holder < 0 else -1
                self._add(place, record, holder, (tried, int(record.id in former)))
                kept = others if holder < 0 else held
                if record.question is not None:
                    self.questions += 1
                    kept += [record] if len(kept) < routes else []
        self.asking = (held + others)[:routes]

    def _add(self, place: int, record: Record, holder: int, tried: tuple[int, int]) -> None:
        values = (
            self.shortened(record.text),
            self.shortened(record.question),
            self.shortened(record.answer),
            self._scopes[scope_key(record.scope)],
            holder,
            record.version,
            seconds(record.created_at),
            seconds(record.updated_at),
            seconds(record.said_at),
            seconds(record.expires_at),
            self.shortened(record.key),
            int(record.pinned),
            self._metadata(record),
            *tried,
        )
        for name, value in zip(_COLUMNS, values, strict=True):
            self.columns[name].append(value)
        if len(record.text) > self.longest:
            self.cut[str(place)] = len(record.text)
        if record.version > 1:
            self.versions[str(place)] = self._older(record.id)

    def shortened(self, text: str | None) -> str | None:
        """A text, or its beginning if it is too long for the page."""
        return text if text is None or len(text) <= self.longest else text[: self.longest]

    def _metadata(self, record: Record) -> str | None:
        if not record.metadata:
            return None
        return self.shortened(json.dumps(dict(record.metadata), ensure_ascii=False, default=dict))

    def _older(self, id: str) -> list[list[Any]]:
        """Number, text, question, answer and time of older versions, the latest first."""
        older = self._ledger.records.history(id)[:-1][::-1]
        return [
            [
                version.version,
                self.shortened(version.text),
                self.shortened(version.question),
                self.shortened(version.answer),
                seconds(version.created_at),
            ]
            for version in older[:_VERSIONS]
        ]


def seconds(moment: datetime | None) -> int | None:
    """A moment in whole seconds since 1970."""
    return None if moment is None else int(moment.timestamp())


def scope_numbers(scopes: Sequence[Scope]) -> dict[str, int]:
    """Number scopes in the order given, by their keys."""
    return {scope_key(scope): number for number, scope in enumerate(scopes)}
