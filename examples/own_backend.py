"""A backend of your own: a glossary that finds a record when the question has its term.

    python examples/own_backend.py

The vector index would find "SLA" only if its embedder knew the abbreviation; the glossary
compares words. It keeps ids alone, and makes itself anew whenever the memory is opened.
"""

import re
import tempfile
from collections import defaultdict
from collections.abc import Sequence

from memkit import Memory
from memkit.protocols import Backend, Records
from memkit.types import Evidence, Hit, Query, Record


class Glossary(Backend):
    """Finds records by the term in their metadata."""

    name = "glossary"

    def __init__(self) -> None:
        self._ids: defaultdict[str, set[str]] = defaultdict(set)

    def sync(self, records: Records) -> None:
        self._records = records
        self.write(records.find(records.ids()))

    def write(self, records: Sequence[Record]) -> None:
        self.delete([record.id for record in records])  # the term may have changed
        for record in records:
            if term := record.metadata.get("term"):
                self._ids[term.lower()].add(record.id)

    def delete(self, ids: Sequence[str]) -> None:
        for known in self._ids.values():
            known.difference_update(ids)

    def recall(self, query: Query) -> Evidence:
        words = re.findall(r"\w+", query.text.lower())
        ids = [id for word in dict.fromkeys(words) for id in sorted(self._ids.get(word, ()))]
        records = self._records.find(ids, scope=query.scope)[: query.k]
        return Evidence(tuple(Hit(r, r.text, 0, len(r.text), 1.0, None) for r in records))


with (
    tempfile.TemporaryDirectory() as folder,
    Memory.open(folder, backends=["rag", Glossary()]) as memory,
):
    memory.add("A response is owed within four hours.", metadata={"term": "SLA"})
    memory.add("The canteen closes at three.")
    recalled = memory.recall("What does our SLA say?", budget=60)
    print(recalled.text)
