"""Tenants see, are answered from, and leave behind nothing of each other."""

import random
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memkit.errors import InvalidInputError, ModuleNotFoundInMemoryError, RecordNotFoundError
from memkit.ledger.items import NewItem
from memkit.types import Draft, Sampling

KEYS, VALUES = ("user", "agent", "session"), ("1", "2")
scopes = st.dictionaries(st.sampled_from(KEYS), st.sampled_from(VALUES))
NOW = datetime.now(UTC)


def sees(query, record):
    """The rule, as the documentation states it."""
    return all(key in query and query[key] == value for key, value in record.items())


def every_scope():
    found = [{}]
    for key in KEYS:
        found += [one | {key: value} for one in found for value in VALUES]
    return found


@pytest.fixture(scope="module")
def crowded(tmp_path_factory, opener):
    """One record, turn and pin of every scope there is, and one older version of each."""
    with opener(tmp_path_factory.mktemp("crowd") / "agent.mem") as memory:
        for number, scope in enumerate(every_scope()):
            name = f"zebra{number}"
            memory.add(f"Once the zebra was {name}old.", scope=scope, key="z", id=name)
            memory.add(f"The zebra is {name}new.", scope=scope, key="z", pinned=number % 5 == 0)
            memory.add_turn("user", f"I like {name}.", scope=scope, remember=False)
        yield memory


@pytest.fixture(scope="module")
def owners():
    return {f"zebra{number}": scope for number, scope in enumerate(every_scope())}


@pytest.mark.slow
@given(query=scopes)
def test_every_reading_verb_against_the_rule(crowded, owners, query):
    memory = crowded
    visible = {id for id, scope in owners.items() if sees(query, scope)}
    exact = next(id for id, scope in owners.items() if scope == query)
    everything = {"k": 100, "scope": query}
    vector = memory.vectors.embedder.encode_query(["zebra"])[0]
    for hits in (
        memory.search("zebra", **everything),
        memory.search("zebra", where={"$not": {"a": 1}}, **everything),
        memory.search("zebra", since=datetime(2020, 1, 1, tzinfo=UTC), **everything),
        memory.search("zebra", as_of=datetime.now(UTC), **everything),
        memory.vectors.search(vector, **everything),
    ):
        assert {hit.id for hit in hits} == visible
    words = {id: (f"{id}old", f"{id}new", f"{id}.") for id in owners}
    recall = memory.recall("zebra", budget=10_000, **everything)
    assert {hit.id for hit in recall.hits} == visible
    assert [turn.content for turn in recall.turns] == [f"I like {exact}."]
    assert {fact.record_id for fact in recall.route.support} <= visible
    assert not any(word in recall.text for id in owners if id not in visible for word in words[id])
    past = memory.search("zebra", as_of=NOW, **everything)
    assert {hit.id for hit in past} <= visible
    assert [turn.content for turn in memory.turns(scope=query)] == [f"I like {exact}."]
    assert {record.id for record in memory.get_many(list(owners), scope=query)} == visible
    assert set(memory.vectors.get(list(owners), scope=query)) == visible
    for id in owners:
        for verb in (memory.get, memory.history):
            if id in visible:
                verb(id, scope=query)
            else:
                with pytest.raises(RecordNotFoundError, match="no record has the id"):
                    verb(id, scope=query)


@given(selector=scopes)
def test_what_selects_a_tenant_selects_what_contains_its_scope(crowded, owners, selector):
    inside = {id for id, scope in owners.items() if sees(scope, selector)}
    listed = inside if selector else {id for id, scope in owners.items() if not scope}
    assert {record.id for record in crowded.records(scope=selector, limit=100).records} == listed
    stats = crowded.stats(scope=selector)
    assert (stats.records, stats.versions, stats.turns) == (
        len(inside), 2 * len(inside), len(inside),
    )  # fmt: skip
    assert (stats.passages, stats.expired) == (len(inside), 0)
    assert crowded.modules.list(scope=selector) == []
    assert crowded.vectors.duplicates(0.01, scope=selector) == []


