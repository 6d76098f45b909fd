"""The measurement of capacity on a tiny model: points are kept, and not measured twice."""

import json

import pytest
from benchmarks.engine import capacity

from memkit.cli import main as cli
from memkit.cli.demo.company import Company
from memkit.lora.consolidation.capacity import load_points, points_file
from memkit.lora.training.trainer import Trainer
from memkit.models.language_model import TransformersModel


def test_points_are_kept_and_a_run_goes_on_where_it_was(tiny, tmp_path, monkeypatch):
    kept = tmp_path / "points.json"
    (first,) = capacity.measure(tiny, (1,), (4,), kept)
    assert (first.rank, first.facts, first.asked) == (1, 4, 12)  # three held-out wordings each
    assert 0 <= first.recalled <= first.asked
    answers = [fact.answer for fact in Company.generate(0, 4).facts]
    assert first.tokens == sum(len(tiny.answer_ids(answer)) for answer in answers)
    assert load_points(kept) == [first]

    fit = Trainer.fit
    trained = []

    def note(trainer, *arguments):
        trained.append(trainer.lora.rank)
        return fit(trainer, *arguments)

    monkeypatch.setattr(Trainer, "fit", note)
    points = capacity.measure(tiny, (1, 2), (4,), kept)

    assert trained == [2]
    assert points[0] == first
    assert load_points(kept) == points


def test_the_command_prints_the_law_and_writes_it(tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MEMKIT_CACHE", str(tmp_path))
    monkeypatch.setattr(TransformersModel, "load", lambda spec: tiny)
    file = tmp_path / "report.json"

    assert capacity.main(ranks=(1,), loads=(4,), json_path=file) == 0

    shown = capsys.readouterr().out
    assert "rank 1" in shown
    assert "law of tiny-llama-0" in shown
    report = json.loads(file.read_text(encoding="utf-8"))
    assert report["name"] == "capacity"
    assert set(report["ratios"]) == {"scale", "exponent", "most"}
    (point,) = load_points(points_file(tiny.fingerprint))
    figures = {one["metric"]: one["value"] for one in report["results"]}
    assert figures["answer tokens"] == point.tokens
    assert figures["reworded"] == point.recalled / point.asked


@pytest.mark.parametrize(
    ("facts", "asked"), [(1, [0]), (3, [0, 1, 2]), (48, list(range(0, 48, 2)))]
)
def test_of_many_facts_a_sample_is_asked(facts, asked):
    assert capacity._spread(facts) == asked


def test_the_command_line_says_what_to_measure(monkeypatch, tmp_path, capsys):
    asked = []
    monkeypatch.setattr(capacity, "main", lambda **options: asked.append(options) or 0)

    assert cli.main(["bench", "capacity"]) == 0
    given = ["--ranks", "2,8", "--loads", "64", "--base", "x/y", "--json", str(tmp_path / "f")]
    assert cli.main(["bench", "capacity", *given]) == 0

    defaults = {"ranks": capacity.RANKS, "loads": capacity.LOADS, "base": None, "json_path": None}
    assert asked[0] == defaults
    assert asked[1] == {
        "ranks": (2, 8), "loads": (64,), "base": "x/y", "json_path": tmp_path / "f",
    }  # fmt: skip
    for wrong in ("0", "1,x", ""):
        with pytest.raises(SystemExit):
            cli.main(["bench", "capacity", "--ranks", wrong])
    assert "--ranks" in capsys.readouterr().err
