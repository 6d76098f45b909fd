"""The backend that keeps knowledge in an index: evidence is passages with scores."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from memkit.errors import RecordNotFoundError
from memkit.ledger import Ledger, NewPassage
from memkit.ledger.records.record_rows import content_hash
from memkit.protocols import Query
from memkit.rag.index import FactIndex
from memkit.rag.search_as_of import search_as_of
from memkit.types import Draft, Evidence, Hit, Record

if TYPE_CHECKING:
    from memkit.protocols import Floats2d


class RagBackend:
    """`memkit.protocols.Backend` over the fact index.

    Args:
        ledger: Where records and passages are.
        facts: The index over them; the adapter router may share it.

    Attributes:
        facts: As given.
    """

    def __init__(self, ledger: Ledger, facts: FactIndex) -> None:
        self._ledger = ledger
        self.facts = facts
        self._prepared = _Prepared()

    def open(self, records: Iterable[Record]) -> None:  # noqa: ARG002 - as `Backend` has it
        """Index the records that have no passages yet.

        Args:
            records: All that are stored; not read, as the ledger knows which have no passages.
        """
        self.facts.index_missing()

    def prepare(self, drafts: Sequence[Draft]) -> None:
        """Cut and embed what the memory does not know yet, for the next `write` of this thread.

        That may fail, and takes too long for a transaction. What an earlier `prepare` of this
        thread has left is dropped.

        Raises:
            InvalidInputError: If a draft cannot be stored, or the embedder returns something
                else than unit rows.
        """
        self.facts.keep_up()
        known = self._ledger.records.find_duplicates(drafts)
        new = [draft for draft, record in zip(drafts, known, strict=True) if record is None]
        hashes = [content_hash(draft.text, draft.question, draft.answer) for draft in new]
        self._prepared.passages = dict(zip(hashes, self.facts.prepare(new), strict=True))

    def write(self, records: Sequence[Record]) -> None:
        """Index those of the records that have no passages, in the ledger's transaction.

        What was not prepared is embedded here: it may have been known then, and deleted since.

        Raises:
            IncompatibleModelError: If another process has changed the memory's embedder.
        """
        prepared = self._prepared.take()
        with self._ledger.transaction():
            bare = set(self._ledger.records.without_passages([record.id for record in records]))
            new = list({record.id: record for record in records if record.id in bare}.values())
            early = [record for record in new if record.content_hash in prepared]
            late = [record for record in new if record.content_hash not in prepared]
            if early:
                self.facts.write(early, [prepared[record.content_hash] for record in early])
            if late:
                self.facts.write(late)

    def recall(self, query: Query) -> Evidence:
        """The best passages for a query; see `FactIndex.search` and `search_as_of`."""
        return Evidence(hits=tuple(self.search(query)))

    def search(self, query: Query, vector: Floats2d | None = None) -> list[Hit]:
        """The best passages for a query, or those nearest to a vector; see `FactIndex.search`."""
        if (moment := query.period.as_of) is not None:
            return search_as_of(self.facts, self._ledger, query, moment, vector)
        return self.facts.search(query, vector)

    def delete(self, ids: Sequence[str]) -> int:
        """Take the passages of records out of the index; returns how many records had any.

        Records that are deleted from the ledger lose their passages with it; this is for
        records that stay. Their bytes stay in the index files until `scrub`.
        """
        with self._ledger.transaction():
            return sum(self._take_out(id) for id in ids)

    def scrub(self) -> tuple[str, ...]:
        """Destroy what index files and memory still hold of deleted records.

        Returns:
            Paths of the files that were rewritten or removed, relative to the memory.

        Raises:
            StorageError: If a file cannot be written.
        """
        self._prepared = _Prepared()
        return self.facts.scrub()

    def stats(self) -> Mapping[str, int]:
        """How many passages are indexed."""
        return {"passages": self._ledger.passages.count()}

    def close(self) -> None:
        """Write the index file, if it is out of date and can be written."""
        self.facts.close()

    def _take_out(self, id: str) -> bool:
        before = self._ledger.passages.count()
        try:
            self._ledger.passages.insert(id, [])
        except RecordNotFoundError:
            return False
        return self._ledger.passages.count() < before


class _Prepared(threading.local):
    """Passages by the content hash of their draft; each thread has those of its own."""

    def __init__(self) -> None:
        self.passages: dict[str, list[NewPassage]] = {}

    def take(self) -> dict[str, list[NewPassage]]:
        """Give what this thread has prepared, and hold it no longer."""
        passages, self.passages = self.passages, {}
        return passages
