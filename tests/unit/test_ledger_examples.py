"""Training examples are kept with the records that they were made of, and go with them."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from datetime import UTC, datetime

import pytest

from memkit.errors import InvalidInputError
from memkit.ledger import Ledger
from memkit.memory.check import check
from memkit.memory.erasure import erase
from memkit.types import Draft, Example

pytestmark = pytest.mark.engines

RECIPE, OTHER = "template 1", "rewriter 2 gpt"


@pytest.fixture
def records(ledger):
    return ledger.records.add([Draft("Ann has badge 4471."), Draft("Bob has badge 8812.")])


@pytest.fixture
def ann(records):
    return records[0]


def wordings(record, *questions, **fields):
    return [Example(question, "4471", record.id, context=record.text, **fields)
            for question in questions]  # fmt: skip


def rewrite(ledger, id, text):
    return ledger.records.update(id, text=text, question=None, answer=None, metadata={})


def questions(ledger, id, synthesizer=None):
    return [e.question for e in ledger.examples.get([id], synthesizer).get(id, [])]


def reads(ledger, monkeypatch):
    """The statements that read, as they are run from here on."""
    statements = []
    rows = ledger._database.rows
    monkeypatch.setattr(
        ledger._database, "rows", lambda sql, *values: statements.append(sql) or rows(sql, *values)
    )
    return statements


# -- storing and reading


def test_examples_are_read_back_in_order_with_the_text_of_their_record(ledger, records):
    ann, bob = records
    made = [
        Example("Ann's badge?", "4471", ann.id, context=ann.text),
        Example("Which badge has Ann?", "44\n71 ☕", ann.id, True, ann.text, "gpt-4o"),
        Example("A badge?", "4471", ann.id, context=ann.text),
    ]
    ledger.examples.put(RECIPE, {ann.id: made, bob.id: wordings(bob, "Bob's badge?")})

    assert ledger.examples.get([bob.id, ann.id, "nobody"]) == {
        bob.id: wordings(bob, "Bob's badge?"),
        ann.id: made,
    }
    assert list(ledger.examples.get([bob.id, ann.id])) == [bob.id, ann.id]


def test_one_read_gives_all_examples(ledger, records, monkeypatch):
    ledger.examples.put(RECIPE, {r.id: wordings(r, "Which badge?") for r in records})
    statements = reads(ledger, monkeypatch)
    assert len(ledger.examples.get([r.id for r in records])) == 2
    assert len(statements) == 1


def test_an_example_of_a_template_says_so():
    assert Example("q", "a").origin == "template"


def test_what_was_made_before_is_replaced(ledger, ann):
    ledger.examples.put(RECIPE, {ann.id: wordings(ann, "First?", "Second?")})
    ledger.examples.put(RECIPE, {ann.id: wordings(ann, "Third?")})
    assert questions(ledger, ann.id) == ["Third?"]
    assert ledger.examples.texts([ann.id]) == ["Third?", "4471"]


def test_the_newest_counts_unless_a_synthesizer_is_named(ledger, ann):
    ledger.examples.put(RECIPE, {ann.id: wordings(ann, "By template?")})
    ledger.examples.put(OTHER, {ann.id: wordings(ann, "By rewriter?", origin="gpt")})
    assert questions(ledger, ann.id) == ["By rewriter?"]
    assert questions(ledger, ann.id, RECIPE) == ["By template?"]
    assert questions(ledger, ann.id, "unknown") == []

    ledger.examples.put(RECIPE, {ann.id: wordings(ann, "By template again?")})
    assert questions(ledger, ann.id) == ["By template again?"]


def test_none_made_is_not_the_same_as_not_made_yet(ledger, records):
    ann, bob = records
    ids = [bob.id, "nobody", ann.id, bob.id]
    assert ledger.examples.missing(ids, RECIPE) == [bob.id, ann.id]

    ledger.examples.put(RECIPE, {ann.id: []})

    assert ledger.examples.missing(ids, RECIPE) == [bob.id]
    assert ledger.examples.missing(ids, OTHER) == [bob.id, ann.id]
    assert ledger.examples.get([ann.id]) == {}

    ledger.examples.put(OTHER, {ann.id: wordings(ann, "Older?")})
    ledger.examples.put(RECIPE, {ann.id: []})
    assert ledger.examples.get([ann.id]) == {}  # what was made last: nothing


def test_unknown_and_expired_records_are_skipped(ledger, ann):
    [brief] = ledger.records.add([Draft("Gone soon.", ttl=60)])
    ledger.examples.put(RECIPE, {brief.id: wordings(brief, "Soon?")})
    ledger._database.clock = lambda: datetime.now(UTC).timestamp() + 120

    ledger.examples.put(RECIPE, {"nobody": [Example("Who?", "x")], ann.id: wordings(ann, "Ann?")})
    ledger.examples.put(OTHER, {brief.id: wordings(brief, "Late?")})

    assert list(ledger.examples.get(["nobody", brief.id, ann.id])) == [ann.id]
    assert ledger.examples.missing([brief.id], OTHER) == []
    assert ledger.examples.texts([brief.id]) == ["Soon?", "4471"]  # to be destroyed with it


@pytest.mark.parametrize(
    ("example", "why"),
    [
        (Example("a\0b", "x"), "`question` must not contain NUL"),
        (Example("Why?", ""), "`answer` must not be empty"),
        (Example("Why?", "x", origin=" "), "`origin` must not be empty"),
        (Example("Why?", 7), "`answer` must be a string"),
    ],
)
def test_what_cannot_be_stored_is_refused_as_a_whole(ledger, records, example, why):
    ann, bob = records
    with pytest.raises(InvalidInputError, match=why):
        ledger.examples.put(RECIPE, {ann.id: wordings(ann, "Fine?"), bob.id: [example]})
    assert ledger.examples.missing([ann.id, bob.id], RECIPE) == [ann.id, bob.id]


def test_put_takes_part_in_a_transaction(ledger, ann):
    with suppress(ZeroDivisionError), ledger.transaction():
        ledger.examples.put(RECIPE, {ann.id: wordings(ann, "Undone?")})
        raise ZeroDivisionError
    assert ledger.examples.missing([ann.id], RECIPE) == [ann.id]


# -- the life of a record


def test_examples_of_an_older_text_wait_until_it_comes_back(ledger, ann):
    ledger.examples.put(RECIPE, {ann.id: wordings(ann, "Old?")})

    rewrite(ledger, ann.id, "Ann has badge 9001.")
    assert ledger.examples.missing([ann.id], RECIPE) == [ann.id]
    assert ledger.examples.get([ann.id]) == {}
    ledger.examples.put(RECIPE, {ann.id: wordings(ann, "New?")})

    rewrite(ledger, ann.id, ann.text)
    assert questions(ledger, ann.id) == ["Old?"]
    assert ledger.examples.texts([ann.id]) == ["Old?", "4471", "New?"]


def test_what_was_made_of_another_text_than_the_present_one_is_left_out(ledger, records):
    ann, bob = records
    rewrite(ledger, ann.id, "Ann has left.")
    ledger.examples.put(
        RECIPE,
        {r.id: wordings(r, "Which badge?") for r in records},
        content_hashes={r.id: r.content_hash for r in records},
    )
    assert ledger.examples.missing([ann.id, bob.id], RECIPE) == [ann.id]


def test_deletion_takes_the_examples_along(ledger, records):
    ann, bob = records
    ledger.examples.put(RECIPE, {r.id: wordings(r, "Which badge?") for r in records})
    ledger.records.delete([ann.id])
    assert ledger._database.rows("SELECT count(*) FROM syntheses") == [(1,)]
    assert ledger._database.rows("SELECT count(*) FROM examples") == [(1,)]
    assert questions(ledger, bob.id) == ["Which badge?"]


def test_merging_deletes_the_examples_of_those_that_are_merged(ledger, records):
    ann, bob = records
    rewrite(ledger, ann.id, "Ann has badge 1.")  # the newest is the one that stays
    for record in records:
        ledger.examples.put(RECIPE, {record.id: wordings(record, f"Of {record.text}")})
    assert ledger.merge([ann.id, bob.id]).id == ann.id
    assert ledger.examples.texts([ann.id, bob.id]) == ["Of Ann has badge 4471.", "4471"]
    assert ledger._database.rows("SELECT count(*) FROM examples") == [(1,)]


def test_forgetting_looks_for_all_that_was_made_of_a_record(ledger, ann):
    secret = "Which colour did nobody mention?"
    ledger.examples.put(OTHER, {ann.id: wordings(ann, secret)})
    assert ledger.records.has_text(secret)
    rewrite(ledger, ann.id, "Ann has left.")

    erased = erase(ledger, [ann.id], backends=[])

    assert secret in erased.samples
    assert not ledger.records.has_text(secret)
    ledger.close()
    for path in ledger.directory.rglob("*.sqlite3*"):
        assert secret.encode() not in path.read_bytes()


# -- export and import


def export(ledger, scope=None):
    with ledger.exporter(scope) as exporter:
        return list(exporter.entries()), exporter.counts()


def take(ledger, entries, on_conflict="error"):
    with ledger.transaction():
        importer = ledger.importer(ledger.records.delete, on_conflict=on_conflict, scope=None)
        for line, entry in enumerate(entries, start=2):
            importer.take(entry, line)
        importer.finish()
    return importer.counts


@pytest.fixture
def copy(tmp_path):
    ledger = Ledger.open(tmp_path / "copy")
    yield ledger
    ledger.close()


@pytest.fixture
def exported(ledger, records):
    """Entries with examples of an older text and of the present one, by two synthesizers."""
    ann, bob = records
    ledger.examples.put(RECIPE, {ann.id: wordings(ann, "Old?")})
    rewrite(ledger, ann.id, "Ann has badge 9001.")
    ledger.examples.put(OTHER, {ann.id: wordings(ann, "New?", held_out=True, origin="gpt")})
    ledger.examples.put(RECIPE, {ann.id: wordings(ann, "Newest?", "Last?"), bob.id: []})
    entries, _ = export(ledger)
    return entries


def test_examples_travel_with_their_record(ledger, copy, records, exported):
    ann, bob = records
    _, counts = export(ledger)
    assert (counts["record"], counts["version"], counts["synthesis"]) == (2, 1, 4)

    assert take(copy, exported)["synthesis"] == 4

    for synthesizer in (None, RECIPE, OTHER):
        assert copy.examples.get([ann.id], synthesizer) == ledger.examples.get(
            [ann.id], synthesizer
        )
    assert copy.examples.missing([ann.id, bob.id], RECIPE) == []
    assert copy.examples.missing([ann.id, bob.id], OTHER) == [bob.id]
    assert copy.examples.texts([ann.id]) == ledger.examples.texts([ann.id])
    assert export(copy)[0] == exported


def test_taking_examples_in_twice_changes_nothing(copy, exported):
    take(copy, exported)
    assert +take(copy, exported) == {"skipped": 2}
    assert export(copy)[0] == exported


def test_examples_that_are_not_known_here_come_to_the_record_that_is(copy, records, exported):
    bare = [entry for entry in exported if entry["kind"] != "synthesis"]
    take(copy, bare)
    copy.examples.put("mine", {records[1].id: wordings(records[1], "Mine?")})
    assert take(copy, exported)["synthesis"] == 4
    assert questions(copy, records[1].id, "mine") == ["Mine?"]
    assert questions(copy, records[0].id, RECIPE) == ["Newest?", "Last?"]


@pytest.mark.parametrize("choice", ["error", "skip", "replace"])
def test_different_examples_are_a_conflict(copy, records, exported, choice):
    take(copy, exported)
    ann = records[0]
    copy.examples.put(RECIPE, {ann.id: wordings(ann, "Edited here?")})
    if choice == "error":
        with pytest.raises(InvalidInputError, match=f"record '{ann.id}' is in the memory already"):
            take(copy, exported)
    else:
        take(copy, exported, choice)
    theirs = ["Newest?", "Last?"]
    assert questions(copy, ann.id) == (theirs if choice == "replace" else ["Edited here?"])


def test_replacing_a_record_replaces_its_examples(copy, records, exported):
    take(copy, exported)
    ann = records[0]
    rewrite(copy, ann.id, "Ann is someone else.")
    copy.examples.put(RECIPE, {ann.id: wordings(ann, "Who else?")})
    take(copy, exported, "replace")
    assert "Who else?" not in copy.examples.texts([ann.id])
    assert export(copy)[0] == exported


def test_examples_of_another_text_are_refused(copy, exported):
    place = next(n for n, entry in enumerate(exported) if entry["kind"] == "synthesis")
    exported[place] = exported[place] | {"content_hash": "0" * 64}
    with pytest.raises(InvalidInputError, match="those of another text"):
        take(copy, exported)


def test_examples_outside_of_the_scope_stay_where_they_are(ledger, copy):
    mine, yours = ledger.records.add(
        [Draft("Mine.", scope={"user": "me"}), Draft("Yours.", scope={"user": "you"})]
    )
    ledger.examples.put(RECIPE, {r.id: wordings(r, "Whose?") for r in (mine, yours)})
    entries, counts = export(ledger, {"user": "me"})
    assert counts["synthesis"] == 1
    take(copy, entries)
    assert copy.examples.texts([mine.id, yours.id]) == ["Whose?", "4471"]


# -- check


@pytest.mark.engines("sqlite")  # `check` knows files only
def test_examples_without_their_record_are_found_and_removed(ledger, ann):
    ledger.examples.put(RECIPE, {ann.id: wordings(ann, "Whose?")})
    ledger.close()
    with sqlite3.connect(ledger.directory / "ledger.sqlite3") as connection:
        connection.execute("UPDATE syntheses SET record = 999")
        connection.execute(
            "INSERT INTO examples (synthesis, position, question, answer, held_out, origin) "
            "VALUES (77, 0, 'q', 'a', 0, 'template')"
        )
    connection.close()

    found = [f.what for f in check(ledger.directory).findings]
    assert "1 rows of 'syntheses' refer to what is not there" in found
    assert "1 rows of 'examples' refer to what is not there" in found

    check(ledger.directory, repair=True)
    assert check(ledger.directory).sound
    with sqlite3.connect(ledger.directory / "ledger.sqlite3") as connection:
        assert connection.execute("SELECT count(*) FROM examples").fetchone() == (0,)
    connection.close()