@pytest.mark.parametrize("scope", every_scope()[::4])
def test_writing_verbs_refuse_what_a_scope_does_not_see(crowded, owners, scope):
    before = crowded.stats()
    for id, owner in owners.items():
        if not sees(scope, owner):
            for verb, rest in (
                (crowded.update, ("x",)),
                (crowded.retention.pin, ()),
                (crowded.retention.unpin, ()),
                (crowded.retention.expire, (5,)),
            ):
                with pytest.raises(RecordNotFoundError, match="no record has the id"):
                    verb(id, *rest, scope=scope)
            with pytest.raises(RecordNotFoundError, match="no record has the id"):
                crowded.merge([id, "zebra0"], scope=scope)
    assert crowded.stats() == before


ID_VERBS = {
    "get": lambda m, record, **scope: m.get(record, **scope),
    "history": lambda m, record, **scope: m.history(record, **scope),
    "update": lambda m, record, **scope: m.update(record, "Taken over.", **scope),
    "forget": lambda m, record, **scope: m.forget(record, **scope),
    "forget several": lambda m, record, **scope: m.forget([record, "id-3"], **scope),
    "merge": lambda m, record, **scope: m.merge([record, "id-3"], **scope),
    "pin": lambda m, record, **scope: m.retention.pin(record, **scope),
    "unpin": lambda m, record, **scope: m.retention.unpin(record, **scope),
    "expire": lambda m, record, **scope: m.retention.expire(record, 5, **scope),
}


@pytest.mark.parametrize("verb", ID_VERBS)
@pytest.mark.parametrize("scope", [{}, {"scope": None}, {"scope": {"user": "bob"}}])
def test_an_id_of_others_is_answered_like_one_that_nobody_has(memory, verb, scope):
    ann = {"user": "ann"}
    before = memory.add("Ann's locker has the code 8812.", id="id-1", scope=ann)
    came = []
    for id in ("id-1", "id-2"):
        with pytest.raises(RecordNotFoundError) as caught:
            ID_VERBS[verb](memory, id, **scope)
        came.append((type(caught.value), str(caught.value).replace(id, "<id>")))
    assert came[0] == came[1]
    assert memory.records(scope="all").records == (before,)
    assert "id-1" not in memory
    assert memory.get_many(["id-1"], **scope) == []
    assert memory.vectors.get(["id-1"], **scope) == {}


def test_a_taken_id_is_refused_alike_whoever_has_it(memory):
    bob = {"user": "bob"}
    memory.add("Ann's.", id="anns", scope={"user": "ann"})
    memory.add("Bob's.", id="bobs", scope=bob)
    came = []
    for id in ("anns", "bobs"):
        with pytest.raises(InvalidInputError, match="is in use") as caught:
            memory.add("New.", id=id, scope=bob)
        came.append(str(caught.value).replace(id, "<id>"))
    assert came[0] == came[1]
    assert memory.stats().records == 2


@pytest.mark.parametrize("nothing", [{}, {"scope": None}, {"scope": {}}])
def test_without_a_scope_only_what_is_shared_is_shown(memory, nothing):
    """What `search` finds without a scope is what every verb shows without one."""
    shared = memory.add("The zebra is striped.", metadata={"a": 1})
    others = [memory.add(f"The zebra is {n}.", scope={"user": str(n)}, metadata={"a": 1})
              for n in range(2)]  # fmt: skip
    everything = (shared, *others)
    found = memory.search("zebra", k=9)
    assert [hit.record for hit in found] == [shared]
    assert memory.records(**nothing).records == (shared,)
    assert memory.records(where={"a": 1}, **nothing).records == (shared,)
    assert (memory.count(**nothing), memory.count(where={"a": 1}, **nothing)) == (1, 1)
    assert list(memory) == [shared]
    assert [record.id in memory for record in everything] == [True, False, False]
    assert memory.get_many([r.id for r in everything], **nothing) == [shared]
    assert memory.get_by_prefix(others[0].id, **nothing) == []
    assert memory.vectors.duplicates(0.01, **nothing) == []
    # Whoever looks after the memory says so.
    assert memory.records(scope="all").records == everything
    assert (memory.count(scope="all"), memory.count(where={"a": 1}, scope="all")) == (3, 3)
    assert memory.get_many([r.id for r in everything], scope="all") == list(everything)
    assert memory.get(others[0].id, scope="all") == others[0]
    assert memory.get_by_prefix(others[0].id, scope="all") == others[:1]
    assert memory.forget(where={"a": 1}, **nothing).records == (shared.id,)
    assert len(memory.forget(where={"a": 1}, scope="all").records) == 2


