"""Every router of ours, and one that a user could write."""

from dataclasses import replace

import pytest

from memkit.errors import InvalidInputError
from memkit.lora.recipe import Recipe
from memkit.protocols import Router
from memkit.routing.nearest import NearestRouter, Voting
from memkit.testing import RouterBench, RouterContract
from memkit.types import Part, Route


class SharedWords(Router):
    """Asks the module of the visible record that has most words of the query."""

    def __init__(self, index, ledger):
        self.ledger = ledger

    def route(self, queries, *, pending=None):
        return [self._route(query, pending or {}) for query in queries]

    def _route(self, query, pending):
        ids = self.ledger.records.ids(visible_to=query.scope)
        placed = self.ledger.modules.placements(ids)
        placed |= {id: pending[id] for id in ids if id in pending}
        words = set(query.text.strip("?").split())
        shared = {r.id: len(words & set(r.text.strip(".").split()))
                  for r in self.ledger.records.get(ids)}  # fmt: skip
        best = max(shared, key=shared.get, default=None)
        if best not in placed or shared[best] < 2:
            return Route({}, reason="no record shares two words")
        return Route({placed[best]: 1.0}, parts=(Part(query.text, placed[best], best, 1.0),))


@pytest.fixture
def open_bench(tmp_path):
    opened = []

    def open_bench(router):
        opened.append(RouterBench(tmp_path / "memory", router))
        return opened[-1]

    yield open_bench
    for bench in opened:
        bench.close()


class TestNearest(RouterContract):
    @pytest.fixture
    def bench(self, open_bench):
        return open_bench("nearest")


class TestNearestWithSettings(RouterContract):
    """A factory may be any function."""

    @pytest.fixture
    def bench(self, open_bench):
        return open_bench(lambda *parts: NearestRouter(*parts, voting=Voting(facts=8, parts=2)))


class TestCentroid(RouterContract):
    @pytest.fixture
    def bench(self, open_bench):
        return open_bench("centroid")


class TestARouterOfTheUsersOwn(RouterContract):
    """A class that takes an index and a ledger."""

    @pytest.fixture
    def bench(self, open_bench):
        return open_bench(SharedWords)


class Fixed(Router):
    """Always the same module: needs neither index nor ledger."""

    def route(self, queries, *, pending=None):
        return [Route({"m0": 1.0}) for _ in queries]


def test_an_instance_is_used_as_it_is(open_bench):
    router = Fixed()

    assert open_bench(router).router is router


@pytest.mark.parametrize("router", ["nearest neighbour", 3, None])
def test_what_is_no_router_is_refused(router):
    with pytest.raises(
        InvalidInputError, match=r"`router` must be one of \['centroid', 'nearest'\]"
    ):
        Recipe(router=router)


def test_a_memory_routes_through_a_router_of_the_users_own(open_memory, tmp_path, recipe):
    memory = open_memory(tmp_path / "m", recipe=replace(recipe, router=SharedWords))
    memory.add("The archive is on the third floor.")

    assert isinstance(memory._engine.lora.router, SharedWords)
    explained = memory.explain("Where is the archive?")
    assert explained.recall.route.reason == "no record shares two words"
    assert explained.calibration is None


def test_the_recipes_key_knows_the_router(tiny):
    routers = ["nearest", "centroid", SharedWords, Fixed(), NearestRouter]

    keys = [Recipe(router=router).key(tiny) for router in routers]

    assert len(set(keys)) == 5
    assert Recipe(router=Fixed()).key(tiny) == keys[3]
