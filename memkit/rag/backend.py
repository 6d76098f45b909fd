"""The backend that keeps knowledge in an index: evidence is passages with scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from memkit.ledger import Ledger
from memkit.protocols import Backend, Query, Records
from memkit.rag.index import FactIndex
from memkit.rag.search_as_of import search_past
from memkit.types import Evidence, Hit, Record

if TYPE_CHECKING:
    from memkit.protocols import Floats2d


class RagBackend(Backend):
    """`memkit.protocols.Backend` over the fact index.

    Args:
        ledger: Where records and passages are.
        facts: The index over them; the adapter router may share it.

    Attributes:
        facts: As given.
    """

    name = "rag"

    def __init__(self, ledger: Ledger, facts: FactIndex) -> None:
        self._ledger = ledger
        self.facts = facts

    def sync(self, records: Records) -> None:
        """Index records that have no passage yet."""
        if self._ledger.writable:
            self.facts.index_missing()

    def scrub(self) -> None:
        """Rewrite the index files without what was deleted."""
        self.facts.scrub()
        for path in self._ledger.erasures.pending():
            if path.startswith("index/"):
                self._ledger.erasures.done(path)

    def write(self, records: Sequence[Record]) -> None:
        """Cut, embed and index records of the ledger; their earlier passages are replaced."""
        self.facts.write(records)

    def recall(self, query: Query) -> Evidence:
        """The best passages for a query; see `FactIndex.search` and `search_past`."""
        return Evidence(hits=tuple(self.search(query)))

    def search(self, query: Query, vector: Floats2d | None = None) -> list[Hit]:
        """The best passages for a query, or those nearest to a vector; see `FactIndex.search`."""
        if (moment := query.period.as_of) is not None:
            return search_past(self.facts, self._ledger, query, moment, vector)
        return self.facts.search(query, vector)

    def delete(self, ids: Sequence[str]) -> None:
        """Do nothing: records that leave the ledger take their passages along."""

    def stats(self) -> Mapping[str, int]:
        """How many passages are indexed."""
        return {"passages": self._ledger.passages.count()}

    def close(self) -> None:
        """Write the index file, if it is out of date and can be written."""
        self.facts.close()
