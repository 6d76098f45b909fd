from __future__ import annotations

import hashlib
import json
import unicodedata
import uuid
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from memkit.errors import InvalidInputError, RecordNotFoundError
from memkit.ledger import Ledger, NewPassage
from memkit.ledger.engine.ids import new_id
from memkit.ledger.records.where import beginning_sql
from memkit.types import Draft

pytestmark = pytest.mark.engines

SCOPES = [{}, {"user": "u1"}, {"user": "u2"}, {"user": "u1", "session": "s1"}, {"session": "s1"}]


def add(ledger, *texts, **fields):
    return ledger.records.add([Draft(text=text, **fields) for text in texts])


def test_a_record_is_read_back_as_it_was_given(ledger):
    before = datetime.now(UTC)
    draft = Draft(
        text="The badge is 4471. 👩‍👩‍👧‍👦 \u00e9 שלום \x01",
        question="Which badge?",
        answer=" 4471\n",
        scope={"user": "u1", "session": "s7"},
        metadata={"source": "hr", "nested": {"list": [1, 2.5, None, True, "é"], "": {}}},
    )
    [record] = ledger.records.add([draft])
    assert ledger.records.get([record.id]) == [record]
    for field in ("text", "question", "answer", "scope", "metadata"):
        assert getattr(record, field) == getattr(draft, field)
    assert record.version == 1
    assert before - timedelta(seconds=1) <= record.created_at <= datetime.now(UTC)
    assert record.updated_at == record.created_at
    content = json.dumps([draft.text, draft.question, draft.answer], ensure_ascii=False)
    assert record.content_hash == hashlib.sha256(content.encode()).hexdigest()


@pytest.fixture(scope="module")
def long_lived(tmp_path_factory):
    ledger = Ledger.open(tmp_path_factory.mktemp("long") / "m")
    yield ledger
    ledger.close()


@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1))
@example(text="\U0002f800")  # an ideograph that form C replaces
def test_every_text_makes_the_round_trip(long_lived, text):
    if text.strip():
        [record] = long_lived.records.add([Draft(text=text, metadata={text: text})])
        [stored] = long_lived.records.get([record.id])
        text = unicodedata.normalize("NFC", text)
        assert (stored.text, stored.metadata) == (text, {text: text})


def test_texts_are_kept_in_normal_form_c_and_no_further(ledger):
    composed, decomposed, compatible = add(ledger, "caf\u00e9", "cafe\u0301", "\ufb01n")
    assert composed == decomposed
    assert [r.text for r in ledger.records.page().records] == ["caf\u00e9", "\ufb01n"]
    assert compatible.text == "\ufb01n"  # a ligature, which form KC would take apart


def test_a_megabyte_is_no_problem(ledger):
    text = "0123456789abcde\n" * 65_536
    [record] = add(ledger, text)
    assert ledger.records.get([record.id])[0].text == text


def test_a_prefix_finds_the_ids_that_begin_so(ledger):
    """Whatever the characters are: the range ends where the next prefix begins."""
    last, before, after = "\U0010ffff", "\ud7ff", "\ue000"  # the two around the surrogates
    ids = ["a", "a%", "a_", "a1", "a12", "a2", "A1", "b", "é1", "éa", "ê"]
    ids += [f"{start}{end}" for start in (last, before, after, f"a{last}") for end in ("", "x")]
    for id in ids:
        add(ledger, f"This is {id}.", id=id)
    for prefix in (*ids, "é", "e", "ab", "a%1", f"{last}{last}"):
        expected = sorted(id for id in ids if id.startswith(prefix))
        assert [r.id for r in ledger.records.beginning(prefix)] == expected, prefix
    assert [r.id for r in ledger.records.beginning("a", limit=2)] == ["a", "a%"]
    with pytest.raises(InvalidInputError, match="`prefix` must"):
        ledger.records.beginning("")


def test_a_prefix_finds_what_the_scope_sees_and_what_has_not_expired(ledger):
    for number, scope in enumerate(SCOPES):
        add(ledger, "A badge.", id=f"badge-{number}", scope=scope)
    add(ledger, "An old badge.", id="badge-old", ttl=60)
    assert len(ledger.records.beginning("badge-")) == 6
    now = ledger._database.now()
    ledger._database.clock = lambda: now + 61
    seen = [r.id for r in ledger.records.beginning("badge-", scope={"user": "u1"}, limit=2)]
    assert seen == ["badge-0", "badge-1"]
    assert len(ledger.records.beginning("badge-", scope={"user": "u1", "session": "s1"})) == 4
    assert len(ledger.records.beginning("badge-")) == 5


