"""An import with a scope neither changes nor shows what is outside of it."""

import json

import pytest
from archives import archive, content, forge, item, lines, record, ttl, turn, version

from memkit import InvalidInputError
from memkit.ledger.engine.checksums import stamp
from memkit.ledger.items import NewItem
from memkit.memory.check import check
from memkit.types import Draft

ANN, BOB = {"user": "ann"}, {"user": "bob"}
CHOICES = ["error", "skip", "replace"]


@pytest.fixture
def rag(open_memory):
    """Opens memories without a language model."""
    return lambda path: open_memory(path, backends=("buffer", "rag"), base_model=None)


def of(memory, scope):
    """All of a scope and narrower ones, but for the numbers of rows."""
    return within(content(memory), scope)


def within(tables, scope):
    rows = [row for table in tables.values() for row in table if "scope" in row]
    return [row for row in rows if scope.items() <= json.loads(row["scope"]).items()]


# -- ids of others


@pytest.fixture
def anns(rag, tmp_path):
    """A memory of Ann's, who has used ids that others may think of."""
    memory = rag(tmp_path / "m")
    memory.add("Ann's locker has the code 8812.", id="doc-1", scope=ANN)
    memory.add("Ann's desk is by the window.", id="doc-2", scope=ANN, ttl=60)
    memory.import_(archive(tmp_path / "a", turn(scope=ANN, content="Hi, I am Ann.")))
    return memory


def bobs(path):
    """Bob's export, with the ids that Ann has used as well."""
    return archive(
        path,
        record(id="doc-1", scope=BOB, text="Bob's locker has the code 1234.", version=2),
        version(text="Bob has no locker."),
        record(id="doc-2", scope=BOB, text="Bob's desk is by the door."),
        record(id="doc-3", scope=BOB, text="Bob's car is red."),
        turn(scope=BOB, content="Bob's desk is by the door.", record="doc-2"),
    )  # fmt: skip


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("late", [0, 3600])  # doc-2 of Ann has expired, and waits
def test_ids_that_are_in_use_elsewhere_are_no_conflict(anns, tmp_path, choice, late):
    clock = anns._engine.ledger._database.clock
    anns._engine.ledger._database.clock = lambda: clock() + late
    before = of(anns, ANN)

    report = anns.import_(bobs(tmp_path / "b"), scope=BOB, on_conflict=choice)

    assert of(anns, ANN) == before
    assert (report.records, report.versions, report.turns) == (3, 1, 1)
    assert (report.skipped, report.replaced, report.expired) == (0, 0, 0)
    assert report.renamed.keys() == {"doc-1", "doc-2", "t"}
    assert "3 under another id" in str(report)
    texts = {r.id: r.text for r in anns.records(scope=BOB).records}
    assert texts == {
        report.renamed["doc-1"]: "Bob's locker has the code 1234.",
        report.renamed["doc-2"]: "Bob's desk is by the door.",
        "doc-3": "Bob's car is red.",
    }
    assert len(anns.history(report.renamed["doc-1"], scope=BOB)) == 2
    [said] = anns.turns(scope=BOB)
    assert (said.id, said.record_id) == (report.renamed["t"], report.renamed["doc-2"])
    assert check(anns._engine.ledger.directory).sound


@pytest.mark.parametrize("choice", CHOICES)
def test_records_and_turns_have_no_id_in_common(anns, tmp_path, choice):
    before = content(anns)
    for scope in (None, ANN):
        for entry in (turn(scope=ANN, id="doc-1"), record(scope=ANN, id="t", text="New.")):
            path = archive(tmp_path / "x", entry)
            with pytest.raises(InvalidInputError, match=r"line 2 of .* is in use: one of the"):
                anns.import_(path, scope=scope, on_conflict=choice)
    assert content(anns) == before
    path = archive(tmp_path / "x", turn(scope=BOB, id="doc-1"), record(scope=BOB, id="t"))
    report = anns.import_(path, scope=BOB, on_conflict=choice)
    assert report.renamed.keys() == {"doc-1", "t"}
    assert of(anns, ANN) == within(before, ANN)


