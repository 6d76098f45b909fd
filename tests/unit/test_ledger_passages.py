from __future__ import annotations

import math
import random
import string
from collections import Counter

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from memkit.errors import (
    DimensionMismatchError,
    InvalidInputError,
    NonFiniteError,
    RecordNotFoundError,
)
from memkit.ledger import Change, Ledger, NewPassage, Passage
from memkit.ledger.engine.postgres.pg_words import stems
from memkit.ledger.passages import passage_table as passages
from memkit.text.scripts import terms
from memkit.types import Draft
from memkit.types.validate import normal_form

pytestmark = pytest.mark.engines

DIM = 4


def passage(text, *, seed=0, start=0, kind="text", dim=DIM):
    vector = np.random.default_rng(seed).normal(size=dim).astype(np.float32)
    return NewPassage(kind, start, start + len(text), text, vector)


def add(ledger, *texts, scope=None, metadata=None):
    """Store each text as a record with one passage."""
    drafts = [Draft(text=t, scope=scope or {}, metadata=metadata or {}) for t in texts]
    records = ledger.records.add(drafts)
    for n, record in enumerate(records):
        ledger.passages.insert({record.id: [passage(record.text, seed=n)]})
    return records


def found(ledger, query, *, k=10, visible_to=None, where=None):
    """The texts that a lexical search finds, best first."""
    hits = ledger.passages.lexical(query, k=k, visible_to=visible_to or {}, where=where)
    assert [score for _, score in hits] == sorted((score for _, score in hits), reverse=True)
    stored = ledger.passages.get([key for key, _ in hits])
    return [stored[key].text for key, _ in hits]


def index_words(ledger):
    """Every word that the full-text index still has, asked from the database itself."""
    if "://" in str(ledger.place):
        return set(ledger._database.column("SELECT DISTINCT word FROM word_counts"))
    with ledger.transaction():
        ledger._database.execute(
            "CREATE VIRTUAL TABLE IF NOT EXISTS temp.words "
            "USING fts5vocab('main', 'passages_fts', 'row')"
        )
    return set(ledger._database.column("SELECT term FROM temp.words"))


def check_index(ledger):
    """Compare the index of words with the passages; SQLite does that by itself."""
    if "://" in str(ledger.place):
        passages = ledger._database.rows("SELECT key, words FROM passages")
        counts = stems([words for _, words in passages])
        expected = {
            (word, key, times, own.total())
            for (key, _), own in zip(passages, counts, strict=True)
            for word, times in own.items()
        }
        assert expected == set(ledger._database.rows("SELECT * FROM word_counts"))
        return
    with ledger.transaction():
        ledger._database.execute(
            "INSERT INTO passages_fts (passages_fts, rank) VALUES ('integrity-check', 1)"
        )


def test_passages_are_read_back_as_they_were_given(ledger):
    [record] = ledger.records.add([Draft(text="abc def 👋", question="q", answer="a")])
    new = [
        passage("abc", seed=1),
        passage("def 👋", seed=2, start=4),
        passage("q", kind="question"),
    ]
    ledger.passages.insert({record.id: new})
    assert ledger.passages.get([1, 2, 3, 99]) == {
        1: Passage(1, record.id, "text", 0, 3, "abc"),
        2: Passage(2, record.id, "text", 4, 9, "def 👋"),
        3: Passage(3, record.id, "question", 0, 1, "q"),
    }
    keys, vectors = ledger.passages.vectors(np.array([3, 99, 1]))
    assert (keys.dtype, vectors.dtype) == (np.int64, np.float32)
    assert keys.tolist() == [1, 3]
    np.testing.assert_array_equal(vectors, np.stack([new[0].vector, new[2].vector]))
    assert ledger.passages.count() == 3


def test_no_vectors_have_no_dimension(ledger):
    keys, vectors = ledger.passages.vectors([1, 2])
    assert (keys.shape, vectors.shape) == ((0,), (0, 0))
    assert ledger.passages.get([]) == {}


def test_inserting_replaces_and_keys_are_never_used_twice(ledger):
    [record] = add(ledger, "one")
    ledger.passages.insert({record.id: [passage("two"), passage("three")]})
    assert set(ledger.passages.get(range(10))) == {2, 3}
    ledger.passages.insert({record.id: []})
    assert ledger.passages.count() == 0
    ledger.passages.insert({record.id: [passage("four")]})
    assert set(ledger.passages.get(range(10))) == {4}
    assert found(ledger, "one two three four") == ["four"]


