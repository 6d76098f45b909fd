"""`add`, `add_turn`, `get`, `records`, `turns`: what goes in comes out, and bad input does not."""

import re
import unicodedata
from datetime import UTC, datetime
from itertools import permutations

import numpy as np
import pytest

from memkit.errors import (
    DimensionMismatchError,
    DiskFullError,
    InvalidInputError,
    NonFiniteError,
    RecordNotFoundError,
)
from memkit.testing import HashingEmbedder
from memkit.types import Draft, TurnDraft

ODD_TEXTS = [
    "e\u0301 is not \u00e9",  # two ways to write one letter
    "\u202ethgir ot tfel\u202c",
    "\U0001f9ed \U0001f468\u200d\U0001f469\u200d\U0001f467 emoji",
    "日本語のテキスト、句読点なし",
    "tab\tnewline\r\nform\x0cbell\x07\x1b[31m",
    "\ufeffmark first, then \ufffd and \uffff",
    "\"quotes\", 'quotes', %s {braces} $where \\u0041 <|im_end|>",
    "  blanks around  ",
]


class Stumbling(HashingEmbedder):
    """Returns something else than promised for texts about poison."""

    def __init__(self, spoil):
        super().__init__()
        self.spoil = spoil

    def encode_document(self, texts, /):
        rows = super().encode_document(texts)
        return self.spoil(rows) if any("poison" in text for text in texts) else rows

    def encode_query(self, texts, /):
        return self.encode_document(texts)


def nan(rows):
    rows[-1, 3] = np.nan
    return rows


def stored(memory):
    return [record.text for record in memory.records(scope="all").records]


# -- what goes in comes out


def test_a_record_comes_back_as_it_was_given(memory):
    record = memory.add(
        "The badge of Nora is 4471.",
        question="Which badge has Nora?",
        answer="4471",
        scope={"user": "u1"},
        metadata={"source": "hr", "year": 2024, "tags": ["a", {"b": None}]},
        id="badge-nora",
    )
    assert (record.id, record.version) == ("badge-nora", 1)
    assert (record.text, record.question, record.answer) == (
        "The badge of Nora is 4471.",
        "Which badge has Nora?",
        "4471",
    )
    assert record.scope == {"user": "u1"}
    assert record.metadata == {"source": "hr", "year": 2024, "tags": ["a", {"b": None}]}
    assert record.created_at == record.updated_at
    assert memory.get("badge-nora", scope="all") == record
    assert memory.records(scope="all").records == (record,)
    assert memory.search("badge", scope={"user": "u1"})[0].record == record


@pytest.mark.parametrize("text", ODD_TEXTS)
def test_odd_unicode_makes_the_round_trip(tmp_path, open_memory, text):
    memory = open_memory(tmp_path / "odd")
    record = memory.add(text, question=text, answer=text, metadata={"odd": text})
    memory.close()
    memory = open_memory(tmp_path / "odd")
    again = memory.get(record.id)
    text = unicodedata.normalize("NFC", text)
    assert (again.text, again.question, again.answer) == (text, text, text)
    assert again.metadata == {"odd": text}
    (hit,) = memory.search(text)
    assert hit.record == again
    assert memory.recall(text).hits == (hit,)


def test_a_list_gives_a_record_for_each(memory):
    texts = memory.add(["one", "two"], scope={"user": "u1"}, metadata={"from": "list"})
    assert [record.text for record in texts] == ["one", "two"]
    assert all(record.scope == {"user": "u1"} for record in texts)
    assert all(record.metadata == {"from": "list"} for record in texts)
    drafts = memory.add((Draft("three"), Draft("four", scope={"user": "u2"}), "five"))
    assert [dict(record.scope) for record in drafts] == [{}, {"user": "u2"}, {}]
    assert memory.add([]) == []
    assert stored(memory) == ["one", "two", "three", "four", "five"]


