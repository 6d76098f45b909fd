"""A connection that is cut in the middle of a verb: it is done as a whole or not at all."""

import random
from contextlib import closing
from itertools import count

import pytest
from cutting_proxy import CuttingProxy

from memkit.errors import ConnectionLostError, DestructionPendingError, StorageError
from memkit.ledger import Ledger
from memkit.ledger.items import NewItem
from memkit.memory.check import check
from memkit.types import Draft

MOMENTS = 24  # of each verb at which it is cut; of the longer ones a sample

pytestmark = pytest.mark.engines("postgresql")


@pytest.fixture
def proxy(postgres):
    proxy = CuttingProxy(postgres.url)
    yield proxy
    proxy.close()


class Cutting:
    """A memory behind a proxy, and another client that sees what is really stored."""

    def __init__(self, proxy, place, opened):
        self.proxy = proxy
        self.place = place
        self.through = f"{proxy.url}&schema=memkit"
        self.memory = opened(self.through)
        self.ledger = Ledger.open(place)
        self.failures = 0

    def stored(self):
        """Texts of records by id and values of items by key; waits for transactions that go on."""
        with self.ledger.transaction():
            records = {r.id: r.text for r in self.ledger.records.page(limit=1000).records}
            items = {item.key: item.value["n"] for item in self.ledger.items.below(("a",))}
        return records | items

    def cut_each_moment(self, act, after, before=lambda _: None, moments=MOMENTS):
        """Run a verb undisturbed, and then again and again, each time cut at another moment.

        ``act`` and ``before`` take the number of the run; ``after`` tells what is stored when it
        is done, given that and what was stored.
        """
        numbers = count(1)
        for n in (next(numbers), next(numbers)):  # the second is warm
            before(n)
            begun = self.proxy.messages
            act(n)
        messages = self.proxy.messages - begun
        every = [(at, heard) for at in range(1, messages + 1) for heard in (False, True)]
        chosen = random.Random(messages).sample(every, min(moments, len(every)))
        for at, heard in sorted(chosen):
            n = next(numbers)
            before(n)
            was = self.stored()
            whole = after(n, dict(was))
            self.proxy.cut_at(at, heard=heard)
            try:
                act(n)
                expected = [whole]
            except StorageError as exc:
                # What it says of that holds, unless it speaks of what came after.
                later = isinstance(exc, DestructionPendingError)
                nothing = "nothing of this transaction was stored" in exc.message
                expected = [whole] if later else [was] if nothing else [was, whole]
                self.failures += 1
            self.proxy.spare()
            now = self.stored()
            assert now in expected, (at, heard)
            self.goes_on(n, now)
        assert check(self.place).sound

    def goes_on(self, n, stored):
        """The same object works at once, whatever it has lost."""
        texts = {id: text for id, text in stored.items() if isinstance(text, str)}
        assert {record.id: record.text for record in self.memory} == texts
        again = self.memory.add(f"after {n}", id=f"after {n}")
        assert self.memory.search(f"after {n}", k=1)[0].id == again.id


@pytest.fixture
def cutting(proxy, place, open_memory):
    """A memory of two facts without a language model."""

    def opened(place):
        return open_memory(place, backends=("buffer", "rag"), base_model=None, count_tokens=len)

    cutting = Cutting(proxy, place, opened)
    cutting.memory.add("the canteen opens at noon", id="canteen")
    cutting.memory.add("the lift is out of order", id="lift")
    with closing(cutting.ledger):
        yield cutting


def test_what_is_added_is_there_or_the_error_comes(cutting):
    cutting.cut_each_moment(
        lambda n: cutting.memory.add(f"fact {n}", id=f"r{n}"),
        lambda n, stored: stored | {f"r{n}": f"fact {n}"},
    )
    assert cutting.failures


