"""The fact index: what it embeds, finds, shows, keeps in a file, and refuses."""

import errno
import logging
import math
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memkit.errors import (
    BusyError,
    DimensionMismatchError,
    IncompatibleModelError,
    InvalidInputError,
    NonFiniteError,
    ReadOnlyError,
)
from memkit.ledger import Ledger
from memkit.rag.fusion import Ranking
from memkit.rag.index import FactIndex
from memkit.rag.search import Search
from memkit.testing import HashingEmbedder
from memkit.types import Draft, Query

PORTER = Draft("The night porter's badge number is 4471.")
ARCHIVE = Draft("The archive is on the third floor.")
HARBOUR = Draft(
    "Ada Lovelace runs the harbour office.",
    question="Who is in charge at the pier?",
    answer="Ada Lovelace",
)


class FixedEmbedder:
    """Knows the vector of every text beforehand; counts what it is asked."""

    name = "fixed"

    def __init__(self, vectors, dim=3):
        self.vectors = vectors
        self.dim = dim
        self.asked = []

    def encode_query(self, texts, /):
        self.asked += texts
        return np.array([self.vectors[text] for text in texts], np.float32)

    encode_document = encode_query


@pytest.fixture
def facts(ledger):
    return FactIndex(ledger, HashingEmbedder())


def add(facts, ledger, *drafts):
    prepared = facts.prepare(drafts)
    with ledger.transaction():
        records = ledger.records.add(drafts)
        facts.write(records, prepared)
    return [record.id for record in records]


def found(facts, text, **arguments):
    return [hit.id for hit in facts.search(Query(text, **arguments))]


# -- prepare and write


def test_prepare_makes_passages_of_text_and_question(facts):
    text = "First sentence of it. " * 60
    (long,), (asked,) = facts.prepare([Draft(text)]), facts.prepare([HARBOUR])
    assert len(long) == 2
    assert [passage.kind for passage in asked] == ["text", "question"]
    assert asked[1].text == HARBOUR.question
    for passage in [*long, asked[0]]:
        source = text if passage in long else HARBOUR.text
        assert passage.text == source[passage.start : passage.end]
        np.testing.assert_allclose(
            passage.vector, HashingEmbedder().encode_document([passage.text])[0], atol=1e-6
        )


def test_prepare_of_nothing(facts):
    assert facts.prepare([]) == []


@pytest.mark.parametrize(
    ("vectors", "error", "message"),
    [
        ([[np.nan, 0, 1]], NonFiniteError, "row 0 holds NaN"),
        ([[1, 0]], DimensionMismatchError, r"shape \(1, 3\), got \(1, 2\)"),
        ([[1, 0, 0], [0, 1, 0]], InvalidInputError, "each of 1 texts, got 2"),
        ([[3, 0, 0]], InvalidInputError, "length 1, got one of length 3"),
    ],
)
def test_a_bad_embedder_is_noticed_before_anything_is_written(ledger, vectors, error, message):
    class Bad(FixedEmbedder):
        def encode_document(self, texts, /):
            return np.array(vectors, np.float32)

    facts = FactIndex(ledger, Bad({}))
    with pytest.raises(error, match=message):
        add(facts, ledger, PORTER)
    assert (ledger.records.count(), ledger.passages.count()) == (0, 0)
    assert ledger.get_meta("embedder") is None


def test_write_replaces_the_passages_of_a_record(facts, ledger):
    ids = add(facts, ledger, PORTER, HARBOUR)
    facts.write(ledger.records.get(ids))
    assert ledger.passages.count() == 3
    assert found(facts, "badge number", k=1) == ids[:1]


# -- search


def test_finds_by_words_and_shows_a_slice(facts, ledger):
    ids = add(facts, ledger, PORTER, ARCHIVE, HARBOUR)
    hit = facts.search(Query("night porter badge", k=1))[0]
    assert hit.id == ids[0]
    assert hit.text == hit.record.text[hit.start : hit.end] == PORTER.text


def test_similarity_is_the_cosine_of_the_best_passage(facts, ledger):
    add(facts, ledger, PORTER, HARBOUR)
    embed = HashingEmbedder().encode_query
    query = "who is at the pier?"
    hit = next(hit for hit in facts.search(Query(query)) if hit.record.text == HARBOUR.text)
    cosines = embed([HARBOUR.text, HARBOUR.question]) @ embed([query])[0]
    assert hit.similarity == pytest.approx(cosines.max(), abs=1e-6)
    assert cosines.argmax() == 1  # it was the question that matched
    assert hit.text == HARBOUR.text  # but a slice of the text is shown