def test_the_callers_arguments_are_left_alone(memory):
    metadata, scope, drafts = {"a": [1]}, {"user": "u1"}, [Draft("x", metadata={"b": 2})]
    record = memory.add("text", metadata=metadata, scope=scope)
    memory.add(drafts)
    metadata["a"].append(2)
    scope["user"] = "u2"
    kept = memory.get(record.id, scope="all")
    assert (kept.metadata, kept.scope) == ({"a": [1]}, {"user": "u1"})
    assert drafts == [Draft("x", metadata={"b": 2})]


def test_adding_again_gives_what_is_there(memory):
    first = memory.add("The same.", metadata={"n": 1})
    assert memory.add("The same.", metadata={"n": 1}) == first
    assert memory.add("The same.") == first
    assert memory.add(["The same.", "The same."]) == [first, first]
    assert stored(memory) == ["The same."]
    assert memory.stats().passages == 1


def test_what_is_added_to_a_text_enriches_its_record(memory):
    first = memory.add("Nora has badge 4471.", metadata={"n": 1, "by": "hr"})
    second = memory.add("Nora has badge 4471.", metadata={"n": 2, "year": 2020})
    assert (second.id, second.version) == (first.id, 2)
    assert second.metadata == {"n": 2, "by": "hr", "year": 2020}
    day = datetime(2020, 5, 1, tzinfo=UTC)
    asked = {"question": "Which badge has Nora?", "answer": "4471"}
    third = memory.add("Nora has badge 4471.", **asked, at=day)
    assert (third.id, third.version, third.said_at) == (first.id, 3, day)
    assert (third.question, third.answer, third.metadata) == (*asked.values(), second.metadata)
    assert memory.add("Nora has badge 4471.") == third
    assert memory.add("Nora has badge 4471.", **asked) == third
    assert [version.metadata for version in memory.history(first.id)][:2] == [
        first.metadata,
        second.metadata,
    ]
    assert [hit.id for hit in memory.search("Which badge has Nora?")] == [first.id]
    assert memory.stats().passages == 2  # of the text and of its question
    assert memory.count(where={"year": 2020}) == 1


def test_metadata_that_do_not_go_together_are_refused(memory):
    memory.add("The lift is red.", id="lift", metadata={"a.b": 1, "x": 2})
    before = memory.get("lift")
    for text in (
        "The lift is red.",
        [Draft("New."), Draft("The lift is red.", metadata={"a": {"b": 2}})],
    ):
        rest = {"metadata": {"a": {"b": 2}}} if isinstance(text, str) else {}
        with pytest.raises(InvalidInputError, match=r"record 'lift' .* one value for 'a.b'"):
            memory.add(text, **rest)
    assert memory.records().records == (before,)


def test_one_list_enriches_as_one_after_the_other(memory):
    drafts = [
        Draft("The same.", metadata={"a": 1}),
        Draft("The same.", "What is it?", "The same."),
        Draft("The same.", metadata={"b": 2}),
    ]
    records = memory.add(drafts)
    assert [record.metadata for record in records] == [{"a": 1, "b": 2}] * 3
    assert {(record.id, record.answer) for record in records} == {(records[0].id, "The same.")}
    assert memory.add(drafts) == records


def test_another_id_or_another_question_is_another_record(memory):
    first = memory.add("Nora has badge 4471.", id="one")
    other = memory.add("Nora has badge 4471.", question="Who?", answer="Nora", id="two")
    third = memory.add("Nora has badge 4471.", question="Which?", answer="4471", id="one")
    assert (first.id, other.id, third.id) == ("one", "two", "one")
    assert memory.add("Nora has badge 4471.", question="What?", answer="badge").id not in (
        "one",
        "two",
    )


@pytest.mark.parametrize("asked", [{}, {"question": "What is it?", "answer": "text"}])
def test_an_id_that_is_given_decides(memory, asked):
    memory.add("Another text.", id="C")
    first = memory.add("Same text.", id="A", **asked)
    second = memory.add("Same text.", id="B", **asked)
    assert (first.id, second.id, second.key) == ("A", "B", first.key)
    assert memory.add("Same text.", id="B", **asked) == second
    assert memory.add("Same text.", **asked) == memory.get("A")
    with pytest.raises(InvalidInputError, match="'C' is in use"):
        memory.add("Same text.", id="C", **asked)
    assert stored(memory) == ["Another text.", "Same text.", "Same text."]


