"""A router of your own: a module is asked if one of its questions has all words of the query.

    python examples/own_router.py

`memkit.testing.RouterContract` has the tests that every router should pass.
"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace

from memkit import Memory
from memkit.ledger import Ledger
from memkit.protocols import Router
from memkit.rag.index import FactIndex
from memkit.testing import HashingEmbedder, tiny_llama, tiny_recipe
from memkit.types import Part, Query, Route


class SharedWords(Router):
    """Asks the module of the record whose question has all words of the query."""

    def __init__(self, _: FactIndex, ledger: Ledger) -> None:
        self._records, self._modules = ledger.records, ledger.modules

    def route(
        self, queries: Sequence[Query], *, pending: Mapping[str, str] | None = None
    ) -> list[Route]:
        return [self._route(query, pending or {}) for query in queries]

    def _route(self, query: Query, pending: Mapping[str, str]) -> Route:
        ids = self._records.ids(visible_to=query.scope)  # never leave this out
        holder = self._modules.placements(ids)
        holder |= {id: pending[id] for id in ids if id in pending}  # being verified
        words = _words(query.text)
        shared = {r.id: len(words & _words(r.question or r.text)) for r in self._records.get(ids)}
        best = max(shared, key=lambda record_id: shared[record_id], default=None)
        if best is None or best not in holder or shared[best] < len(words):
            return Route({}, reason="no question has all these words")  # the base model answers
        module = holder[best]
        part = Part(query.text, module, best, 1.0)
        return Route({module: 1.0}, reason="one of its questions has all words", parts=(part,))


def _words(text: str) -> set[str]:
    return set(text.lower().strip("?.").split())


recipe = replace(tiny_recipe(records_per_module=2), router=SharedWords)
# Small random models, so that this runs in seconds; leave them out to use the defaults.
options = {"recipe": recipe, "base_model": tiny_llama(), "embedder": HashingEmbedder()}
with tempfile.TemporaryDirectory() as folder, Memory.open(folder, **options) as memory:
    for name, badge in (("Nora", "4471"), ("Emil", "2250")):
        memory.add(f"{name} has badge {badge}.", question=f"Which badge has {name}?", answer=badge)
    print(memory.consolidate())
    for question in ("Which badge has Nora?", "Which badge has Ada?"):
        print(question, memory.explain(question).recall.route)