def test_scores_are_weighted_sums_of_cosine_and_bm25(ledger):
    texts = ["tea", "rope", "salt rope"]
    vectors = {"tea": [1, 0, 0], "rope": [0.6, 0.8, 0], "salt rope": [0, 1, 0]}
    embedder = FixedEmbedder({**vectors, "salt": [1, 0, 0]})
    facts = FactIndex(ledger, embedder, ranking=Ranking(meaning=2.0, words=3.0))
    ids = add(facts, ledger, *map(Draft, texts))
    hits = {hit.id: hit for hit in facts.search(Query("salt"))}
    # BM25 of one word that one of three passages has; their mean length is 4 / 3 words.
    bm25 = math.log((3 - 1 + 0.5) / (1 + 0.5)) * 2.2 / (1 + 1.2 * (0.25 + 0.75 * 2 / (4 / 3)))
    bm25 *= 0.3  # "salt" is a common word
    expected = [(2 * 1.0, 0.0), (2 * 0.6, 0.0), (2 * 0.0, 3 * bm25 / math.log(4))]
    for id, (meaning, words) in zip(ids, expected, strict=True):
        assert hits[id].parts == pytest.approx({"meaning": meaning, "words": words}, abs=1e-6)
        assert hits[id].score == pytest.approx(meaning + words, abs=1e-6)
    assert list(hits) == [ids[0], ids[1], ids[2]]


def test_the_passage_that_both_rankings_prefer_is_shown(facts, ledger):
    filler = "Nothing of interest happened on that day in the town. " * 15
    text = filler + "The lighthouse keeper is called Magnus. " + filler
    ids = add(facts, ledger, Draft(text), PORTER)
    hit = facts.search(Query("name of the lighthouse keeper", k=1))[0]
    assert hit.id == ids[0]
    assert "Magnus" in hit.text
    assert hit.start > 0
    assert hit.text == text[hit.start : hit.end]


def test_equal_texts_come_oldest_first(facts, ledger):
    scopes = [{}, {"user": "u"}, {"team": "t"}, {"user": "u", "team": "t"}]
    ids = add(facts, ledger, *(Draft(PORTER.text, scope=scope) for scope in scopes))
    assert found(facts, "badge", scope={"user": "u", "team": "t"}) == ids
    assert found(facts, "badge", scope={"user": "u", "team": "t"}, k=2) == ids[:2]
    assert found(facts, "badge", scope={"team": "t"}) == [ids[0], ids[2]]


def test_k_hits_come_back_although_others_are_nearer(facts, ledger):
    theirs = [Draft(f"badge badge {i}", scope={"user": "other"}) for i in range(300)]
    mine = [Draft(f"note {i} about a badge and rope", scope={"user": "me"}) for i in range(4)]
    add(facts, ledger, *theirs)
    ids = add(facts, ledger, *mine)
    assert set(found(facts, "badge badge", k=3, scope={"user": "me"})) <= set(ids)
    assert len(found(facts, "badge badge", k=3, scope={"user": "me"})) == 3
    assert sorted(found(facts, "badge badge", k=50, scope={"user": "me"})) == sorted(ids)
    assert found(facts, "badge badge", k=50) == []


def test_k_hits_come_back_although_one_record_has_all_the_nearest_passages(facts, ledger):
    add(facts, ledger, Draft("badge badge badge. " * 20_000), *map(Draft, ["one", "two", "three"]))
    assert ledger.passages.count() > 400
    assert len(found(facts, "badge", k=3)) == 3
    for k in (10, 10**12):
        assert len(found(facts, "badge", k=k)) == 4


def test_filters_apply_inside_the_search(facts, ledger):
    drafts = [Draft(f"badge {i}", metadata={"even": i % 2 == 0}) for i in range(200)]
    ids = add(facts, ledger, *drafts)
    hits = found(facts, "badge 7", k=100, where={"even": True})
    assert sorted(hits) == sorted(ids[::2])


def test_an_empty_memory_has_no_hits(facts):
    assert facts.search(Query("anything")) == []
    assert facts.nearest([Query("anything")]) == [[]]
    assert facts.nearest([]) == []