def test_an_update_is_whole_or_not_there(cutting):
    cutting.cut_each_moment(
        lambda n: cutting.memory.update("lift", f"the lift goes to floor {n}"),
        lambda n, stored: stored | {"lift": f"the lift goes to floor {n}"},
    )
    assert cutting.failures


def test_what_is_forgotten_is_gone_and_its_destruction_is_finished_later(cutting):
    cutting.cut_each_moment(
        lambda n: cutting.memory.forget(f"r{n}"),
        lambda n, stored: {id: text for id, text in stored.items() if id != f"r{n}"},
        before=lambda n: cutting.memory.add(f"a secret {n}", id=f"r{n}"),
        moments=2 * MOMENTS,
    )
    assert cutting.failures
    cutting.memory.retention.sweep()
    assert not cutting.ledger.destruction_pending


@pytest.mark.parametrize("verb", ["search", "recall"])
def test_what_is_found_is_right(cutting, verb):
    def act(_):
        found = getattr(cutting.memory, verb)("when does the canteen open?")
        text = found[0].text if verb == "search" else found.text
        assert text.count("canteen") == 1

    cutting.cut_each_moment(act, lambda _, stored: stored)


def test_items_are_written_together(cutting):
    cutting.cut_each_moment(
        lambda n: cutting.memory.items.write(
            [NewItem(("a",), key, {"n": n}, [[0.6, 0.8]]) for key in ("one", "two")]
        ),
        lambda n, stored: stored | {"one": n, "two": n},
    )
    assert cutting.failures


def test_an_export_is_whole_or_not_there(cutting, opener, tmp_path):
    def act(n):
        cutting.memory.export(tmp_path / f"{n}.zst")
        done.append(n)

    done = []
    cutting.cut_each_moment(act, lambda _, stored: stored)
    assert cutting.failures
    assert {path.name for path in tmp_path.iterdir() if path.is_file()} == {
        f"{n}.zst" for n in done
    }
    with opener(tmp_path / "m", backends=("buffer", "rag"), base_model=None) as memory:
        for n in done:
            memory.import_(tmp_path / f"{n}.zst", on_conflict="replace")


def test_a_check_says_nothing_of_what_it_could_not_look_at(cutting):
    def act(_):
        assert check(cutting.through).sound

    cutting.cut_each_moment(act, lambda _, stored: stored)
    assert cutting.failures


def test_a_run_of_training_stores_modules_as_wholes(proxy, place, open_memory):
    cutting = Cutting(proxy, place, open_memory)
    memory = cutting.memory
    numbers = count(1)

    def fact(n):
        question, answer = f"What is the badge number of P{n}?", str(4000 + n)
        text = f"The badge number of P{n} is {answer}."
        return memory.add(text, question=question, answer=answer).id

    def train(at=None, *, heard=False):
        id, begun = fact(next(numbers)), proxy.messages
        if at is not None:
            proxy.cut_at(at, heard=heard)
        try:
            assert id in memory.consolidate().held
        except StorageError:
            cutting.failures += 1
            proxy.spare()
            memory.consolidate()  # the rest, if there is any
        proxy.spare()
        holders = [
            module.name for module in cutting.ledger.modules.active() if id in module.records
        ]
        assert len(holders) == 1
        return proxy.messages - begun

    train()
    messages = train()
    for at in random.Random(0).sample(range(1, messages + 1), 4):
        train(at, heard=at % 2 == 0)
    assert cutting.failures
    cutting.ledger.close()
    assert check(place).sound


def test_a_server_that_is_gone_is_not_taken_for_a_busy_one(proxy, postgres):
    with closing(Ledger.open(f"{proxy.url}&schema=memkit", busy_timeout=0.5)) as ledger:
        ledger.records.add([Draft("There.", id="a")])
        proxy.close()
        for verb in (lambda: ledger.records.get(["a"]), lambda: ledger.records.add([Draft("b")])):
            with pytest.raises(ConnectionLostError, match="there is no connection to"):
                verb()