def test_an_id_may_be_anothers_key(memory):
    memory.add("Another text.", key="B")
    memory.add("Same text.", id="A")
    assert memory.add("Same text.", id="B").key is None
    assert stored(memory) == ["Another text.", "Same text.", "Same text."]


NORA = {"question": "What is Nora's badge?"}
SAME_QUESTION = [
    Draft("Nora's badge is 4471.", answer="4471", id="a", **NORA),
    Draft("The badge of Nora: 9000.", answer="9000", id="b", **NORA),
    Draft("Emil drinks tea.", id="c"),
    Draft("Emil drinks tea.", id="d"),
]
LATER = [Draft("It is 7.", answer="7", **NORA), Draft("Emil drinks tea.", metadata={"late": True})]


@pytest.mark.parametrize("forgotten", [[], ["a", "c"], ["b", "d"]], ids=str)
def test_who_came_first_decides_nothing(tmp_path, open_memory, forgotten):
    """What is added later goes to the same records, whichever of two of one question was first."""
    ends = []
    for number, drafts in enumerate(permutations(SAME_QUESTION)):
        if number % 5:
            continue
        memory = open_memory(tmp_path / str(number), backends=["buffer"])
        memory.add(drafts)
        if forgotten:
            memory.forget(forgotten)
        alone = {r.id: r.key for r in memory}
        memory.add(LATER)
        memory.update("b" if "a" in forgotten else "a", "It is 8.", answer="8")
        memory.export(tmp_path / "file")
        copy = open_memory(tmp_path / f"copy {number}", backends=["buffer"])
        copy.import_(tmp_path / "file")
        ends.append((alone, *(sorted((r.id, r.text, r.key, str(r.metadata), r.version) for r in m)
                              for m in (memory, copy))))  # fmt: skip
    assert len(ends) > 1
    assert all(end == ends[0] for end in ends)
    [alone, here, there] = ends[0]
    assert here == there
    assert len(here) == len(alone) == 4 - len(forgotten)
    assert set(alone.values()) == {"question:what is nora s badge", None}


def test_records_of_one_question_that_were_read_can_be_added_as_they_are(tmp_path, open_memory):
    memory, copy = (open_memory(tmp_path / name, backends=["buffer"]) for name in "ab")
    memory.add(SAME_QUESTION)
    copy.add([Draft(r.text, r.question, r.answer, id=r.id, key=r.key) for r in memory])
    assert [(r.id, r.text, r.key) for r in copy] == [(r.id, r.text, r.key) for r in memory]


def test_an_answer_to_a_question_that_others_answer_is_not_changed_into_theirs(memory):
    memory.add(SAME_QUESTION[:2])
    other = memory.add("Mira's badge is 1.", question="What is Mira's badge?", answer="1")
    with pytest.raises(InvalidInputError, match="an answer to the same question"):
        memory.update(other.id, question="What is Nora's badge?")
    memory.forget("a")
    with pytest.raises(InvalidInputError, match="'b' of its scope, or an answer to the same"):
        memory.update(other.id, question="What is Nora's badge?")
    merged = memory.merge(["b", other.id])
    assert (merged.key, len(memory.history(merged.id))) == (other.key, 2)


def test_a_key_comes_before_or_after_the_question(memory):
    asked, key = {"question": "Who is Tom?", "answer": "A cat"}, {"key": "cat"}
    for scope, order in (({"user": "a"}, (asked, key)), ({"user": "b"}, (key, asked))):
        for options in order:
            memory.add("Tom is a cat.", scope=scope, **options)
        [record] = memory.records(scope=scope).records
        assert (record.key, record.question, record.answer) == ("cat", *asked.values())


def test_who_said_it_first_stays(memory):
    first = memory.add_turn("user", "The kite is red.", name="Ann")
    again = memory.add_turn("assistant", "The kite is red.", name="Bob")
    assert again.record_id == first.record_id
    assert memory.get(first.record_id).metadata == {"role": "user", "name": "Ann"}
    assert memory.get(first.record_id).version == 1