@pytest.mark.parametrize("text", ["", " \n\t", None, 7, "a\0b", "\ud800"])
def test_queries_must_be_text(facts, text):
    with pytest.raises(InvalidInputError, match="`query` must"):
        facts.search(Query(text))
    with pytest.raises(InvalidInputError, match="`query` must"):
        facts.nearest([Query("fine"), Query(text)])


@pytest.mark.parametrize("k", [0, -3, 2.0, True, None])
def test_k_must_be_a_positive_integer(facts, k):
    with pytest.raises(InvalidInputError, match="`k` must be an integer of at least 1, got"):
        facts.search(Query("x", k=k))


@pytest.mark.parametrize("text", ['"', "AND OR NOT", "a* NEAR(b)", "?!", "𝔘𝔫𝔦 ☃", "x" * 10_000])
def test_odd_queries_are_only_words(facts, ledger, text):
    ids = add(facts, ledger, PORTER)
    assert found(facts, text) == ids


SCOPES = st.dictionaries(st.sampled_from("ab"), st.sampled_from("12"), max_size=2)
WORDS = st.lists(st.sampled_from(["tea", "rope", "salt", "oil"]), min_size=1, max_size=4)
DRAFTS = st.builds(
    lambda words, scope, n: Draft(" ".join(words), scope=scope, metadata={"n": n}),
    WORDS,
    SCOPES,
    st.integers(0, 2),
)


QUERIES = st.builds(
    lambda k, scope, n: Query("tea and salt", k, scope, None if n is None else {"n": n}),
    st.integers(1, 15),
    SCOPES,
    st.none() | st.integers(0, 2),
)


@pytest.mark.slow
@settings(deadline=None, max_examples=25)
@given(st.lists(DRAFTS, max_size=12), QUERIES, st.data())
def test_hits_are_exactly_what_the_query_may_see(tmp_path_factory, drafts, query, data):
    ledger = Ledger.open(tmp_path_factory.mktemp("memory"))
    facts = FactIndex(ledger, HashingEmbedder(16))
    add(facts, ledger, *drafts)
    records = ledger.records.page().records
    gone = set(data.draw(st.lists(st.sampled_from([r.id for r in records])))) if records else set()
    ledger.records.delete(sorted(gone))
    seen = {
        record.id
        for record in records
        if record.scope.items() <= query.scope.items()
        and (query.where is None or record.metadata["n"] == query.where["n"])
        and record.id not in gone
    }
    hits = [hit.id for hit in facts.search(query)]
    near = [fact.record_id for fact in facts.nearest([query])[0]]
    for result in (hits, near):
        assert len(result) == len(set(result)) == min(query.k, len(seen))
        assert set(result) <= seen
    assert hits == [hit.id for hit in facts.search(query)]
    ledger.close()


# -- nearest


def test_nearest_is_exact_cosine_per_record(facts, ledger):
    words = [f"w{i}" for i in range(12)]
    rng = np.random.default_rng(0)
    drafts = [
        Draft(f"{i} " + " ".join(rng.choice(words, 6)), question=" ".join(rng.choice(words, 3)),
              answer="x", scope={"user": "u"} if i % 3 == 0 else {})
        for i in range(80)
    ]  # fmt: skip
    ids = add(facts, ledger, *drafts)
    queries = [
        Query(" ".join(rng.choice(words, 4)), k=k, scope=scope)
        for k in (1, 5, 100)
        for scope in ({}, {"user": "u"}, {"user": "v"})
    ]
    results = facts.nearest(queries)
    embed = HashingEmbedder().encode_document
    for query, result in zip(queries, results, strict=True):
        vector = embed([query.text])[0]
        best = {
            id: float((embed([draft.text, draft.question]) @ vector).max())
            for id, draft in zip(ids, drafts, strict=True)
            if draft.scope.items() <= query.scope.items()
        }
        expected = sorted(best.values(), reverse=True)[: query.k]
        assert [fact.similarity for fact in result] == pytest.approx(expected, abs=1e-6)
        for fact in result:
            assert fact.similarity == pytest.approx(best[fact.record_id], abs=1e-6)
        alone = facts.nearest([query])[0]
        assert [fact.record_id for fact in alone] == [fact.record_id for fact in result]