@pytest.mark.engines("sqlite")
def test_a_prefix_is_a_range_of_the_index(ledger):
    sql, bounds = beginning_sql("records.id", "badge")
    plan = "EXPLAIN QUERY PLAN SELECT * FROM records WHERE"
    [step] = ledger._database.rows(f"{plan} {sql} ORDER BY records.id LIMIT 2", *bounds)
    assert step[3].startswith("SEARCH records USING INDEX")
    assert step[3].endswith("(id>? AND id<?)")


def test_ids_grow_also_within_a_millisecond():
    ids = [new_id() for _ in range(2000)]
    assert ids == sorted(ids)
    assert len(set(ids)) == 2000


def test_ids_are_uuids_that_sort_by_time(ledger):
    before = int(datetime.now(UTC).timestamp() * 1000)
    [record] = add(ledger, "a")
    parsed = uuid.UUID(record.id)
    assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)
    assert before <= parsed.int >> 80 <= int(datetime.now(UTC).timestamp() * 1000)


def test_adding_again_gives_the_record_that_is_there(ledger):
    [first] = add(ledger, "a", metadata={"n": 1})
    again = ledger.records.add([Draft(text="a"), Draft(text="b"), Draft(text="b")])
    assert again[0] == first
    assert again[1] == again[2]
    assert [r.text for r in ledger.records.page().records] == ["a", "b"]


def test_the_same_text_is_another_record_elsewhere_or_with_another_answer(ledger):
    records = ledger.records.add(
        [
            Draft(text="a", question="p", answer="w"),
            Draft(text="a", scope={"user": "u1"}),
            Draft(text="a", question="q", answer="x"),
            Draft(text="a", question="r", answer="y"),
        ]
    )
    assert len({record.id for record in records}) == 4


def test_scopes_that_differ_in_order_only_are_the_same(ledger):
    one = add(ledger, "a", scope={"user": "u1", "session": "s1"})
    two = add(ledger, "a", scope={"session": "s1", "user": "u1"})
    assert one == two


def test_put_says_what_it_writes_and_unsaid_foretells_it(ledger):
    [known] = add(ledger, "a", scope={"user": "u1"}, metadata={"n": 1})
    drafts = [
        Draft(text="b"),
        Draft(text="a", scope={"user": "u1"}),
        Draft(text="a"),
        Draft(text="a", scope={"user": "u1"}, metadata={"n": 2}),
    ]
    assert ledger.records.unsaid(drafts) == [drafts[0], drafts[2], drafts[3]]
    assert ledger.records.unsaid(drafts, enrich=False) == [drafts[0], drafts[2]]
    for part in drafts[:3]:
        unsaid = ledger.records.unsaid([part])
        [record], written = ledger.records.put([part])
        assert written == ({record.id} if unsaid else set())
    assert ledger.records.put(drafts[3:], enrich=False) == ([known], frozenset())
    assert ledger.records.put(drafts[3:])[1] == {known.id}
    assert ledger.records.unsaid([]) == []


def test_chosen_ids(ledger):
    [record] = ledger.records.add([Draft(text="a", id="badge ü/1")])
    assert record.id == "badge ü/1"
    assert ledger.records.add([Draft(text="a", id="badge ü/1")]) == [record]
    [other] = ledger.records.add([Draft(text="a", id="other")])
    assert (other.id, other.key, record.key) == ("other", None, None)
    assert ledger.records.add([Draft(text="a", id="other"), Draft(text="a")]) == [other, record]
    ledger.records.add([Draft(text="e", id="e"), Draft(text="f", id="f", key="free")])
    for taken in (
        [Draft(text="a", id="e")],
        [Draft(text="g", id="e", key="free")],
        [Draft(text="b", id="badge ü/1")],
        [Draft(text="a", id="badge ü/1", scope={"user": "u1"})],
        [Draft(text="c", id="new"), Draft(text="d", id="new")],
    ):
        with pytest.raises(InvalidInputError, match="is in use") as caught:
            ledger.records.add(taken)
        assert "update()" in caught.value.hint
    assert ledger.records.count() == 4