@pytest.mark.parametrize(
    ("text", "answer", "warned"),
    [
        ("Emil has badge 1234.", "9999", True),
        ("Emil has badge 1234.", "badge 9999", True),
        ("Emil has badge 1234.", "BADGE 1,234.0", False),
        ("The archive is upstairs.", "Yes", False),
        ("Nora lives in Oslo in Norway.", "Oslo, Norway", False),
        ("他住在北京。", "北京", False),
        ("The archive is upstairs.", "downstairs", True),
    ],
)
def test_an_answer_that_its_text_does_not_know_is_told(memory, caplog, text, answer, warned):
    record = memory.add(text, question="What is it?", answer=answer)
    assert record.answer == answer
    assert bool(caplog.records) == warned
    if warned:
        expected = f"the text of the record {record.id} does not say the answer to its question"
        assert expected in caplog.text
        assert "put the answer into the text" in caplog.text
        assert answer not in caplog.text


def test_duplicates_are_told_apart_by_scope(memory):
    records = [
        memory.add("The same."),
        memory.add("The same.", scope={"user": "u1"}),
        memory.add("The same.", scope={"user": "u2"}),
    ]
    assert len({record.id for record in records}) == 3
    assert memory.add("The same.", scope={"user": "u1"}) == records[1]


def test_pages_follow_one_another(memory):
    memory.add([f"fact {n}" for n in range(5)], metadata={"kind": "fact"})
    memory.add("other", scope={"user": "u1"})
    first = memory.records(scope="all", limit=4)
    second = memory.records(scope="all", limit=4, after=first.next)
    texts = [record.text for page in (first, second) for record in page.records]
    assert texts == ["fact 0", "fact 1", "fact 2", "fact 3", "fact 4", "other"]
    assert second.next is None
    assert [r.text for r in memory.records(scope={"user": "u1"}).records] == ["other"]
    assert len(memory.records(where={"kind": "fact"}).records) == 5
    with pytest.raises(InvalidInputError, match="`limit` must be an integer of at least 1, got 0"):
        memory.records(limit=0)
    with pytest.raises(InvalidInputError, match="`after` must be the `next` of a page"):
        memory.records(after="next")


# -- a long text