def test_a_repeated_query_is_embedded_once_and_forgotten_with_scrub(ledger):
    embedder = FixedEmbedder({"tea": [1, 0, 0], "a": [0, 1, 0], "b": [0, 0, 1]})
    facts = FactIndex(ledger, embedder)
    add(facts, ledger, Draft("tea"))
    embedder.asked.clear()
    facts.nearest([Query("a"), Query("b"), Query("a")])
    facts.search(Query("a"))
    facts.search(Query("b"))
    assert embedder.asked == ["a", "b"]
    facts.scrub()
    facts.search(Query("a"))
    assert embedder.asked == ["a", "b", "a"]


# -- in step with the ledger


def test_sees_what_another_process_writes_changes_and_deletes(facts, ledger):
    ids = add(facts, ledger, PORTER, ARCHIVE)
    assert len(found(facts, "badge")) == 2
    with_other = Ledger.open(ledger.directory)  # another connection, as of another process
    other = FactIndex(with_other, HashingEmbedder())
    ids += add(other, with_other, HARBOUR)
    assert found(facts, "harbour office", k=1) == ids[2:]
    record = with_other.records.update(
        ids[0], text="The badge is lost.", question=None, answer=None, metadata={}
    )
    other.write([record])
    hit = facts.search(Query("badge", k=1))[0]
    assert (hit.id, hit.text) == (ids[0], "The badge is lost.")
    with_other.records.delete(ids[:2])
    assert found(facts, "badge", k=9) == ids[2:]
    with_other.close()


def test_records_that_keep_changing_are_reported(facts, ledger, monkeypatch):
    ids = add(facts, ledger, PORTER)
    with_vectors = ledger.passages.with_vectors

    def deleted_meanwhile(keys):
        passages = with_vectors(keys)
        ledger.records.delete(ids)
        return passages

    monkeypatch.setattr(ledger.passages, "with_vectors", deleted_meanwhile)
    assert found(facts, "badge") == []  # the second look finds nothing
    monkeypatch.undo()
    add(facts, ledger, ARCHIVE)
    monkeypatch.setattr(Search, "hits", lambda *_: None)
    with pytest.raises(BusyError, match="kept changing during 5 searches"):
        facts.search(Query("archive"))


def test_threads_may_add_and_search_at_once(facts, ledger):
    def work(number):
        for i in range(10):
            (id,) = add(facts, ledger, Draft(f"thread {number} wrote {i}"))
            assert id in found(facts, f"thread {number} wrote {i}", k=100)
            facts.save()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))  # raises what a thread raised
    assert len(found(facts, "thread", k=100)) == 40


def test_index_missing_takes_in_what_was_stored_without_an_index(facts, ledger):
    drafts = [Draft(f"note {i}") for i in range(300)]
    ids = [record.id for record in ledger.records.add(drafts)]
    assert found(facts, "note 7", k=400) == []
    assert facts.index_missing() == 300
    assert sorted(found(facts, "note 7", k=400)) == sorted(ids)
    assert facts.index_missing() == 0


def test_index_missing_leaves_out_what_others_indexed_or_deleted_meanwhile(facts, ledger):
    ids = [record.id for record in ledger.records.add([PORTER, ARCHIVE, HARBOUR])]
    other = Ledger.open(ledger.directory)
    rival = FactIndex(other, HashingEmbedder())

    class Slow(HashingEmbedder):
        def encode_document(self, texts, /):
            if ids[0] in {record.id for record in other.records.unindexed(9)}:
                rival.write(other.records.get(ids[:1]))
                other.records.delete(ids[1:2])
            return super().encode_document(texts)

    assert FactIndex(ledger, Slow()).index_missing() == 1
    assert sorted(found(facts, "office", k=9)) == sorted([ids[0], ids[2]])
    other.close()


# -- the embedder is part of the memory


def test_another_embedder_is_refused_with_a_remedy(facts, ledger):
    add(facts, ledger, PORTER)
    with pytest.raises(
        IncompatibleModelError,
        match=r"made with the embedder 'hashing-64' \(dimension 64\), got 'hashing-32'",
    ) as caught:
        FactIndex(ledger, HashingEmbedder(32))
    assert "`rebuild=True` to Memory.open" in caught.value.hint


def test_an_unused_memory_takes_any_embedder(ledger):
    FactIndex(ledger, HashingEmbedder(64))
    facts = FactIndex(ledger, HashingEmbedder(32))
    add(facts, ledger, PORTER)
    assert ledger.get_meta("embedder") == "hashing-32"
    assert ledger.get_meta("embedder_dim") == "32"