def test_the_feed_tells_every_change_in_order(ledger):
    assert (ledger.passages.last_change(), ledger.passages.changes(0)) == (0, [])
    a, b = add(ledger, "a", "b")
    ledger.passages.insert({a.id: [passage("a")]})
    ledger.records.delete([b.id])
    expected = [(1, True), (2, True), (1, False), (3, True), (2, False)]
    assert ledger.passages.changes(0) == [
        Change(seq, key, added) for seq, (key, added) in enumerate(expected, start=1)
    ]
    assert ledger.passages.changes(3, limit=1) == [Change(4, 3, True)]
    assert ledger.passages.last_change() == 5
    ledger.records.delete([a.id])
    assert ledger.passages.changes(5) == [Change(6, 3, False)]


def test_what_is_rolled_back_leaves_no_change(ledger, undone):
    [record] = add(ledger, "word")
    with undone(ledger):
        ledger.passages.insert({record.id: [passage("other")]})
        assert found(ledger, "word other") == ["other"]
    assert ledger.passages.last_change() == 1
    assert found(ledger, "word other") == ["word"]


def test_vectors_that_cannot_be_are_refused(ledger):
    [record, other] = add(ledger, "a", "b")
    for bad in (math.nan, math.inf):
        broken = passage("x")
        broken.vector[1] = bad
        with pytest.raises(NonFiniteError, match="1 NaN or infinite values of 4"):
            ledger.passages.insert({record.id: [passage("y"), broken]})
    with pytest.raises(DimensionMismatchError, match="expected vectors of dimension 4, got 5"):
        ledger.passages.insert({record.id: [passage("x", dim=5)]})
    with pytest.raises(InvalidInputError, match=r"shape \(dim,\), got \(1, 4\)"):
        ledger.passages.insert(
            {record.id: [NewPassage("text", 0, 1, "x", np.ones((1, 4), dtype=np.float32))]}
        )
    with pytest.raises(RecordNotFoundError, match="no record has the id 'x'"):
        ledger.passages.insert({"x": []})
    assert ledger.passages.count() == 2
    ledger.passages.insert({record.id: [], other.id: []})
    ledger.passages.insert({record.id: [passage("x", dim=5)]})
    with pytest.raises(DimensionMismatchError, match="expected vectors of dimension 5, got 4"):
        ledger.passages.insert({other.id: [passage("y")]})


def test_keys_are_none_where_everything_is_allowed(ledger):
    assert ledger.passages.keys(visible_to={}, where=None) is None
    add(ledger, "shared")
    assert ledger.passages.keys(visible_to={}, where=None) is None
    add(ledger, "mine", scope={"user": "u1"})
    assert ledger.passages.keys(visible_to={"user": "u1", "session": "s"}, where=None) is None
    allowed = ledger.passages.keys(visible_to={}, where=None)
    assert (allowed.dtype, allowed.tolist()) == (np.int64, [1])
    assert ledger.passages.keys(visible_to={"user": "u1"}, where={}).tolist() == [1, 2]


SCOPES = st.dictionaries(st.sampled_from("abc"), st.sampled_from("xy"))


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    ledger = Ledger.open(tmp_path_factory.mktemp("empty") / "m")
    yield ledger
    ledger.close()


@pytest.mark.slow
@given(st.lists(SCOPES, max_size=8), SCOPES)
def test_keys_agree_with_the_definition_of_visible(empty, undone, scopes, asked):
    with undone(empty):
        for n, scope in enumerate(scopes, start=1):
            add(empty, f"text {n}", scope=scope)
        expected = [n for n, scope in enumerate(scopes, start=1) if scope.items() <= asked.items()]
        allowed = empty.passages.keys(visible_to=asked, where=None)
        assert allowed is None if len(expected) == len(scopes) else allowed.tolist() == expected
        assert sorted(found(empty, "text", visible_to=asked)) == [f"text {n}" for n in expected]


def test_filters_narrow_keys(ledger):
    add(ledger, "a", metadata={"source": "hr"})
    add(ledger, "b", metadata={"source": "it"})
    assert ledger.passages.keys(visible_to={}, where={"source": "it"}).tolist() == [2]
    assert ledger.passages.keys(visible_to={}, where={"source": "x"}).tolist() == []