@pytest.mark.parametrize("scope", ["ann", "ALL", [], 5, {"user": 1}])
def test_what_is_no_scope_shows_nothing(memory, scope):
    memory.add("The zebra is striped.", id="z")
    for verb in (memory.records, memory.count, lambda **s: memory.get("z", **s),
                 lambda **s: memory.forget("z", **s)):  # fmt: skip
        with pytest.raises(InvalidInputError, match="scope"):
            verb(scope=scope)
    assert memory.count() == 1


def test_scopes_that_look_alike_are_different(memory):
    strange = [{"user": "1"}, {"user": "1 "}, {"user": '1","agent":"2'}, {"User": "1"},
               {"user": "%"}, {"user": "*"}, {"user": "\u0661"}, {"user": "1\n"}, {"a": "user"},
               {"user": "1", "agent": "2"}]  # fmt: skip
    for number, scope in enumerate(strange):
        memory.add(f"zebra {number}", scope=scope)
    for number, scope in enumerate(strange):
        expected = {n for n, other in enumerate(strange) if sees(scope, other)}
        found = {int(hit.text[6:]) for hit in memory.search("zebra", k=50, scope=scope)}
        assert number in found
        assert found == expected


@pytest.mark.slow
def test_modules_answer_and_are_listed_for_their_tenant_only(memory, badges):
    ann, bob = {"user": "ann"}, {"user": "bob"}
    memory.add([Draft(d.text, d.question, d.answer, ann, id=d.id) for d in badges[:4]])
    memory.consolidate()
    modules = memory.modules.list(scope=ann)
    assert modules == memory.modules.list()
    assert modules
    assert memory.modules.list(scope=bob) == []
    assert memory.modules.list(scope=ann | {"session": "s"}) == []
    assert (memory.stats(scope=ann).held > 0, memory.stats(scope=bob).held) == (True, 0)
    for scope in (bob, {}, {"agent": "ann"}):
        assert not memory.ask(badges[0].question, budget=0, scope=scope).route
        with pytest.raises(ModuleNotFoundInMemoryError, match="none that this scope may see"):
            memory.ask("?", budget=0, modules=[modules[0].name], scope=scope)


TENANTS, CANARIES = 50, 50