def test_rebuild_embeds_everything_anew(facts, ledger):
    ids = add(facts, ledger, PORTER, ARCHIVE, HARBOUR)
    facts.save()
    rebuilt = FactIndex(ledger, HashingEmbedder(32), rebuild=True)
    assert found(rebuilt, "badge number", k=1) == ids[:1]
    assert len(found(rebuilt, "badge number", k=9)) == 3
    assert ledger.get_meta("embedder") == "hashing-32"
    for stale in (
        lambda: facts.search(Query("badge")),
        lambda: facts.nearest([Query("badge")]),
        facts.sync,
        lambda: add(facts, ledger, Draft("new")),
    ):
        with pytest.raises(IncompatibleModelError, match="made with the embedder 'hashing-32'"):
            stale()


def test_rebuild_with_the_same_embedder_embeds_nothing(ledger):
    embedder = FixedEmbedder({"tea": [1, 0, 0]})
    add(FactIndex(ledger, embedder), ledger, Draft("tea"))
    embedder.asked.clear()
    FactIndex(ledger, embedder, rebuild=True)
    assert embedder.asked == []


def test_reembed_keeps_the_records_searchable(facts, ledger):
    ids = add(facts, ledger, PORTER, ARCHIVE)
    assert facts.reembed(HashingEmbedder(32)) == 2
    assert sorted(found(facts, "badge", k=9)) == sorted(ids)


# -- the file


def reopened(ledger, dim=64):
    return FactIndex(ledger, HashingEmbedder(dim))


@pytest.fixture
def saved(facts, ledger, caplog):
    """Two records and an index file that knows them."""
    add(facts, ledger, PORTER, ARCHIVE)
    facts.close()
    caplog.set_level(logging.INFO, logger="memkit")
    return ledger.directory / "index" / "dense.faiss"


def test_the_file_is_loaded_and_caught_up(saved, facts, ledger, caplog, monkeypatch):
    (id,) = add(facts, ledger, HARBOUR)  # after the file was written
    fetched = []
    vectors = ledger.passages.vectors
    monkeypatch.setattr(
        ledger.passages, "vectors", lambda keys: fetched.extend(keys) or vectors(keys)
    )
    index = reopened(ledger)
    assert len(fetched) == 2  # the new text and question only: the rest came from the file
    assert found(index, "harbour office", k=1) == [id]
    assert caplog.records == []


def test_an_unchanged_index_is_not_written_again(saved, ledger):
    before = saved.stat().st_mtime_ns, saved.stat().st_ino
    index = reopened(ledger)
    index.search(Query("badge"))
    index.close()
    assert (saved.stat().st_mtime_ns, saved.stat().st_ino) == before


def test_adding_does_not_write_the_file(saved, facts, ledger):
    before = saved.read_bytes()
    add(facts, ledger, HARBOUR)
    facts.search(Query("harbour"))
    assert saved.read_bytes() == before


def damage_cut(path):
    path.write_bytes(path.read_bytes()[:-10])


def damage_flip(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def damage_empty(path):
    path.write_bytes(b"")


def rewrite(path, keys, stamp, dim=64):
    from memkit.rag.vectors.flat import FlatIndex

    index = FlatIndex(dim)
    index.add(np.arange(1, keys + 1), HashingEmbedder(dim).encode_document(["x"] * keys))
    index.save(path, stamp)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (damage_cut, "is damaged"),
        (damage_flip, "is damaged"),
        (damage_empty, "got 0 bytes"),
        (
            lambda path: rewrite(path, 2, stamp=999),
            "has seen change 999, the ledger has only had 2",
        ),
        (lambda path: rewrite(path, 1, stamp=2), "leads to 1 vectors, the ledger holds 2"),
        (
            lambda path: rewrite(path, 2, stamp=2, dim=8),
            "vectors of dimension 8, the embedder of 64",
        ),
    ],
)
def test_a_file_that_disagrees_is_rebuilt_with_a_warning(saved, ledger, caplog, damage, reason):
    damage(saved)
    index = reopened(ledger)
    assert len(found(index, "badge")) == 2
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert reason in caplog.text
    index.close()
    caplog.clear()
    assert len(found(reopened(ledger), "badge")) == 2
    assert caplog.records == []  # the file is good again