def test_the_same_file_again_changes_nothing(anns, tmp_path):
    first = anns.import_(bobs(tmp_path / "b"), scope=BOB)
    before = content(anns)
    again = anns.import_(bobs(tmp_path / "b"), scope=BOB)
    assert content(anns) == before
    assert again.renamed == first.renamed
    assert (again.records, again.skipped) == (0, 4)
    anns.forget("doc-1", scope=ANN)  # the id is free now, and Bob's record has its own
    assert anns.import_(bobs(tmp_path / "b"), scope=BOB).renamed == first.renamed


def test_a_made_id_that_somebody_has_taken_is_left_to_them(anns, tmp_path):
    first = anns.import_(bobs(tmp_path / "b"), scope=BOB)
    anns.forget(scope=BOB)
    anns.add("Ann was faster.", id=first.renamed["doc-1"], scope=ANN)
    second = anns.import_(bobs(tmp_path / "b"), scope=BOB)
    assert second.renamed["doc-1"] not in {"doc-1", first.renamed["doc-1"]}
    assert second.renamed["doc-2"] == first.renamed["doc-2"]


def test_ids_stay_where_nobody_else_has_them(rag, tmp_path):
    memory = rag(tmp_path / "m")
    report = memory.import_(bobs(tmp_path / "b"), scope=BOB)
    assert report.renamed == {}
    assert {r.id for r in memory.records(scope=BOB).records} == {"doc-1", "doc-2", "doc-3"}


def test_what_a_tenant_has_moves_with_its_own_conflicts(anns, tmp_path):
    anns.import_(bobs(tmp_path / "b"), scope=BOB)
    path = archive(tmp_path / "c", record(id="doc-3", scope=BOB, text="Bob's car is blue."))
    with pytest.raises(InvalidInputError, match=r"line 2 of .*record 'doc-3' is in the memory"):
        anns.import_(path, scope=BOB)
    assert anns.import_(path, scope=BOB, on_conflict="replace").replaced == 1
    assert anns.get("doc-3", scope=BOB).text == "Bob's car is blue."


@pytest.mark.parametrize("theirs", ["doc-1", "nobody"])
@pytest.mark.parametrize("scope", [BOB, None])
def test_a_turn_belongs_to_a_record_of_its_scope(anns, tmp_path, theirs, scope):
    before = content(anns)
    path = archive(tmp_path / "t", turn(id="u", scope=BOB, record=theirs))
    with pytest.raises(InvalidInputError, match="line 2 of") as caught:
        anns.import_(path, scope=scope)
    assert f"must be a record of the turn's scope, got {theirs!r}" in str(caught.value)
    assert content(anns) == before


@pytest.mark.parametrize("choice", CHOICES)
def test_an_item_of_others_stays_as_it_is(anns, tmp_path, choice):
    anns.items.write([NewItem(("a",), "k", {"x": "Ann's"}, scope=ANN)])
    before = content(anns)
    path = archive(tmp_path / "i", item(scope=BOB, value={"x": "Bob's"}))
    if choice == "skip":
        assert anns.import_(path, scope=BOB, on_conflict=choice).skipped == 1
    else:
        with pytest.raises(
            InvalidInputError, match=r"(?s)line 2 of .*item 'k'.*\"skip\""
        ) as caught:
            anns.import_(path, scope=BOB, on_conflict=choice)
        assert '"replace"' not in str(caught.value)  # which would not help
    assert content(anns) == before


# -- times to live


def test_the_retention_of_other_scopes_stays(anns, tmp_path):
    path = archive(tmp_path / "x", ttl(seconds=1), ttl(scope=ANN), ttl(scope=BOB))
    for choice in CHOICES:
        anns.import_(path, scope=BOB, on_conflict=choice)
    assert [row["scope"] for row in content(anns)["ttls"]] == ['{"user":"bob"}']
    assert anns.add("New.").expires_at is None


