"""A backend of your own: a glossary that finds a record when the question has its term.

    python examples/own_backend.py

The index finds "SLA" only if its embedder knows the abbreviation; the glossary compares words.
It keeps ids alone, and is made anew whenever the memory is opened.
"""

import re
import tempfile
from collections import defaultdict
from collections.abc import Sequence

from memkit import Memory
from memkit.protocols import Backend, Records
from memkit.testing import HashingEmbedder
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


# A small embedder, so that this loads no model; leave it out to use the default one.
options = {"backends": ["rag", Glossary()], "embedder": HashingEmbedder(), "count_tokens": len}
with tempfile.TemporaryDirectory() as folder, Memory.open(folder, **options) as memory:
    memory.add("A response is owed within four hours.", metadata={"term": "SLA"})
    memory.add("The canteen closes at three.")
    print(memory.recall("What does our SLA say?", budget=200, k=1).text)