def test_a_text_of_a_megabyte_is_stored_found_and_kept_to_the_budget(tmp_path, open_memory):
    memory = open_memory(tmp_path / "long", count_tokens=lambda text: len(text.split()))
    filler = "The harbour office keeps its ledgers in order and says so every day. "
    half = filler * (500_000 // len(filler))
    text = half + "The password of the lighthouse is kestrel. " + half
    assert len(text) > 990_000
    record = memory.add(text)
    hits = memory.search("password of the lighthouse", k=3)
    assert [hit.id for hit in hits] == [record.id]
    assert "lighthouse is kestrel" in hits[0].text
    assert text[hits[0].start : hits[0].end] == hits[0].text
    recall = memory.recall("password of the lighthouse", budget=200)
    assert "kestrel" in recall.text
    assert recall.tokens == len(recall.text.split()) <= 200
    tight = memory.recall("password of the lighthouse", budget=20)
    assert (tight.text, tight.hits, tight.omitted) == ("", (), 1)


def test_a_text_that_is_too_long_is_refused(memory):
    with pytest.raises(InvalidInputError, match="at most 2,000,000 characters, got 2,000,001"):
        memory.add("x" * 2_000_001)
    assert stored(memory) == []


# -- bad input


@pytest.mark.parametrize("blank", ["", " ", "\n\t\u2003"])
def test_blank_texts_are_refused(memory, blank):
    for arguments in (
        {"text": blank},
        {"text": ["fine", blank]},
        {"text": "fine", "question": blank, "answer": "a"},
        {"text": "fine", "question": "q", "answer": blank},
        {"text": "fine", "id": blank},
    ):
        with pytest.raises(InvalidInputError, match=r"`\w+` must not be empty or blank"):
            memory.add(**arguments)
    with pytest.raises(InvalidInputError, match="`content` must not be empty or blank"):
        memory.add_turn("user", blank)
    assert stored(memory) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"text": "a\0b"}, "`text` must not contain NUL characters, found one at position 1"),
        ({"text": "a\ud800b"}, r"`text` must be valid Unicode, found the lone surrogate '\\ud800'"),
        ({"text": "a", "question": "q"}, "`question` was given without `answer`"),
        ({"text": "a", "answer": "x"}, "`answer` was given without `question`"),
        ({"text": "a", "metadata": {"x": float("nan")}}, "`metadata.x` must be a JSON value"),
        ({"text": "a", "metadata": {1: 2}}, "keys of `metadata` must be strings, got int: 1"),
        ({"text": "a", "metadata": [1]}, r"`metadata` must be a mapping, got list: \[1\]"),
        ({"text": "a", "id": 7}, "`id` must be a string, got int: 7"),
        ({"text": "a", "scope": {1: "u"}}, "keys and values of `scope` must be non-empty strings"),
        ({"text": "a", "scope": {"user": 1}}, "must be non-empty strings, got 'user': 1"),
        ({"text": "a", "scope": {"": "u"}}, "must be non-empty strings, got '': 'u'"),
        ({"text": "a", "scope": "u1"}, "`scope` must be a mapping, got the string 'u1'"),
        ({"text": "a", "scope": None}, "`scope` must be a mapping, got None"),
        ({"text": "a", "scope": dict.fromkeys("abcdefg", "x")}, "at most 6 keys, got 7"),
        ({"text": None}, "expected `text` to be a string or a list .*, got None"),
        ({"text": b"bytes"}, "expected `text` to be a string or a list .*, got bytes: b'bytes'"),
        ({"text": [7]}, "`text` must be a string, got int: 7"),
        ({"text": ["a"], "id": "x"}, "`question`, `answer`, `id` and `key` belong to a single"),
        ({"text": ["a"], "key": "x"}, "`question`, `answer`, `id` and `key` belong to a single"),
        ({"text": "a", "key": " "}, "`key` must not be empty or blank"),
        ({"text": "a", "ttl": 0}, "`ttl` must be at least 1 second"),
        ({"text": "a", "ttl": True}, "`ttl` must be seconds or a timedelta, got bool: True"),
        ({"text": "a", "ttl": float("nan")}, "`ttl` must be at least 1 second"),
        ({"text": "a", "ttl": 5, "pinned": True}, "what is pinned does not expire"),
        ({"text": "a", "at": datetime(2026, 1, 1)}, "`at` must have a time zone, got the naive"),
        ({"text": "a", "at": "today"}, "`at` must be a datetime, got the string .today."),
        ({"text": [Draft("a")], "scope": {"user": "u1"}}, "and `at` belong to plain texts"),
        ({"text": [Draft("a"), "b"], "metadata": {"a": 1}}, "and `at` belong to plain texts"),
        ({"text": [Draft("a")], "ttl": 9}, "and `at` belong to plain texts"),
    ],
)
def test_what_cannot_be_stored_is_refused(memory, arguments, message):
    with pytest.raises(InvalidInputError, match=message):
        memory.add(**arguments)
    assert stored(memory) == []


def test_a_taken_id_is_refused(memory):
    record = memory.add("one", id="the-id")
    with pytest.raises(InvalidInputError, match="`id` 'the-id' is in use"):
        memory.add("two", id="the-id")
    with pytest.raises(InvalidInputError, match="`id` 'x' is in use"):
        memory.add([Draft("three", id="x"), Draft("four", id="x")])
    assert memory.add("one", id="the-id") == record
    assert stored(memory) == ["one"]


@pytest.mark.parametrize("content", ["OK", "The lift is red."])  # small talk makes no record
def test_the_id_of_a_turn_is_taken(memory, content):
    turn = memory.add_turn("user", content)
    before = memory.count()
    with pytest.raises(InvalidInputError, match="is in use"):
        memory.add("Code 77 opens the door.", id=turn.id)
    assert memory.count() == before
    assert memory.forget(turn.id).turns == 1