def test_one_invalid_draft_keeps_all_out(ledger):
    with pytest.raises(InvalidInputError, match="`text` must not be empty"):
        add(ledger, "a", " ")
    with pytest.raises(InvalidInputError, match="`scope` must be a mapping"):
        ledger.records.add([Draft(text="a"), Draft(text="b", scope=None)])
    assert ledger.records.count() == 0
    assert ledger.records.add([]) == []


def test_the_caller_s_mappings_are_neither_kept_nor_changed(ledger):
    metadata = {"tags": ["a"]}
    [record] = add(ledger, "a", metadata=metadata, scope=MappingProxyType({"user": "u1"}))
    metadata["tags"].append("b")
    assert record.metadata == {"tags": ["a"]}
    nested = MappingProxyType({"inner": MappingProxyType({"n": 1}), "pair": (1, 2)})
    [record] = add(ledger, "b", metadata=nested)
    assert record.metadata == {"inner": {"n": 1}, "pair": [1, 2]}


def test_get_keeps_the_order_asked_and_may_repeat(ledger):
    a, _, c = add(ledger, "a", "b", "c")
    assert ledger.records.get([c.id, a.id, c.id]) == [c, a, c]
    assert ledger.records.get([]) == []


def test_get_tells_missing_from_invisible_to_nobody(ledger):
    [record] = add(ledger, "a", scope={"user": "u1"})
    assert ledger.records.get([record.id], scope={"user": "u1", "session": "s"}) == [record]
    messages = set()
    for scope in ({}, {"user": "u2"}, {"session": "u1"}):
        with pytest.raises(RecordNotFoundError, match="no record has the id") as caught:
            ledger.records.get([record.id], scope=scope)
        messages.add(caught.value.message.replace(record.id, "ID"))
    with pytest.raises(RecordNotFoundError, match="no record has the id 'nope'") as caught:
        ledger.records.get(["nope"])
    messages.add(caught.value.message.replace("nope", "ID"))
    assert messages == {"no record has the id 'ID'"}
    with pytest.raises(RecordNotFoundError, match="no record has the id 'x', nor 'y'"):
        ledger.records.get([record.id, "x", "y"])


def test_odd_ids_are_just_unknown(ledger):
    [record] = ledger.records.add([Draft(text="a", id="abc")])
    for id in ("abc ", "ABC", "%", "' OR 1 --"):
        with pytest.raises(RecordNotFoundError, match="no record has the id"):
            ledger.records.get([id])
    for id in ("", "\ud800", "abc\0", "x" * 257):
        with pytest.raises(InvalidInputError, match="`id` must"):
            ledger.records.get([id])
    with pytest.raises(InvalidInputError, match="`ids` must not contain NUL"):
        ledger.records.delete(["abc\0x"])
    for call in (ledger.records.get, ledger.records.delete):
        with pytest.raises(InvalidInputError, match="`ids` must be a list of strings, got the str"):
            call("abc")
    assert ledger.records.get(["abc"]) == [record]


def test_looking_for_leftovers(ledger):
    [record] = add(ledger, "the old words")
    ledger.records.update(record.id, text="the new ones", question=None, answer=None, metadata={})
    assert ledger.records.existing([record.id, "x"]) == [record.id]
    assert ledger.records.has_text("old words")
    assert ledger.records.has_text("new ones")
    assert not ledger.records.has_text("newer")
    ledger.records.delete([record.id])
    assert ledger.records.existing([record.id, "x"]) == []
    assert not ledger.records.has_text("old words")


@pytest.mark.slow
def test_thousands_of_ids_at_once(ledger):
    records = add(ledger, *(f"fact {n}" for n in range(5000)))
    ids = [record.id for record in records]
    assert ledger.records.get(ids) == records
    assert ledger.records.ids() == ids
    assert ledger.records.delete([*ids, *ids]) == (5000, 5000, 0)


