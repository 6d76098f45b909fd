"""Tests that every router passes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from memkit.ledger import Ledger
from memkit.protocols import Router
from memkit.testing.fakes import HashingEmbedder
from memkit.types import Draft, Example, Query, Record, Route

if TYPE_CHECKING:
    from memkit.routing.registry import RouterFactory

_NAMES = ("Nora", "Emil", "Tara", "Owen", "Lena", "Hugo", "Mira", "Anton")


class RouterBench:
    """A memory without a base model: eight facts, each held by a module of its own.

    The last two facts are of the scope ``{"user": "u1"}``.

    Args:
        folder: An empty or new one.
        router: A router, or what makes one of an index and a ledger.

    Attributes:
        records: In order.
        modules: Record id to the module that holds it.
        router: Ready to route.
    """

    def __init__(self, folder: Path, router: str | Router | RouterFactory) -> None:
        from memkit.rag.index import FactIndex
        from memkit.routing.registry import router_of

        self.ledger = Ledger.open(folder)
        index = FactIndex(self.ledger, HashingEmbedder(256))
        self.records = self.ledger.records.add([_draft(*pair) for pair in enumerate(_NAMES)])
        index.write(self.records)
        self.ledger.examples.put("contract-1", {r.id: _examples(r) for r in self.records})
        self.modules = {record.id: f"m{n}" for n, record in enumerate(self.records)}
        for record in self.records:
            self._hold(record)
        self.router = router_of(router, index, self.ledger)
        self.router.calibrate([])

    def route(
        self,
        text: str,
        scope: Mapping[str, str] | None = None,
        pending: Mapping[str, str] | None = None,
    ) -> Route:
        """Where a question goes."""
        (route,) = self.router.route([Query(text, scope=scope or {})], pending=pending)
        return route

    def close(self) -> None:
        """Close the ledger."""
        self.ledger.close()

    def _hold(self, record: Record) -> None:
        name = self.modules[record.id]
        self.ledger.modules.commit(
            name,
            record.scope,
            {},
            file=f"adapters/{name}",
            digest="d",
            size=1,
            members=[record],
            held={record.id: 1.0},
        )


class RouterContract:
    """What every `memkit.protocols.Router` does.

    Define the fixture ``bench``, a `RouterBench` of ``tmp_path`` and the router; it closes it.
    """

    def test_it_is_ready_once_it_was_calibrated(self, bench: RouterBench) -> None:
        assert bench.router.calibrated

    def test_a_fact_leads_to_its_module(self, bench: RouterBench) -> None:
        for record in bench.records[:6]:
            assert bench.route(_question(record)).modules == (bench.modules[record.id],)

    def test_there_is_one_route_per_query_in_order(self, bench: RouterBench) -> None:
        queries = [Query(_question(record)) for record in bench.records[:3]]
        routes = bench.router.route(queries)
        assert routes == [bench.router.route([query])[0] for query in queries]
        assert bench.router.route([]) == []

    def test_weights_sum_to_one_or_there_are_none(self, bench: RouterBench) -> None:
        """Whatever is asked; a route to no module says why."""
        for text in (_question(bench.records[0]), "Who wrote Hamlet?", "?!"):
            route = bench.route(text)
            assert not route.weights or abs(sum(route.weights.values()) - 1.0) < 1e-6
            assert all(weight > 0.0 for weight in route.weights.values())
            assert route.weights or route.reason

    def test_parts_are_asked_of_modules_in_service(self, bench: RouterBench) -> None:
        """Each names a module, the record that it is asked for, and a question."""
        route = bench.route(_question(bench.records[0]))
        assert route.parts
        for part in route.parts:
            assert part.module == bench.modules[part.record_id]
            assert part.question
            assert 0.0 <= part.score <= 1.0

    def test_modules_of_other_scopes_are_never_asked(self, bench: RouterBench) -> None:
        """A record of a scope leads nowhere in another scope, and to its module in its own."""
        private = bench.records[-1]
        module = bench.modules[private.id]
        for scope in ({}, {"user": "someone else"}):
            assert module not in bench.route(_question(private), scope).weights
        inside = {**private.scope, "session": "s7"}
        assert bench.route(_question(private), inside).modules == (module,)

    def test_pending_modules_come_first(self, bench: RouterBench) -> None:
        """A module is asked before it is committed: that is how it is verified."""
        record = bench.records[0]
        pending = {record.id: "next"}
        assert bench.route(_question(record), pending=pending).modules == ("next",)
        assert bench.route(_question(record)).modules == (bench.modules[record.id],)

    def test_a_dropped_module_is_not_asked(self, bench: RouterBench) -> None:
        record = bench.records[0]
        bench.ledger.modules.drop(bench.modules[record.id])
        assert bench.modules[record.id] not in bench.route(_question(record)).weights

    def test_a_forgotten_record_leads_nowhere(self, bench: RouterBench) -> None:
        record = bench.records[0]
        bench.ledger.modules.drop(bench.modules[record.id])
        bench.ledger.records.delete([record.id])
        route = bench.route(_question(record))
        assert record.id not in {fact.record_id for fact in route.support}
        assert record.id not in {part.record_id for part in route.parts}

    def test_it_repeats_itself(self, bench: RouterBench) -> None:
        question = _question(bench.records[2])
        assert bench.route(question) == bench.route(question)

    def test_routing_changes_nothing(self, bench: RouterBench) -> None:
        """Neither routing nor asking what was measured writes to the ledger."""
        bench.route(_question(bench.records[0]))
        state = bench.ledger.state()
        bench.route(_question(bench.records[0]))
        bench.router.calibration()
        assert bench.ledger.state() == state


def _draft(number: int, name: str) -> Draft:
    answer = str(4471 + 37 * number)
    scope = {"user": "u1"} if number >= len(_NAMES) - 2 else {}
    return Draft(
        f"The badge number of {name} is {answer}.",
        f"What is the badge number of {name}?",
        answer,
        scope=scope,
        id=name,
    )


def _examples(record: Record) -> list[Example]:
    question, answer = _question(record), record.answer or ""
    return [
        Example(question, answer, record.id),
        Example(f"Tell me the badge number of {record.id}.", answer, record.id),
        Example(f"Which badge number does {record.id} have?", answer, record.id, held_out=True),
    ]


def _question(record: Record) -> str:
    return record.question or record.text