def test_a_missing_file_is_rebuilt_with_a_note(saved, ledger, caplog):
    saved.unlink()
    assert len(found(reopened(ledger), "badge")) == 2
    assert [record.levelname for record in caplog.records] == ["INFO"]
    assert "no index file yet" in caplog.text


def test_an_empty_memory_writes_no_file(facts, ledger):
    facts.close()
    assert not (ledger.directory / "index" / "dense.faiss").exists()


def test_scrub_takes_deleted_vectors_out_of_the_file(saved, facts, ledger):
    ids = ledger.records.ids()
    vector = HashingEmbedder().encode_document([PORTER.text])[0].tobytes()
    assert vector in saved.read_bytes()
    saved.with_name("dense.faiss.tmp").write_bytes(vector)  # a crash while saving
    ledger.records.delete(ids[:1])
    assert facts.scrub() == ("index/dense.faiss",)
    rest = b"".join(path.read_bytes() for path in saved.parent.iterdir())
    assert vector not in rest
    assert HashingEmbedder().encode_document([ARCHIVE.text])[0].tobytes() in rest
    ledger.records.delete(ids[1:])
    assert facts.scrub() == ("index/dense.faiss",)
    assert not saved.exists()
    assert facts.scrub() == ()


def test_no_process_brings_a_scrubbed_vector_back(saved, facts, ledger):
    other = Ledger.open(ledger.directory)
    stale = reopened(other)
    add(stale, other, HARBOUR)
    ledger.records.delete(ledger.records.ids()[:1])
    facts.scrub()
    stale.close()  # it has not searched since
    vector = HashingEmbedder().encode_document([PORTER.text])[0].tobytes()
    assert vector not in saved.read_bytes()
    other.close()


def test_a_file_that_cannot_be_written_is_an_error_to_save_and_a_warning_to_close(
    facts, ledger, monkeypatch, caplog
):
    add(facts, ledger, PORTER)

    def fail(_):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(ReadOnlyError, match="not allowed to access"):
        facts.save()
    facts.close()
    assert "the index file was not written, and is rebuilt next time" in caplog.text


def test_the_file_lock_has_a_bounded_wait(facts, ledger, monkeypatch):
    from filelock import FileLock

    add(facts, ledger, PORTER)
    (ledger.directory / "index").mkdir()
    monkeypatch.setattr("memkit.rag.vectors.index_files.LOCK_TIMEOUT", 0.01)
    with (
        FileLock(ledger.directory / "index" / "dense.lock"),
        pytest.raises(BusyError, match=r"another process has held .*dense\.lock"),
    ):
        facts.save()


def test_a_text_is_embedded_once_wherever_it_comes_again(ledger):
    class Counting(HashingEmbedder):
        seen: ClassVar[list[str]] = []

        def encode_document(self, texts):
            self.seen.extend(texts)
            return super().encode_document(texts)

    index = FactIndex(ledger, Counting())
    drafts = [Draft(text, scope=scope) for text in ("one", "two") for scope in ({}, {"user": "u"})]
    prepared = index.prepare(drafts)
    assert sorted(Counting.seen) == ["one", "two"]
    with ledger.transaction():
        records = ledger.records.add(drafts)
        index.write(records, prepared)
    again = FactIndex(ledger, Counting()).prepare([Draft("one", metadata={"new": 1})])
    assert sorted(Counting.seen) == ["one", "two"]
    assert (again[0][0].vector == HashingEmbedder().encode_document(["one"])[0]).all()
    ledger.records.delete([record.id for record in records])
    index.prepare([Draft("one")])  # nothing of it was kept
    assert Counting.seen.count("one") == 2


def test_texts_of_like_length_are_embedded_together(ledger):
    class Watched(HashingEmbedder):
        calls: ClassVar[list[list[str]]] = []

        def encode_document(self, texts, /):
            self.calls.append(list(texts))
            return super().encode_document(texts)

    drafts = [Draft(f"{n} " + "word " * (1 + n * 37 % 300 // 3)) for n in range(300)]
    facts = FactIndex(ledger, Watched())
    prepared = facts.prepare(drafts)
    lengths = [[len(text) for text in call] for call in Watched.calls]
    assert sum(map(len, lengths)) == 300
    assert all(min(long) >= max(short) for long, short in pairwise(lengths))
    alone = HashingEmbedder().encode_document([draft.text for draft in drafts])
    np.testing.assert_array_equal([row[0].vector for row in prepared], alone)