@pytest.mark.parametrize(
    "bad",
    [
        Draft("b" * 2_000_001),
        Draft("b", scope={"user": ""}),
        Draft("b", id="taken"),
        Draft("poison"),
    ],
    ids=["text", "scope", "id", "vector"],
)
def test_a_list_is_stored_as_a_whole_or_not_at_all(tmp_path, open_memory, bad):
    memory = open_memory(tmp_path / "m", embedder=Stumbling(nan))
    memory.add("before", id="taken")
    drafts = [*(Draft(f"fact {n}") for n in range(300)), bad]
    with pytest.raises(InvalidInputError):
        memory.add(drafts)
    assert stored(memory) == ["before"]
    assert memory.stats().passages == 1


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (nan, NonFiniteError, "expected finite vectors, but row 0 holds NaN or infinity"),
        (lambda rows: rows / 0.0, NonFiniteError, "expected finite vectors"),
        (lambda rows: rows * 2, InvalidInputError, "expected vectors of length 1, got one of"),
        (lambda rows: rows[:, 1:], DimensionMismatchError, r"expected vectors of shape \(1, 64\)"),
        (lambda rows: rows[1:], InvalidInputError, "expected one vector for each of 1 texts"),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_bad_embedder_stores_nothing(tmp_path, open_memory, spoil, error, message):
    memory = open_memory(tmp_path / "m", embedder=Stumbling(spoil), count_tokens=len)
    memory.add("good")
    before = memory.stats()
    for write in (
        lambda: memory.add("poison"),
        lambda: memory.add_turn("user", "poison"),
        lambda: memory.update(memory.records().records[0].id, "poison"),
        lambda: memory.search("poison"),
        lambda: memory.recall("poison"),
    ):
        with pytest.raises(error, match=message):
            write()
    after = memory.stats()
    assert (after.records, after.versions, after.turns, after.passages) == (
        before.records,
        before.versions,
        before.turns,
        before.passages,
    )
    assert [hit.text for hit in memory.search("good")] == ["good"]


def test_unknown_ids_are_named(memory):
    record = memory.add("private", scope={"user": "u1"})
    for read in (
        lambda: memory.get("no-such-id"),
        lambda: memory.history("no-such-id"),
        lambda: memory.update("no-such-id", "text"),
        lambda: memory.forget("no-such-id"),
    ):
        with pytest.raises(RecordNotFoundError, match="no record has the id") as caught:
            read()
        assert "Check the id and the scope" in caught.value.hint
    for scope in ({}, {"user": "u2"}):
        with pytest.raises(RecordNotFoundError, match=re.escape(repr(record.id))):
            memory.get(record.id, scope=scope)
        with pytest.raises(RecordNotFoundError, match=re.escape(repr(record.id))):
            memory.history(record.id, scope=scope)
    assert memory.get(record.id, scope={"user": "u1", "session": "s1"}) == record


def test_a_full_disk_leaves_what_was_there(tmp_path, open_memory):
    memory = open_memory(tmp_path / "m")
    record = memory.add("The badge of Nora is 4471.")
    database = memory._engine.ledger._database
    database.execute(f"PRAGMA max_page_count = {database.value('PRAGMA page_count') + 5}")
    with pytest.raises(DiskFullError, match=r"no room left .* stored before is intact"):
        memory.add([f"{n} " + "x" * 1000 for n in range(1000)])
    assert stored(memory) == ["The badge of Nora is 4471."]
    assert [hit.id for hit in memory.search("badge")] == [record.id]
    memory.close()
    memory = open_memory(tmp_path / "m")
    assert [hit.id for hit in memory.search("badge")] == [record.id]
    memory.add("and after")
    assert memory.search("after")[0].text == "and after"


# -- turns


def test_turns_come_back_in_order_and_become_records(memory):
    scope = {"user": "u1", "session": "s1"}
    memory.add_turn("system", "Be brief.", scope=scope)
    first = memory.add_turn("user", "My locker is number 17.", scope=scope)
    memory.add_turn("assistant", "Noted.", scope=scope, remember=False)
    turns = memory.turns(scope=scope)
    assert [(turn.role, turn.content) for turn in turns] == [
        ("system", "Be brief."),
        ("user", "My locker is number 17."),
        ("assistant", "Noted."),
    ]
    assert stored(memory) == ["My locker is number 17."]
    (record,) = memory.records(scope="all").records
    assert (record.scope, record.metadata) == (scope, {"role": "user"})
    assert [turn.record_id for turn in turns] == [None, record.id, None]
    assert first.record_id == record.id
    assert memory.turns(scope={"user": "u1"}) == []
    assert [turn.content for turn in memory.turns(scope=scope, limit=1)] == ["Noted."]


