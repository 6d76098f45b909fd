"""The evaluation of routers on a few facts, with shares counted by hand."""

import json
import re

import pytest
from benchmarks.evals import papers, routing, routing_cost
from benchmarks.evals.routed_memory import Asked, CachedEmbedder, reliability, routed_memory

from memkit.errors import NotFoundError
from memkit.evals.data.phone_book import invented
from memkit.testing import HashingEmbedder
from memkit.types import Draft, Route
from memkit.types.calibration import Calibration

PAPERS = [
    {
        "id": number,
        "title": title,
        "introduction": f"{title} is slow. We make {title} fast.",
        "QA": [
            {"question": f"Is {title} slow?", "answer": "Yes."},
            {"question": f"What makes {title} fast?", "answer": "We do."},
        ],
    }
    for number, title in enumerate(("Sorting", "Hashing"))
]


class Counting(HashingEmbedder):
    """Counts what it embeds."""

    def __init__(self):
        super().__init__(256)
        self.seen = []

    def encode_query(self, texts, /):
        self.seen += texts
        return super().encode_query(texts)


def test_a_text_is_embedded_once_for_all_memories():
    counting = Counting()
    embedder = CachedEmbedder(counting)
    drafts = [Draft("Nora keeps the keys.", "Who keeps the keys?", "Nora")]

    for _ in range(2):
        with routed_memory(embedder, drafts, [0]) as routed:
            routed.routes([Asked("Who has the keys?", 0)])

    assert len(counting.seen) == len(set(counting.seen))
    assert embedder.encode_query(["Who has the keys?"]).shape == (1, 256)


def test_only_the_module_of_the_fact_is_right():
    drafts = [Draft("The oak is tall.", "Which tree is tall?", "The oak"),
              Draft("The van is red.", "Which car is red?", "The van")]  # fmt: skip
    with routed_memory(CachedEmbedder(HashingEmbedder(256)), drafts, [3, 5]) as routed:
        asked = [Asked(draft.question, place) for place, draft in enumerate(drafts)]
        routes = [Route({"m3": 1.0}), Route({"m3": 0.5, "m5": 0.5})]
        assert routed.right(asked, routes) == 0.5
        assert routed.right(asked, routed.routes(asked)) == 1.0


def test_a_question_in_a_scope_goes_to_what_that_scope_sees():
    own = papers.cut(PAPERS, 0, scoped=True)
    assert [asked.scope for asked in own.plain] == [{"paper": "0"}, {"paper": "1"}]
    with routed_memory(CachedEmbedder(HashingEmbedder(256)), own.drafts, own.modules) as routed:
        seen = [{fact.module for fact in route.support} for route in routed.routes(own.plain)]
    assert seen == [{"m0"}, {"m1"}]


def test_both_kinds_of_question_count_alike_in_what_is_true():
    sure = Calibration(mass=0.0, named=0.0, threshold=0.5, slope=100.0)
    high, low = Route({}, evidence=1.0), Route({}, evidence=0.0)
    shares = reliability(sure, related=[high, high, high, low], unrelated=[low] * 39 + [high])
    assert shares == {
        "true where 0% to 20% is said": pytest.approx(0.25 / (0.25 + 39 / 40)),
        "true where 80% to 100% is said": pytest.approx(0.75 / (0.75 + 1 / 40)),
    }


def test_questions_with_a_word_of_their_paper_alone():
    vague = {"question": "Why is it slow?", "answer": "It is old."}
    cut = papers.cut([{**paper, "QA": [paper["QA"][0], vague] * 2} for paper in PAPERS], 0)
    assert len(cut.plain) == 4
    assert papers.distinctive(cut) == []  # both papers have "slow"
    cut = papers.cut(PAPERS, 0)
    assert papers.distinctive(cut) == cut.plain  # "sorting" and "hashing"


def test_stored_questions_are_not_asked():
    cut = papers.cut(PAPERS, 2)
    assert [draft.question for draft in cut.drafts if draft.question] == [
        "Is Sorting slow?",
        "Is Hashing slow?",
    ]
    assert [asked.question for asked in cut.plain] == [
        "What makes Sorting fast?",
        "What makes Hashing fast?",
    ]
    assert cut.titled[0].question == 'In the paper "Sorting": What makes Sorting fast?'
    assert [cut.modules[asked.place] for asked in cut.plain] == [0, 1]


def test_missing_papers_are_named(tmp_path):
    with pytest.raises(NotFoundError, match=re.escape("paperqa_dev.json")):
        papers.read(tmp_path)


@pytest.mark.slow
def test_the_report_has_the_shape_of_all_reports(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(routing.SentenceEmbedder, "load", lambda: HashingEmbedder(256))
    monkeypatch.setattr(routing, "ENTRIES", 24)
    monkeypatch.setattr(routing, "FACTS", 60)
    monkeypatch.setattr(routing_cost, "FACTS", 40)
    monkeypatch.setattr(routing_cost, "ASKED", 3)
    monkeypatch.setattr(routing, "entries_of", lambda folder, facts: invented(facts))
    (tmp_path / "paperqa").mkdir()
    (tmp_path / "paperqa" / "paperqa_dev.json").write_text(json.dumps(PAPERS))
    report = tmp_path / "report.json"

    assert routing.main(data=tmp_path, seeds=1, json_path=report) == 0

    written = json.loads(report.read_text())
    assert set(written) == {"name", "environment", "command", "results", "ratios"}
    assert written["name"] == "routing"
    assert set(written["ratios"]) == {
        "routing_top1",
        "routing_top1_reworded",
        "routing_top1_paperqa",
        "routing_top1_centroid",
        "false_activation",
        "false_refusal",
        "unstored_activation",
    }
    assert all(0.0 <= value <= 1.0 for value in written["ratios"].values())
    assert written["ratios"]["routing_top1"] == 1.0  # the words of the questions are those stored
    cases = {result["case"] for result in written["results"]}
    assert cases == {"phone book", "company", "40 facts", *papers.STORED}
    assert "routing_top1 " in capsys.readouterr().out


def test_papers_that_are_not_named_do_not_count_as_refused():
    book = {(routing.BOOK, metric): 1.0 for metric in ("top-1", "top-1, reworded")}
    middle = book | {
        (routing.BOOK, "top-1 of centroids"): 0.25,
        (routing.BOOK, "refused"): 0.0,
        (routing.BOOK, "refused, reworded"): 0.01,
        (routing.BOOK, routing.UNRELATED): 0.0,
        (routing.BOOK, routing.UNSTORED): 0.125,
        ("company", routing.UNSTORED): 0.25,
        ("company", f"{routing.UNSTORED}, reworded"): 0.5,
        ("papers", routing.UNRELATED): 0.02,
        ("papers", "refused"): 0.5,
        ("papers", "refused, in the paper's scope"): 0.03,
    }
    assert routing.ratios(middle) == {
        "routing_top1": 1.0,
        "routing_top1_reworded": 1.0,
        "routing_top1_centroid": 0.25,
        "false_activation": 0.02,
        "false_refusal": 0.03,
        "unstored_activation": 0.25,
    }