def test_update_writes_a_new_version_and_keeps_the_old_one(ledger):
    [record] = add(ledger, "old", scope={"user": "u1"}, metadata={"n": 1})
    updated = ledger.records.update(
        record.id, text="new", question="q", answer="a", metadata={"n": 2}
    )
    assert (updated.id, updated.version, updated.text, updated.scope) == (
        record.id, 2, "new", {"user": "u1"},
    )  # fmt: skip
    assert (updated.question, updated.answer, updated.metadata) == ("q", "a", {"n": 2})
    assert updated.created_at == record.created_at <= updated.updated_at
    assert updated.content_hash != record.content_hash
    assert ledger.records.get([record.id]) == [updated]
    newest = ledger.records.update(record.id, text="newer", question=None, answer=None, metadata={})
    assert newest.version == 3
    history = ledger.records.history(record.id)
    assert [(v.version, v.text, v.question, v.answer, v.metadata) for v in history] == [
        (1, "old", None, None, {"n": 1}),
        (2, "new", "q", "a", {"n": 2}),
        (3, "newer", None, None, {}),
    ]
    assert [v.created_at for v in history] == [
        record.created_at,
        updated.updated_at,
        newest.updated_at,
    ]
    assert (ledger.records.count(), ledger.records.count_versions()) == (1, 3)


def test_an_update_that_changes_nothing_is_no_version(ledger):
    [record] = add(ledger, "a", metadata={"x": 1, "y": 2})
    index(ledger, record)
    same = ledger.records.update(
        record.id, text="a", question=None, answer=None, metadata={"y": 2, "x": 1}
    )
    assert same == record
    assert ledger.passages.count() == 1
    other = ledger.records.update(
        record.id, text="a", question=None, answer=None, metadata={"x": True, "y": 2}
    )
    assert (other.version, other.metadata) == (2, {"x": True, "y": 2})


def test_an_update_takes_the_passages_away(ledger):
    record, other = add(ledger, "a", "b")
    index(ledger, record, other)
    assert ledger.records.unindexed(10) == []
    updated = ledger.records.update(record.id, text="c", question=None, answer=None, metadata={})
    assert ledger.records.unindexed(10) == [updated]


def test_updates_that_cannot_be(ledger):
    a, b = add(ledger, "a", "b")
    with pytest.raises(InvalidInputError, match=f"would become identical to record '{b.id}'"):
        ledger.records.update(a.id, text="b", question=None, answer=None, metadata={})
    with pytest.raises(RecordNotFoundError, match="no record has the id 'x'"):
        ledger.records.update("x", text="b", question=None, answer=None, metadata={})
    with pytest.raises(InvalidInputError, match="`text` must not be empty"):
        ledger.records.update(a.id, text="", question=None, answer=None, metadata={})
    with pytest.raises(InvalidInputError, match="`answer` was given without `question`"):
        ledger.records.update(a.id, text="x", question=None, answer="a", metadata={})
    with pytest.raises(InvalidInputError, match="`metadata` must be a mapping"):
        ledger.records.update(a.id, text="x", question=None, answer=None, metadata=None)
    assert ledger.records.page().records == (a, b)
    with pytest.raises(RecordNotFoundError, match="no record has the id 'x'"):
        ledger.records.history("x")


def test_a_text_can_be_added_again_once_its_record_moved_on(ledger):
    [record] = add(ledger, "a")
    ledger.records.update(record.id, text="b", question=None, answer=None, metadata={})
    [again] = add(ledger, "a")
    assert again.id != record.id


def test_delete_takes_all_that_hangs_on_a_record(ledger):
    a, b = add(ledger, "a", "b")
    index(ledger, a, b)
    updated = ledger.records.update(a.id, text="c", question=None, answer=None, metadata={})
    index(ledger, updated)
    ledger.turns.add("user", "c", {}, record_id=a.id)
    ledger.turns.add("user", "c", {"user": "u1"}, record_id=a.id)
    ledger.turns.add("user", "d", {}, record_id=None)
    ledger.modules.commit(
        "m", {}, {}, file="adapters/f", digest="", size=0, members=[updated], held={a.id: 1.0}
    )
    assert ledger.records.delete([a.id, "unknown", a.id]) == (1, 2, 2)
    left = {
        table: ledger._database.value(f"SELECT count(*) FROM {table}")
        for table in ("records", "versions", "turns", "passages", "vectors", "placements")
    }
    assert left == {
        "records": 1, "versions": 0, "turns": 1, "passages": 1, "vectors": 1, "placements": 0,
    }  # fmt: skip
    assert ledger.records.delete([a.id]) == (0, 0, 0)
    assert ledger.records.delete([]) == (0, 0, 0)
    assert ledger.modules.members("m") == [a.id]