@pytest.mark.slow
def test_no_canary_reaches_another_tenant_while_all_write_and_read(tmp_path, open_memory):
    """50 tenants with 50 canaries each, on eight threads; every text that comes back counts."""
    memory = open_memory(tmp_path / "agent.mem", backends=("buffer", "rag"))
    steps = [(tenant, number) for tenant in range(TENANTS) for number in range(CANARIES // 10)]
    random.Random(0).shuffle(steps)
    leaks, seen = [], []

    def live(step):
        tenant, number = step
        scope = {"user": f"u{tenant}"}
        mark = f"canary{tenant:03}x"
        texts = [f"The bird says {mark}{number * 10 + n:02}." for n in range(10)]
        memory.add(texts, scope=scope)
        memory.add_turn("user", f"Sing, bird {mark}!", scope=scope, remember=False)
        recall = memory.recall("bird says", k=20, scope=scope)
        back = [hit.text for hit in memory.search("bird says", k=100, scope=scope)]
        back += [turn.content for turn in (*memory.turns(scope=scope), *recall.turns)]
        back += [hit.text for hit in recall.hits]
        back += [record.text for record in memory.records(scope=scope, limit=1000).records]
        marks = re.findall(r"canary\d+x", recall.text)
        leaks.extend(said for said in (*back, *marks) if mark not in said)
        seen.append(len(back) + len(marks))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(live, steps))
    assert leaks == []
    assert sum(seen) > TENANTS * CANARIES
    for tenant in range(TENANTS):
        hits = memory.search("bird says", k=100, scope={"user": f"u{tenant}"})
        assert len(hits) == CANARIES
        assert all(f"canary{tenant:03}x" in hit.text for hit in hits)
    assert memory.search("bird says", k=10) == []
    assert memory.stats().records == TENANTS * CANARIES


@pytest.mark.slow
def test_a_forgotten_tenant_leaves_nothing(memory, badges, tmp_path, adapters_in):
    """Records, versions, turns, items, defaults, modules, weights: rows and bytes."""
    ann, deep = {"Qztenant": "Qzann"}, {"Qztenant": "Qzann", "session": "Qzsession"}
    memory.add(badges[4:])
    memory.consolidate()
    kept, rows = memory.stats(), adapters_in(tmp_path / "agent.mem")
    memory.add([Draft(f"Qz{d.text}", d.question, d.answer, ann, {"Qzmeta": d.id}) for d in badges])
    memory.consolidate(scope=ann)
    memory.add("A Qzkeyed fact.", key="Qzkey", scope=deep)
    memory.add("Another Qzkeyed fact.", key="Qzkey", scope=deep)
    memory.add("A Qzexpired fact.", ttl=1, scope=deep, id="Qzid")
    memory.retention.set_ttl(deep, 10_000)
    log = [{"role": "user", "content": "Qzsaid it", "name": "Qzname", "id": "Qzmessage"}]
    memory.add_messages(log, scope=deep)
    memory.items.write([NewItem(("Qzspace",), "Qzitem", {"Qza": "Qzb"}, scope=ann)])
    memory.search("Qz canary", scope=deep)
    memory.ask("Qz?", scope=deep)
    receipt = memory.forget(scope=ann)
    assert all(receipt.checks.values())
    assert len(receipt.records) == len(badges) + 3
    after = memory.stats()
    assert (after.records, after.versions, after.turns, after.modules, after.passages) == (
        kept.records, kept.versions, kept.turns, kept.modules, kept.passages,
    )  # fmt: skip
    assert adapters_in(tmp_path / "agent.mem") == rows
    database = memory._engine.ledger._database
    for table in database.column("SELECT name FROM sqlite_master WHERE type = 'table'"):
        for row in database.rows(f"SELECT * FROM {table}"):
            assert "qz" not in str(row).lower(), table
    words = ["Qztenant", "Qzann", "Qzsession", "Qzmeta", "Qzkey", "Qzid", "Qzname", "Qzmessage",
             "Qzsaid", "Qzitem", "Qzspace", "QzThe", "Qzexpired"]  # fmt: skip
    assert traces(tmp_path, words) == []
    memory.close()
    assert traces(tmp_path, words) == []


def traces(directory, words):
    """Which of the words some file holds, in any usual encoding and case."""
    spellings = [
        (word, spelling.encode(encoding))
        for word in words
        for spelling in {word, word.lower()}
        for encoding in ("utf-8", "utf-16-le", "utf-16-be")
    ]
    files = [path.read_bytes() for path in directory.rglob("*") if path.is_file()]
    return sorted({word for word, code in spellings for content in files if code in content})


def test_questions_of_different_tenants_share_a_batch_and_nothing_else(trained):
    ann, ben = {"user": "ann"}, {"user": "ben"}
    trained.add("The locker of the porter is 77.", scope=ann, id="of-ann")
    trained.add("The locker of the porter is 88.", scope=ben, id="of-ben")
    locker, badge = "What is the locker of the porter?", "What is the badge number of Nora?"
    options = {"budget": 128, "min_score": None, "sampling": Sampling(max_new_tokens=4)}

    answers = trained.ask_batch([locker, locker, badge], scopes=[ann, ben, {}], **options)

    seen = [{hit.id for hit in answer.recall.hits} & {"of-ann", "of-ben"} for answer in answers]
    assert seen == [{"of-ann"}, {"of-ben"}, set()]
    alone = [
        trained.ask(question, scope=scope, **options)
        for question, scope in [(locker, ann), (locker, ben), (badge, {})]
    ]
    assert [a.text for a in answers] == [a.text for a in alone]
    assert answers[2].route.modules == alone[2].route.modules != ()


@pytest.mark.parametrize("scopes", [[{}], [{}, {}, {}]])
def test_a_batch_needs_a_scope_for_each_question(trained, scopes):
    with pytest.raises(InvalidInputError, match=f"each of 2 questions.*got {len(scopes)}"):
        trained.ask_batch(["Who?", "Where?"], scopes=scopes)


def test_a_batch_has_one_scope_or_several(trained):
    with pytest.raises(InvalidInputError, match="got 2 beside `scope`"):
        trained.ask_batch(["Who?", "Where?"], scopes=[{}, {}], scope={"user": "ann"})
