"""The backend that keeps knowledge in an index: evidence is passages with scores."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from memkit.ledger import Ledger, NewPassage
from memkit.ledger.records.record_rows import content_hash
from memkit.ledger.stored_paths import INDEX, StoredPath
from memkit.protocols import Backend, Records
from memkit.rag.index import FactIndex
from memkit.rag.search_as_of import search_as_of
from memkit.types import Draft, Evidence, Hit, Query, Record

if TYPE_CHECKING:
    from memkit.protocols import Floats2d


class RagBackend(Backend):
    """`memkit.protocols.Backend` over the fact index ``facts``, which the router may share."""

    name = "rag"

    def __init__(self, ledger: Ledger, facts: FactIndex) -> None:
        self._ledger = ledger
        self.facts = facts
        self._prepared = _Prepared()

    def sync(self, records: Records) -> None:  # noqa: ARG002 - the ledger knows what is missing
        """Index the records that have no passages yet, if the memory can be written to."""
        if self._ledger.writable:
            self.facts.index_missing()
            if self._ledger.shared:  # another machine may have forgotten what a file here has
                self.facts.scrub()

    def prepare(self, drafts: Sequence[Draft]) -> None:
        """Cut and embed drafts for the next `write` of this thread, in place of earlier ones."""
        hashes = [content_hash(draft.text, draft.question, draft.answer) for draft in drafts]
        with self._ledger.one_look():
            behind = self.facts.is_behind()
            self._prepared.passages = dict(zip(hashes, self.facts.prepare(drafts), strict=True))
        if behind:
            self.facts.sync()

    def write(self, records: Sequence[Record]) -> None:
        """Index records in the ledger's transaction; their earlier passages are replaced.

        What was not prepared is embedded here: it may have been known then, and deleted since.
        """
        prepared = self._prepared.passages
        early = [record for record in records if record.content_hash in prepared]
        late = [record for record in records if record.content_hash not in prepared]
        if early:
            self.facts.write(early, [prepared[record.content_hash] for record in early])
        if late:
            self.facts.write(late)
        for record in early:
            prepared.pop(record.content_hash, None)

    def recall(self, query: Query) -> Evidence:
        """The best passages for a query; see `FactIndex.search` and `search_as_of`."""
        return Evidence(hits=tuple(self.search(query)))

    def search(self, query: Query, vector: Floats2d | None = None) -> list[Hit]:
        """The best passages for a query, or those nearest to a vector; see `FactIndex.search`."""
        if (moment := query.period.as_of) is not None:
            return search_as_of(self.facts, self._ledger, query, moment, vector)
        return self.facts.search(query, vector)

    def delete(self, ids: Sequence[str]) -> None:
        """Do nothing: records that leave the ledger take their passages along."""

    def scrub(self) -> None:
        """Destroy what index files and memory still hold of deleted records."""
        self._prepared = _Prepared()
        self.facts.scrub()
        for path in self._ledger.erasures.pending():
            if StoredPath.parse(path).file.startswith(f"{INDEX}/"):  # rewritten just now
                self._ledger.erasures.done(path)

    def stats(self) -> Mapping[str, int]:
        """How many passages are indexed."""
        return {"passages": self._ledger.passages.count()}

    def close(self) -> None:
        """Write the index file, if it is out of date and can be written."""
        if self._ledger.writable:
            self.facts.close()


class _Prepared(threading.local):
    """Passages by the content hash of their draft; each thread has those of its own."""

    def __init__(self) -> None:
        self.passages: dict[str, list[NewPassage]] = {}