def bm25(query, documents, k1=1.2, b=0.75):
    """BM25 as the literature has it, with the floor that SQLite puts under the idf."""
    bags = [Counter(document.split()) for document in documents]
    mean = sum(map(len, (d.split() for d in documents))) / len(documents)
    scores = []
    for bag in bags:
        score = 0.0
        for word in query.split():
            n = sum(word in other for other in bags)
            idf = max(math.log((len(bags) - n + 0.5) / (n + 0.5)), 1e-6)
            length = sum(bag.values())
            score += idf * bag[word] * (k1 + 1) / (bag[word] + k1 * (1 - b + b * length / mean))
        scores.append(score)
    return scores


def test_scores_are_bm25(ledger):
    rng = random.Random(7)
    words = ["zol", "kam", "dur", "vip", "rax", "mun", "pyx"]
    documents = [" ".join(rng.choices(words, k=rng.randint(2, 12))) for _ in range(30)]
    documents = list(dict.fromkeys(documents))
    add(ledger, *documents)
    query = "rax pyx"
    hits = ledger.passages.lexical(query, k=100, visible_to={}, where=None)
    expected = bm25(query, documents)
    assert {key for key, _ in hits} == {n + 1 for n, score in enumerate(expected) if score > 0}
    np.testing.assert_allclose(
        [score for _, score in hits],
        sorted((s for s in expected if s > 0), reverse=True),
        rtol=1e-9,
    )
    for key, score in hits:
        assert score == pytest.approx(expected[key - 1], rel=1e-9)


def test_common_words_of_english_count_less(ledger):
    documents = ["the phone of badge 4471", "velmora badge badge", "phone phone velmora 4471"]
    add(ledger, *documents)
    # Zipf frequencies in English: phone 5.30, badge 4.02; "velmora" is no word, 4471 is a number.
    weights = {"phone": 0.3, "badge": 0.4, "velmora": 1.0, "4471": 1.0}
    expected = [0.0] * 3
    for word, weight in weights.items():
        for place, score in enumerate(bm25(word, documents)):
            expected[place] += weight * score
    rows = ledger.passages.by_words("phone badge velmora 4471", k=9, among=None)
    assert {key: pytest.approx(expected[key - 1], rel=1e-9) for key, _ in rows} == dict(rows)


def test_in_a_large_memory_the_rarest_words_lead_to_what_is_scored(ledger, monkeypatch):
    monkeypatch.setattr(passages, "SCORED", 10)
    monkeypatch.setattr(passages, "FOUND", 20)
    texts = [f"zol {'kam' if n < 8 else 'dur'} {'vip ' * (n < 2)}{n}" for n in range(30)]
    add(ledger, *texts)
    # "vip" and "kam" are in 10 passages together; "zol" would lead to 30 more.
    assert set(found(ledger, "zol kam vip", k=30)) == set(texts[:8])
    rows = ledger.passages.by_words("zol kam vip", k=30, among=None)
    kam, vip = bm25("kam", texts), bm25("vip", texts)  # Zipf frequencies 3.06 and 3.76
    scores = [0.7 * x + 0.5 * y for x, y in zip(kam, vip, strict=True)]
    assert {key: pytest.approx(scores[key - 1], rel=1e-9) for key, _ in rows} == dict(rows)
    # Alone, a common word counts. Among few passages more words do.
    assert len(found(ledger, "zol", k=99)) == 30
    among = np.array([1, 8, 20])
    both = ledger.passages.by_words("kam dur", k=9, among=among)
    assert {key for key, _ in both} == {1, 8}  # "dur" is in 22
    wide = np.arange(5, 20)
    some = ledger.passages.by_words("kam vip", k=9, among=wide)
    assert {key for key, _ in some} == {5, 6, 7, 8}


def test_words_are_looked_for_in_a_few_passages(ledger):
    texts = ["red lift", "red red door", "green door", "a red one", "nothing"]
    add(ledger, *texts)
    results = ledger.passages.each_word(["red", "door", "absent"], np.array([2, 3, 4]))
    assert [(count, keys.tolist()) for count, keys, _ in results] == [
        (3, [2, 4]),
        (2, [2, 3]),
        (0, []),
    ]
    for word, (_, keys, scores) in zip(["red", "door", "absent"], results, strict=True):
        expected = bm25(word, texts)
        np.testing.assert_allclose(scores, [expected[key - 1] for key in keys], rtol=1e-9)


def test_words_are_found_in_any_form(ledger):
    add(ledger, "The porters' badges were printed", "Das Café am Fluß", "nothing of the kind")
    assert found(ledger, "badge printing porter") == ["The porters' badges were printed"]
    assert found(ledger, "BADGE") == ["The porters' badges were printed"]
    assert found(ledger, "cafe") == ["Das Café am Fluß"]
    assert found(ledger, "cafe\u0301") == ["Das Café am Fluß"]
    assert found(ledger, "fluß") == ["Das Café am Fluß"]


