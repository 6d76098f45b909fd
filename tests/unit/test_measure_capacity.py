"""`memkit capacity` on a tiny model: points are saved and not measured twice."""

import json

import pytest

from memkit.cli import main as cli
from memkit.cli import measure_capacity
from memkit.evals.company.company import Company
from memkit.evals.run_capacity import sample
from memkit.lora.consolidation.capacity import load_points, points_file
from memkit.lora.training.trainer import Trainer
from memkit.models.language_model import TransformersModel


@pytest.mark.slow
def test_points_are_kept_and_a_run_goes_on_where_it_was(tiny, tmp_path, monkeypatch):
    file = tmp_path / "points.json"
    (first,) = measure_capacity.measure(tiny, (1,), (4,), file)
    assert (first.rank, first.facts, first.asked) == (1, 4, 12)  # three held-out wordings each
    assert 0 <= first.recalled <= first.asked
    answers = [fact.answer for fact in Company.generate(0, 4).facts]
    assert first.tokens == sum(len(tiny.answer_ids(answer)) for answer in answers)
    assert load_points(file) == [first]

    fit = Trainer.fit
    trained = []

    def note(trainer, *arguments):
        trained.append(trainer.lora.rank)
        return fit(trainer, *arguments)

    monkeypatch.setattr(Trainer, "fit", note)
    points = measure_capacity.measure(tiny, (1, 2), (4,), file)

    assert trained == [2]
    assert points[0] == first
    assert load_points(file) == points


@pytest.mark.slow
def test_the_command_prints_the_law_and_writes_it(tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MEMKIT_CACHE", str(tmp_path))
    monkeypatch.setattr(TransformersModel, "load", lambda spec: tiny)
    file = tmp_path / "report.json"

    assert measure_capacity.main(ranks=(1,), loads=(4,), json_path=file) == 0

    shown = capsys.readouterr().out
    assert "rank 1" in shown
    assert "law of tiny-llama-0" in shown
    report = json.loads(file.read_text(encoding="utf-8"))
    assert report["name"] == "capacity"
    assert set(report["ratios"]) == {"scale", "exponent", "most"}
    (point,) = load_points(points_file(tiny.fingerprint))
    figures = {result["metric"]: result["value"] for result in report["results"]}
    assert figures["answer tokens"] == point.tokens
    assert figures["reworded"] == point.recalled / point.asked


@pytest.mark.parametrize(
    ("facts", "asked"), [(1, [0]), (3, [0, 1, 2]), (48, list(range(0, 48, 2)))]
)
def test_of_many_facts_a_sample_is_asked(facts, asked):
    assert sample(facts) == asked


@pytest.mark.slow
def test_the_command_line_says_what_to_measure(monkeypatch, tmp_path, capsys):
    asked = []
    monkeypatch.setattr(measure_capacity, "main", lambda **options: asked.append(options) or 0)

    assert cli.main(["capacity"]) == 0
    given = [
        "--ranks",
        "2,8",
        "--loads",
        "64",
        "--base-model",
        "x/y",
        "--json",
        str(tmp_path / "f"),
    ]
    assert cli.main(["capacity", *given]) == 0

    defaults = {
        "ranks": measure_capacity.RANKS, "loads": measure_capacity.LOADS, "base": None,
        "json_path": None, "placed": {},
    }  # fmt: skip
    assert asked[0] == defaults
    assert asked[1] == {
        "ranks": (2, 8), "loads": (64,), "base": "x/y", "json_path": tmp_path / "f", "placed": {},
    }  # fmt: skip
    for wrong in ("0", "1,x", ""):
        assert cli.main(["capacity", "--ranks", wrong]) == 2
    assert "--ranks" in capsys.readouterr().err