def test_several_turns_are_added_in_order_with_their_records(memory):
    scope = {"user": "u1"}
    added = memory.add_turns(
        [
            TurnDraft("system", "Be brief."),
            TurnDraft("user", "My locker is number 17.", name="Ann"),
            TurnDraft("assistant", "Noted.", remember=False),
            TurnDraft("user", "My locker is number 17."),
        ],
        scope=scope,
    )
    assert memory.turns(scope=scope) == added
    assert [(turn.role, turn.content, turn.name) for turn in added] == [
        ("system", "Be brief.", None),
        ("user", "My locker is number 17.", "Ann"),
        ("assistant", "Noted.", None),
        ("user", "My locker is number 17.", None),
    ]
    (record,) = memory.records(scope=scope).records  # what is said twice is one fact
    assert [turn.record_id for turn in added] == [None, record.id, None, record.id]
    assert record.metadata == {"role": "user", "name": "Ann"}
    assert memory.add_turns([]) == []


def test_a_turn_with_an_id_is_added_to_its_conversation_once(memory):
    first, again, other = (TurnDraft("user", "Yes.", id=id) for id in ("m1", "m1", "m2"))
    ann, bob = {"user": "ann"}, {"user": "bob"}
    assert len(memory.add_turns([first, again], scope=ann)) == 1
    assert len(memory.add_turns([first, other], scope=ann)) == 1
    assert len(memory.add_turns([first], scope=bob)) == 1
    assert [turn.content for turn in memory.turns(scope=ann)] == ["Yes.", "Yes."]
    memory.add_turns([TurnDraft("user", "Yes.")] * 2, scope=ann)
    assert len(memory.turns(scope=ann)) == 4
    log = [{"role": "user", "content": "Yes.", "id": "m2"}]
    assert memory.add_messages(log, scope=ann).known == 1


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (TurnDraft("wizard", "hello"), "turn 1: `role` must be one of"),
        (TurnDraft("user", " "), "turn 1: `content` must not be empty"),
        (TurnDraft("user", "a\0"), "turn 1: `content` must not contain NUL"),
        (TurnDraft("user", "a", name=""), "turn 1: `name` must not be empty"),
        (TurnDraft("user", "a", id=3), "turn 1: `id` must be"),
        (TurnDraft("user", "a", at=datetime(2026, 1, 1)), "turn 1: `at` must have a time zone"),
        ("hello", "turn 1: `turn` must be a `TurnDraft`, got the string 'hello'"),
    ],
)
def test_one_bad_turn_refuses_all(memory, bad, message):
    with pytest.raises(InvalidInputError, match=message):
        memory.add_turns([TurnDraft("user", "hello"), bad])
    assert (memory.stats().records, memory.stats().turns) == (0, 0)


def test_a_repeated_turn_is_one_record(memory):
    first, second = (memory.add_turn("user", "At noon.", scope={"user": "u1"}) for _ in range(2))
    assert first.id != second.id
    assert first.record_id == second.record_id
    assert memory.stats().turns == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("robot", "hello"), "`role` must be one of .*, got 'robot'"),
        (("user", 7), "`content` must be a string, got int: 7"),
        (("user", "a\0b"), "`content` must not contain NUL"),
    ],
)
def test_a_bad_turn_leaves_no_record_either(memory, arguments, message):
    with pytest.raises(InvalidInputError, match=message):
        memory.add_turn(*arguments)
    with pytest.raises(InvalidInputError, match="`scope` must be a mapping"):
        memory.add_turn("user", "hello", scope=["u1"])
    assert (memory.stats().records, memory.stats().turns) == (0, 0)
