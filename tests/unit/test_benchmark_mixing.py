"""The benchmarks `mixing` and `dial` on a tiny model."""

import json

import pytest
from benchmarks.evals import dial, mixing
from benchmarks.evals.mixing import Exam
from benchmarks.evals.trained_memory import PART, trained_memory

from memkit.errors import NotFoundError
from memkit.evals.data.phone_book import drafts_of, invented
from memkit.evals.measurement import Measurement
from memkit.testing import HashingEmbedder


@pytest.fixture
def models(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("MEMKIT_CACHE", str(tmp_path / "cache"))
    return tiny, HashingEmbedder(dim=256)


@pytest.fixture
def book():
    return invented(4)


@pytest.mark.slow
def test_what_was_learned_is_gone_on_with(models, recipe, book, monkeypatch):
    parts = [drafts_of(book[:2]), drafts_of(book[2:])]
    with trained_memory(models, parts, recipe) as memory:
        first = [(module.name, module.manifest["data"]) for module in memory.modules.list()]
        assert {record.metadata[PART] for record in memory.records().records} == {0, 1}
    monkeypatch.setattr(
        "memkit.lora.training.trainer.Trainer.fit", None
    )  # there is nothing to train
    with trained_memory(models, parts, recipe) as memory:
        assert [(m.name, m.manifest["data"]) for m in memory.modules.list()] == first


@pytest.mark.slow
def test_numbers_are_asked_for_one_by_one_and_together(models, recipe, book):
    parts = [drafts_of(book[:2]), drafts_of(book[2:])]
    with trained_memory(models, parts, recipe) as memory:
        exam = Exam(memory, book)
        held = {i for module in memory.modules.list() for i in module.records}
        oracle, routed = exam.oracle(), exam.routed()
        assert len(oracle) == len(routed) == 4
        assert sum(oracle) >= len(held)  # they were verified
        chosen = exam.draw(2, questions=3, seed=0)
        assert all(len({exam._holders[i] for i in pair}) == 2 for pair in chosen)
        assert chosen == exam.draw(2, questions=3, seed=0)
        right = [all(exam._ids[i] in held for i in pair) for pair in chosen]
        assert exam.in_parts(chosen) >= right
        assert len(exam.together(chosen)) == 3
        assert exam.draw(7, questions=3, seed=0) == []


@pytest.mark.slow
def test_the_report_has_the_ratios(models, recipe, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(mixing.TransformersModel, "load", lambda: models[0])
    monkeypatch.setattr(mixing.SentenceEmbedder, "load", lambda: models[1])
    monkeypatch.setattr(mixing, "Recipe", lambda train: recipe)
    monkeypatch.setattr(mixing, "PER_MODULE", 2)
    monkeypatch.setattr(mixing, "ASKED", {2: 2, 3: 2})
    path = tmp_path / "mixing.json"
    assert mixing.main(data=None, facts=6, seeds=1, json_path=path) == 0
    report = json.loads(path.read_text())
    assert report["name"] == "mixing"
    assert report["ratios"].keys() == {"em_routed_over_oracle", "pair_recall", "triple_recall"}
    (exact,) = [r for r in report["results"] if (r["case"], r["metric"]) == ("oracle", "exact")]
    assert exact["n"] == 6
    with pytest.raises(NotFoundError, match="expected the study's PhoneBook"):
        mixing.main(data=tmp_path, facts=6, seeds=1, json_path=None)


def test_the_dial_is_measured_with_every_budget(trained, badges):
    asked = [dial.Asked(d.answer, d.question, d.question) for d in badges[:2]]
    outcomes = dict(dial._curves(trained, "badges", asked))
    assert len(outcomes) == 2 * (3 * len(dial.BUDGETS) - 1)
    bare = outcomes["badges, as stored, budget 0, as needed"]
    needed = outcomes["badges, as stored, budget 160, as needed"]
    everything = outcomes["badges, as stored, budget 160, everything"]
    assert all(outcome.right for outcome in bare)
    assert [n.prompt_tokens for n in needed] == [b.prompt_tokens for b in bare]
    assert all(b.prompt_tokens < e.prompt_tokens for b, e in zip(bare, everything, strict=True))


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [(0, 10, 0.0, 0.278), (5, 10, 0.237, 0.763), (10, 10, 0.722, 1.0), (0, 0, 0.0, 1.0)],
)
def test_a_share_has_wilsons_interval(hits, n, low, high):
    share = Measurement.of_share("case", "metric", hits, n)
    assert (share.low, share.high) == pytest.approx((low, high), abs=1e-3)
    assert share.value == (hits / n if n else 0.0)