def test_pages_come_in_the_order_of_adding(ledger):
    records = add(ledger, *"abcdefg")
    seen, cursor = [], None
    while True:
        page = ledger.records.page(after=cursor, limit=3)
        seen.append([record.text for record in page.records])
        cursor = page.next
        if cursor is None:
            break
        if len(seen) == 1:  # what is deleted or added meanwhile disturbs nothing
            ledger.records.delete([records[0].id, records[4].id])
            add(ledger, "h")
    assert seen == [["a", "b", "c"], ["d", "f", "g"], ["h"]]
    assert ledger.records.page(limit=6).next is None
    assert ledger.records.page(limit=5).next is not None


@pytest.mark.parametrize("limit", [0, -1, True, 1.5, "3", None])
def test_odd_limits_are_refused(ledger, limit):
    with pytest.raises(InvalidInputError, match="`limit` must be an integer of at least 1, got"):
        ledger.records.page(limit=limit)


@pytest.mark.parametrize("after", ["x", "", "-1", 3, "1.5"])
def test_odd_cursors_are_refused(ledger, after):
    with pytest.raises(InvalidInputError, match="`after` must be the `next` of a page"):
        ledger.records.page(after=after)


def test_a_cursor_beyond_the_end_gives_an_empty_page(ledger):
    add(ledger, "a")
    page = ledger.records.page(after="9" * 30)
    assert (page.records, page.next) == ((), None)


@pytest.mark.parametrize("asked", SCOPES)
def test_listing_by_scope(ledger, asked):
    for scope in SCOPES:
        add(ledger, "x", scope=scope, metadata={"n": len(scope)})
    visible = [s for s in SCOPES if s.items() <= asked.items()]
    within = [s for s in SCOPES if asked.items() <= s.items()]
    assert [r.scope for r in ledger.records.page(visible_to=asked).records] == visible
    assert [r.scope for r in ledger.records.page(within=asked).records] == within
    both = ledger.records.page(visible_to={"user": "u1"}, within=asked, where={"n": 1}).records
    assert [r.scope for r in both] == [s for s in within if s == {"user": "u1"}]
    assert len(ledger.records.ids(visible_to=asked)) == len(visible)


def test_within_is_not_fooled_by_odd_strings(ledger):
    odd = [
        {'x"user': "u1"},
        {"user": 'u1"'},
        {"x": '","user":"u1'},
        {"a.user": "u1"},
        {"user": "U1"},
    ]
    for scope in odd:
        add(ledger, "x", scope=scope)
    assert ledger.records.ids(within={"user": "u1"}) == []
    for scope in odd:
        assert len(ledger.records.ids(within=scope)) == 1


def test_filters_are_applied_before_the_limit(ledger):
    add(ledger, *(f"a{n}" for n in range(50)), metadata={"kind": "a"})
    add(ledger, *(f"b{n}" for n in range(3)), metadata={"kind": "b"})
    page = ledger.records.page(where={"kind": "b"}, limit=2)
    assert [record.text for record in page.records] == ["b0", "b1"]
    page = ledger.records.page(where={"kind": "b"}, limit=2, after=page.next)
    assert ([record.text for record in page.records], page.next) == (["b2"], None)
    with pytest.raises(InvalidInputError, match="unknown operator"):
        ledger.records.page(where={"kind": {"$like": "b"}})


def index(ledger, *records):
    for record in records:
        vector = np.ones(2, dtype=np.float32)
        passage = NewPassage("text", 0, len(record.text), record.text, vector)
        ledger.passages.insert({record.id: [passage]})


def test_unindexed_follows_what_happens_to_passages(ledger):
    a, b = add(ledger, "a", "b")
    index(ledger, a, b)
    ledger.passages.insert({a.id: []})
    assert ledger.records.unindexed(10) == [a]
    ledger.records.delete([a.id, b.id])
    assert ledger._database.column("SELECT record FROM unindexed") == []


def test_unindexed_lists_the_oldest_first(ledger):
    a, b, c = add(ledger, "a", "b", "c")
    index(ledger, b)
    assert ledger.records.unindexed(10) == [a, c]
    assert ledger.records.unindexed(1) == [a]
