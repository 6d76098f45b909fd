"""Passages by how much the base model expects the question behind them."""

from dataclasses import replace
from datetime import UTC, datetime
from itertools import count

import pytest
import torch

from memkit.answering.prompt import PromptFormat
from memkit.answering.relevance import Relevance
from memkit.errors import InvalidInputError
from memkit.types import Draft, Evidence, Hit, Record

QUESTION = "Who has the keys to the harbour gate?"
TEXTS = ["Nora keeps the harbour keys.", "Tea is at four.\nNot on Sundays.", "绿茶"]


class Told(Relevance):
    """Is told the lifts instead of asking a model."""

    def __init__(self, lifts):
        self._lifts = lifts

    def lifts(self, question, texts):
        return [self._lifts[text] for text in texts]


def hit(id, *, similarity=0.5, order=None, **parts):
    now = datetime(2026, 1, 1, tzinfo=UTC)
    record = Record(id, id, None, None, {}, {}, now, now, 1, "")
    return Hit(record, id, 0, len(id), 0.0, similarity, parts, order)


def ids(evidence):
    return [hit.id for hit in evidence.hits]


def read_whole(base, question, system):
    """Mean log-probability of a question's tokens; the model reads everything at once."""
    prompt = base.prompt(question, system=system)
    text = [*prompt.prefix, *prompt.question]
    words = list(base.answer_ids(question)[:-1])
    start = next(i for i in count(len(prompt.prefix)) if text[i : i + len(words)] == words)
    with torch.no_grad():
        scores = base.model(torch.tensor([text])).logits[0].double().log_softmax(-1)
    return sum(float(scores[start + i - 1, word]) for i, word in enumerate(words)) / len(words)


@pytest.mark.parametrize("question", [QUESTION, "Who?", "x" * 400])
def test_a_text_lifts_a_question_as_whole_prompts_say(tiny, question):
    words = tiny.answer_ids(question.strip())[:-1]
    shown = tiny.decode(words[:128])  # only the first tokens of a long question are compared
    shape = PromptFormat()
    expected = [
        read_whole(tiny, shown, shape.system_message(f"Facts:\n- {text}"))
        - read_whole(tiny, shown, shape.opening)
        for text in ("Nora keeps the harbour keys.", "Tea is at four.\n  Not on Sundays.", "绿茶")
    ]
    assert Relevance(tiny, shape).lifts(question, TEXTS) == pytest.approx(expected, abs=1e-4)
    assert Relevance(tiny, shape).lifts(question, []) == []


def test_relevance_is_similarity_and_lift():
    judge = Told({"a": 1.0, "b": 2.0})
    judged = judge.judged(Evidence((hit("a"), hit("b", similarity=0.4))), QUESTION)
    assert {h.id: h.relevance for h in judged.hits} == pytest.approx({"a": 0.8, "b": 1.0})
    assert ids(judged) == ["b", "a"]


def test_what_else_a_search_knows_counts_as_it_does_there():
    # The score is 7 x similarity and a bonus of 3, which is 3/7 of a similarity of 1.
    judge = Told({"a": 1.0, "b": 2.0})
    dated = hit("a", meaning=3.5, time=3.0)
    assert ids(judge.judged(Evidence((hit("b", meaning=3.5), dated)), QUESTION)) == ["a", "b"]


def test_the_latest_of_contradicting_statements_stays_before_the_earlier_one():
    judge = Told({"new": 0.0, "old": 3.0, "other": 1.0})
    hits = hit("new", order="latest"), hit("old", order="earlier"), hit("other")
    assert ids(judge.judged(Evidence(hits), QUESTION)) == ["new", "other", "old"]


def test_what_was_not_compared_stays_in_its_place():
    judge = Told({"a": 0.0, "b": 3.0})
    hits = hit("first", similarity=None), hit("a"), hit("third", similarity=None), hit("b")
    judged = judge.judged(Evidence(hits), QUESTION)
    assert ids(judged) == ["first", "b", "third", "a"]
    assert ids(judge.relevant(judged, 99.0)) == ["first", "third"]


def test_what_the_prompt_will_not_hold_is_not_read():
    judge = Told({"b": 3.0})  # is told of no other
    judged = judge.judged(Evidence((hit("a"), hit("b"))), QUESTION, without=["a"])
    assert [(h.id, h.relevance) for h in judged.hits] == [("a", None), ("b", pytest.approx(1.4))]


def test_evidence_is_what_is_relevant_and_near_to_the_best():
    hits = [
        replace(hit(id), relevance=relevance)
        for id, relevance in {"best": 0.9, "near": 0.86, "behind": 0.84, "none": 0.1}.items()
    ]
    judge = Told({})
    assert ids(judge.relevant(Evidence(tuple(hits)), 0.4)) == ["best", "near"]
    assert ids(judge.relevant(Evidence(tuple(hits)), 0.88)) == ["best"]
    assert ids(judge.relevant(Evidence(tuple(hits)), 0.91)) == []
    assert judge.relevant(Evidence(), 0.4) == Evidence()


def test_without_relevant_passages_the_prompt_is_that_of_no_memory(memory):
    memory.add([Draft(text) for text in TEXTS])
    alone = memory.ask(QUESTION, budget=0)

    answer = memory.ask(QUESTION, min_score=1000)

    assert (answer.text, answer.prompt_tokens) == (alone.text, alone.prompt_tokens)
    assert answer.citations == ()
    assert len(answer.recall.irrelevant) == 3
    assert memory.ask(QUESTION, min_score=None).recall.hits
    assert "not about the question" in str(memory.explain(QUESTION, min_score=1000))


def test_others_are_handed_all_that_was_found(open_memory, tmp_path):
    """A reranker of the caller's own has the last word; recall asks no model."""

    def reversed_order(query, texts):
        return [float(-place) for place in range(len(texts))][::-1]

    own = open_memory(tmp_path / "own", reranker=reversed_order)
    own.add([Draft(text) for text in TEXTS])
    expected = [hit.id for hit in own.search(QUESTION, k=3)]
    assert [hit.id for hit in own.ask(QUESTION, min_score=1000).recall.hits] == expected
    assert len(own.recall(QUESTION).hits) == 3


@pytest.mark.parametrize("value", ["high", float("nan"), True])
def test_the_least_relevance_is_a_number(memory, value):
    with pytest.raises(InvalidInputError, match="`min_score` must be"):
        memory.ask(QUESTION, min_score=value)


@pytest.mark.real
def test_other_words_find_what_was_said(smollm2):
    said = "API secrets are rotated by the bot every 90 days."
    others = ["Bandsaw blades are changed every 40 hours of use.", "The boiler was serviced."]
    lifts = Relevance(smollm2, PromptFormat()).lifts(
        "How frequently do our credentials get replaced?", [*others, said]
    )
    assert max(lifts) == lifts[-1]