def test_one_word_is_enough_and_more_are_better(ledger):
    add(ledger, "alpha", "alpha beta", "gamma", *(f"filler {n}" for n in range(9)))
    assert found(ledger, "alpha beta delta") == ["alpha beta", "alpha"]


def test_stop_words_count_only_if_there_is_nothing_else(ledger):
    add(ledger, "what is the matter", "a badge", "to be or not to be")
    assert found(ledger, "what is the badge?") == ["a badge"]
    assert found(ledger, "What IS the") == ["what is the matter"]
    assert found(ledger, "to be, or not to be") == ["to be or not to be"]


def test_ties_go_by_id_which_is_by_age(ledger):
    add(ledger, *(f"same {letter}" for letter in "abcdefgh"))
    hits = ledger.passages.lexical("same", k=5, visible_to={}, where=None)
    assert [key for key, _ in hits] == [1, 2, 3, 4, 5]


def test_k_hits_come_back_whenever_k_exist(ledger):
    add(ledger, *(f"badge badge badge {n}" for n in range(60)), scope={"user": "u1"})
    add(ledger, *(f"badge and some more words {n}" for n in range(3)), scope={"user": "u2"})
    add(ledger, *(f"badge number {n}" for n in range(40)), metadata={"n": 1})
    assert len(found(ledger, "badge", k=3, visible_to={"user": "u2"}, where={"n": {"$ne": 1}})) == 3
    assert len(found(ledger, "badge", k=43, visible_to={"user": "u2"})) == 43
    assert len(found(ledger, "badge", k=1000, visible_to={"user": "u2"})) == 43
    assert found(ledger, "badge", visible_to={"user": "u3"}, where={"n": 2}) == []


@pytest.mark.parametrize("k", [0, -3, 2.0, True, None])
def test_odd_k_is_refused(ledger, k):
    with pytest.raises(InvalidInputError, match="`k` must be an integer of at least 1, got"):
        ledger.passages.lexical("badge", k=k, visible_to={}, where=None)


ODD_QUERIES = [
    "", " ", "???", '"', "'", "badge\"", "AND", "OR", "NOT", "NEAR(badge, 3)", "badge*", "^badge",
    "text:badge", "-badge", "(badge", "badge) OR (", "{badge}", "badge AND NOT", "\0", "bad\0ge",
    "\ud800", "😀", "+", "badge; DROP TABLE records", "%", "_", "a" * 100_000, "badge " * 50_000,
    " ".join(f"w{n}" for n in range(5000)),
]  # fmt: skip


@pytest.mark.parametrize("query", ODD_QUERIES, ids=range(len(ODD_QUERIES)))
def test_no_query_is_malformed(ledger, query):
    add(ledger, "a badge")
    hits = found(ledger, query)
    letters = [w.strip(string.punctuation + "\0") for w in query.replace("\0", " ").split()]
    if "badge" in letters:
        assert hits == ["a badge"]


@given(st.text(max_size=40))
def test_any_text_is_a_query(indexed, query):
    indexed.passages.lexical(query, k=3, visible_to={}, where=None)


@given(st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=12))
def test_a_word_finds_the_text_that_is_just_this_word(indexed, undone, word):
    assume(terms(word))  # of signs that only draw a word longer nothing is left
    with undone(indexed):
        add(indexed, word)
        assert normal_form(word) in found(indexed, word, k=1000)


@pytest.fixture(scope="module")
def indexed(tmp_path_factory):
    ledger = Ledger.open(tmp_path_factory.mktemp("indexed") / "m")
    add(ledger, "a badge", "another text with AND and NEAR in it")
    yield ledger
    ledger.close()


def test_deleting_records_cleans_the_word_index(ledger):
    keep, gone = add(ledger, "keeper alpha", "goner omega")
    many = add(ledger, *(f"bulk{n} item" for n in range(50)))
    ledger.records.delete([gone.id, *(record.id for record in many)])
    assert index_words(ledger) == {"keeper", "alpha"}
    check_index(ledger)
    ledger.records.update(keep.id, text="changed", question=None, answer=None, metadata={})
    assert index_words(ledger) == set()
    ledger.passages.insert({keep.id: [passage("changed beta")]})
    assert index_words(ledger) == {"chang", "beta"}
    check_index(ledger)
    ledger.records.delete([keep.id])
    assert index_words(ledger) == set()
    check_index(ledger)
    assert ledger._database.value("SELECT count(*) FROM vectors") == 0
