"""Which sentences are quoted: those that are most relevant, and nothing that is not."""

import numpy as np
import pytest

from memkit.answering.quote import COMPARED, Passage, Quoter
from memkit.answering.relevance import LIFT, Relevance
from memkit.rag.index import FactIndex
from memkit.testing import HashingEmbedder

QUESTION = "When does it open?"


class Told(Relevance):
    """Is told the lifts, and notes for which texts it is asked."""

    def __init__(self, lifts):
        self.given, self.asked = lifts, []

    def lifts(self, question, texts):
        self.asked += texts
        return [self.given.get(text, 0.0) for text in texts]


def quoter(lifts=None, similarities=None):
    known = similarities or {}
    return Quoter(Told(lifts or {}), lambda _, texts: [known.get(text, 0.5) for text in texts])


def quoted(claims):
    return [(claim.record_id, claim.text) for claim in claims]


def test_a_passage_of_one_sentence_is_not_read_again():
    chooser = quoter()
    claims = chooser.quote(QUESTION, [Passage("It opens at six.", "a", 0.9)], least=0.4)
    assert quoted(claims) == [("a", "It opens at six.")]
    assert chooser._relevance.asked == []
    (claim,) = claims
    assert (claim.question, claim.module, claim.supported, claim.quoted) == (
        QUESTION, None, True, True,
    )  # fmt: skip


def test_of_several_sentences_the_most_relevant_counts_alone_and_in_its_passage():
    lifts = {"It opens at six.": 1.0, "Bring a towel.": 0.0}
    notes = Passage("It opens at six. Bring a towel.", "a", 0.6)
    # (0.5 + 0.3 * 1.0 + 0.6) / 2 = 0.7, which a passage of 0.76 is more than 0.05 beyond.
    other = Passage("The pool is new.", "b", 0.76)
    assert quoted(quoter(lifts).quote(QUESTION, [notes, other], least=0.4)) == [
        ("b", "The pool is new.")
    ]
    near = Passage("The pool is new.", "b", 0.74)
    assert quoted(quoter(lifts).quote(QUESTION, [notes, near], least=0.4)) == [
        ("b", "The pool is new."),
        ("a", "It opens at six."),
    ]


def test_what_was_not_judged_is_judged():
    lifts = {"At six.": 1.0}
    chooser = quoter(lifts, {"At six.": 0.2, "Nobody knows.": 0.3})
    passages = [Passage("Nobody knows.", "a"), Passage("At six.", None)]
    assert quoted(chooser.quote(QUESTION, passages, least=0.2 + LIFT)) == [(None, "At six.")]
    assert chooser.quote(QUESTION, passages, least=0.6) == []
    assert chooser.quote(QUESTION, [], least=0.0) == []


def test_at_most_three_sentences_and_each_once():
    passages = [Passage(f"Number {n}.", str(n), 0.8) for n in (1, 2, 2, 3, 4)]
    assert len(quoter().quote(QUESTION, passages, least=0.4)) == 3


def test_the_answer_of_a_pair_stands_alone():
    pair = Passage("When does it open? At six.", "a", 0.8, "m0001", answer="At six.")
    other = Passage("The pool is new.", "b", 0.79)
    claims = quoter().quote(QUESTION, [other, pair], least=0.4)
    assert quoted(claims) == [("a", "At six.")]
    assert claims[0].module == "m0001"
    assert not claims[0].supported  # what a module says is compared with its record later
    better = Passage("The pool is new.", "b", 0.81)
    assert quoted(quoter().quote(QUESTION, [better, pair], least=0.4)) == [
        ("b", "The pool is new.")
    ]


def test_of_a_long_passage_only_the_nearest_sentences_are_read():
    sentences = [f"Sentence {n}." for n in range(20)]
    similarities = {sentence: n / 20 for n, sentence in enumerate(sentences)}
    chooser = quoter({}, similarities)
    (claim, *_) = chooser.quote(QUESTION, [Passage(" ".join(sentences), "a", 0.9)], least=0.4)
    assert claim.text == "Sentence 19."
    assert set(chooser._relevance.asked) == set(sentences[-COMPARED:])


def test_a_passage_without_a_sentence_is_quoted_as_it_is():
    assert quoted(quoter().quote(QUESTION, [Passage("…!", "a", 0.9)], least=0.4)) == [("a", "…!")]


@pytest.mark.parametrize("texts", [[], ["The pool opens at six."], ["a", "pool", "opens six"]])
def test_similarities_are_products_of_unit_vectors(ledger, texts):
    embedder = HashingEmbedder()
    index = FactIndex(ledger, embedder)
    query = embedder.encode_query([QUESTION])[0]
    expected = [float(np.dot(embedder.encode_document([text])[0], query)) for text in texts]
    assert index.similarities(QUESTION, texts) == pytest.approx(expected, abs=1e-6)
