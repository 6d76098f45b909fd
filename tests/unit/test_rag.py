"""The rag backend, and the fusion of its two rankings."""

import pytest

from memkit.ledger import Passage
from memkit.protocols import Query
from memkit.rag.fusion import fuse, rank
from memkit.rag.index import FactIndex
from memkit.rag.rag import RagBackend
from memkit.testing import HashingEmbedder
from memkit.types import Draft


def passage(key, record_id, kind="text", start=0):
    return Passage(key, record_id, kind, start, start + 4, "text")


def test_fusion_by_hand():
    scores = fuse([["a", "b", "a", "c"], ["c", "c", "d"], []])
    assert scores == pytest.approx({"a": 1 / 61, "b": 1 / 62, "c": 1 / 63 + 1 / 61, "d": 1 / 62})


def test_records_rank_by_their_best_passages():
    near = [(passage(1, "x"), 0.9), (passage(2, "x", start=4), 0.8), (passage(3, "y"), 0.7)]
    words = [passage(4, "y", start=4), passage(2, "x", start=4), passage(5, "z")]
    ranked = rank(near, words)
    assert [r.record_id for r in ranked] == ["x", "y", "z"]
    # x and y are first in one ranking and second in the other: similarity decides.
    assert [r.score for r in ranked] == pytest.approx([1 / 61 + 1 / 62] * 2 + [1 / 63])
    assert [r.similarity for r in ranked] == [0.9, 0.7, None]
    # Of x, the passage in both rankings is shown; of y, the one that is first of one of them.
    assert [r.passage.key for r in ranked] == [2, 4, 5]


def test_questions_count_but_are_not_shown():
    question = passage(1, "x", kind="question")
    (alone,) = rank([(question, 0.9)], [question])
    assert alone.passage is None
    assert alone.similarity == 0.9
    (both,) = rank([(question, 0.9), (passage(2, "x"), 0.1)], [])
    assert both.passage.key == 2
    assert both.similarity == 0.9


def test_ties_are_in_the_order_of_ids():
    same = [[passage(1, "b")], [passage(2, "a")]]
    assert [r.record_id for r in rank([], same[0] + same[1])] == ["b", "a"]
    assert [r.record_id for r in rank([(same[0][0], 0.5)], same[1])] == ["b", "a"]
    assert [r.score for r in rank([(same[0][0], 0.5)], same[1])] == [1 / 61, 1 / 61]


@pytest.fixture
def rag(ledger):
    return RagBackend(ledger, FactIndex(ledger, HashingEmbedder()))


def test_write_recall_delete(rag, ledger):
    records = ledger.records.add(
        [Draft("The badge is 4471."), Draft("The archive.", question="Where?", answer="There.")]
    )
    assert rag.recall(Query("badge")).hits == ()
    rag.write(records)
    assert rag.stats() == {"passages": 3}
    evidence = rag.recall(Query("badge", k=1))
    assert [hit.record for hit in evidence.hits] == records[:1]
    assert (evidence.turns, evidence.route) == ((), None)
    rag.write(records)
    assert rag.stats() == {"passages": 3}
    assert rag.delete([records[0].id, "unknown"]) == 1
    assert rag.delete([records[0].id]) == 0
    assert [hit.id for hit in rag.recall(Query("badge")).hits] == [records[1].id]


def test_close_writes_the_index_once_and_may_be_repeated(rag, ledger):
    rag.write(ledger.records.add([Draft("The badge is 4471.")]))
    rag.close()
    assert (ledger.directory / "index" / "dense.faiss").exists()
    rag.close()


@pytest.mark.real
def test_other_words_for_the_same_thing(ledger, minilm):
    rag = RagBackend(ledger, FactIndex(ledger, minilm))
    texts = [
        "The night porter's badge number is 4471.",
        "Deliveries are unloaded at dock three.",
        "Ms Okafor is in charge of salaries.",
    ]
    records = ledger.records.add([Draft(text) for text in texts])
    rag.write(records)
    for question, record in zip(
        ["What does the ID of the night guard say?", "Where do trucks stop?", "Who pays me?"],
        records,
        strict=True,
    ):
        assert rag.recall(Query(question, k=1)).hits[0].record == record