def test_what_lives_for_good_is_in_conflict_with_a_time_to_live(anns, tmp_path):
    """Without a scope, a file must not make expire what is added here from now on, unasked."""
    path = archive(tmp_path / "x", ttl(seconds=1))
    with pytest.raises(InvalidInputError, match=r"line 2 of .*ttl .* is in the memory already"):
        anns.import_(path)
    anns.import_(path, on_conflict="skip")
    assert anns.add("New.").expires_at is None
    anns.import_(path, on_conflict="replace")
    assert anns.add("Newer.").expires_at is not None


# -- records that change their scope


@pytest.fixture
def taught(open_memory, tmp_path, badges):
    """Ann's facts in modules, and a turn that belongs to the first of them."""
    memory = open_memory(tmp_path / "taught")
    memory.add([Draft(d.text, d.question, d.answer, ANN, id=d.id) for d in badges[:4]])
    memory.consolidate()
    assert memory.stats(scope=ANN).held == 4
    nora = badges[0]
    said = turn(scope=ANN, content=nora.text, record=nora.id)
    memory.import_(archive(tmp_path / "turn", said))
    return memory


@pytest.mark.slow
def test_a_record_that_changes_its_scope_leaves_its_modules(taught, tmp_path, badges):
    nora, emil = badges[:2]
    taught.export(tmp_path / "all")
    entries = [
        line | ({"scope": BOB} if line.get("id") == nora.id else {})
        for line in lines(tmp_path / "all")[:-1]
        if line.get("kind") != "turn"
    ]
    entries[0]["counts"].pop("turn", None)

    report = taught.import_(forge(tmp_path / "moved", entries), on_conflict="replace")

    assert report.replaced == 1
    ledger = taught._engine.ledger
    assert dict(ledger.records.get([nora.id])[0].scope) == BOB
    assert ledger.modules.placements([nora.id]) == {}
    assert ledger.modules.holding([nora.id]) == []  # nor do weights of Ann's know it
    for scope in (ANN, BOB):
        assert not taught.ask(nora.question, budget=0, scope=scope).route
    assert [(t.content, t.record_id) for t in taught.turns(scope=ANN)] == [(nora.text, None)]
    assert check(ledger.directory).sound
    taught.consolidate()
    modules = {dict(m.scope)["user"]: set(m.records) for m in taught.modules.list()}
    assert modules == {"bob": {nora.id}, "ann": {d.id for d in badges[1:4]}}
    assert taught.ask(nora.question, budget=0, scope=BOB).text == nora.answer
    assert taught.ask(emil.question, budget=0, scope=ANN).text == emil.answer


@pytest.mark.slow
def test_check_finds_a_record_and_a_module_of_two_scopes(taught, badges):
    """As a memory may be that another program has changed."""
    nora = badges[0]
    ledger = taught._engine.ledger
    ledger._database.execute("UPDATE records SET scope = ? WHERE id = ?", '{"user":"bob"}', nora.id)
    stamp(ledger._database, "records", "id = ?", nora.id)
    assert not taught.ask(nora.question, budget=0, scope=BOB).route
    found = check(ledger.directory)
    assert not found.sound
    said = "\n".join(found.problems)
    assert "modules were trained on 1 record of other scopes" in said
    assert "1 record is placed in modules without a test of recall" in said
    taught.close()
    assert check(ledger.directory, repair=True).left == []
    assert check(ledger.directory).sound


@pytest.mark.slow
def test_a_router_cannot_lead_to_a_module_of_others(taught, badges):
    routed = taught.ask(badges[0].question, budget=0, scope=ANN).route
    assert routed
    taught._engine.lora.router = Leading(taught._engine.lora.router, routed)
    answer = taught.ask(badges[0].question, budget=0, scope=BOB)
    assert not answer.route
    assert "other scopes" in answer.route.reason
    assert answer.text != badges[0].answer


class Leading:
    """A router that gives one route, whoever asks."""

    def __init__(self, router, route):
        self._router, self._route = router, route

    def route(self, queries, *, pending=None):
        return [self._route for _ in queries]

    def __getattr__(self, name):
        return getattr(self._router, name)
