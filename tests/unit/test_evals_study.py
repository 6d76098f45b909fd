"""What the study concludes from records, its figures, its page and its command."""

import csv
import json
import math
from dataclasses import replace

import pytest

from memkit.cli.app import run_command
from memkit.errors import InvalidInputError
from memkit.evals.configuration import CapacityRun, Configuration, EditRun, Learning, LifeRun
from memkit.evals.data.edits import Edits
from memkit.evals.plots import draw
from memkit.evals.run_records import RecordFile, recorded
from memkit.evals.study import points as p
from memkit.evals.study.all_questions import QUESTIONS, question
from memkit.evals.study.design import Interval, Plot, Scale, Series, tiny
from memkit.evals.study.plan import planned
from memkit.evals.study.planned_capacity import planned_capacity
from memkit.evals.study.study_report import conclusions, ratios_of, write_study
from memkit.evals.study.study_run import StudyRun, run_study
from memkit.evals.study.summary import knee, slope
from memkit.lora.consolidation.capacity import fit, law_for, load_points, points_file
from memkit.testing import HashingEmbedder, tiny_llama

pytestmark = pytest.mark.slow

SCALE = Scale(quick=False, seeds=(0, 1))
FIGURES = {
    "perplexity": 12.0,
    "perplexity_base": 10.0,
    "unrelated_same": 1.0,
    "parameters": 1000.0,
    "train_cpu_seconds": 100.0,
    "cpu_seconds_per_question": 0.5,
    "answer_tokens": 80.0,
}


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    """Intervals that are wide enough to tell, sooner."""
    monkeypatch.setattr("memkit.evals.metrics.bootstrap.RESAMPLES", 200)


def answered(point, share, *, n=20, **figures):
    """A record in which so many questions were answered rightly, by every metric."""
    hits = round(share * n)
    scores = [1.0] * hits + [0.0] * (n - hits)
    names = {
        Configuration.kind: ("exact", "right", "f1", "routed"),
        EditRun.kind: ("efficacy", "locality"),
        LifeRun.kind: ("forgotten", "rolled_back", "corrected", "kept"),
        CapacityRun.kind: ("exact", "reworded", "paraphrased"),
    }[point.kind]
    made = dict.fromkeys(names, scores)
    return recorded(point, made, FIGURES | figures, data="d", base="b")


def all_at(share, but=()):
    """Records of all points at one share, but for some."""
    records = {point.key: answered(point, share) for point in planned(SCALE)}
    return records | {record.key: record for record in but}


def verdict_of(records, claim):
    for _, conclusion in conclusions(records, SCALE):
        for finding in conclusion.findings:
            if finding.claim.startswith(claim):
                return finding.verdict
    raise AssertionError(claim)


# -- summaries


def test_a_knee_is_interpolated_on_the_logarithm_of_the_load():
    # From 1.0 at 50 to 0.8 at 200: 0.9 is half way, at the geometric mean.
    assert knee([50, 200, 400], [1.0, 0.8, 0.1], 0.9) == (pytest.approx(100.0), True)
    assert knee([50, 200], [1.0, 0.95], 0.9) == (200.0, False)  # no fall was seen
    assert knee([50, 200], [0.5, 0.1], 0.9) == (50.0, False)
    assert knee([], [], 0.9) is None


def test_a_slope_is_that_of_least_squares():
    assert slope([0.0, 1.0, 2.0], [0.1, 0.3, 0.5]) == pytest.approx(0.2)
    assert slope([1.0], [0.1]) is None


# -- conclusions


def test_nothing_is_claimed_without_records():
    concluded = conclusions({}, SCALE)

    assert {f.verdict for _, c in concluded for f in c.findings} == {"cannot be told here"}
    assert ratios_of(concluded) == {}
    assert not any(c.plots for _, c in concluded)


def test_other_models_are_never_told():
    for number in ("6", "7"):
        (finding,) = question(number).conclude(None, SCALE).findings
        assert finding.verdict == "cannot be told here"


def test_every_ratio_that_is_quoted_is_there():
    assert set(ratios_of(conclusions(all_at(0.5), SCALE))) == {
        "q1_efficacy_slope",
        "q2_knee_facts_r1",
        "q2_knee_facts_r4",
        "q3_best_rank",
        "q5_best_minus_raw",
        "q8_multi_minus_single",
        "q9_nearest_over_oracle",
        "q9_centroid_over_single",
        "q10_best_merge_over_top1",
        "q11_n5_over_n1",
        "q14_hybrid_minus_best_single",
        "q15_break_even_questions",
    }


def test_efficacy_by_rank():
    shares = {1: 0.2, 2: 0.3, 4: 0.4, 8: 0.5, 16: 0.6}  # 0.1 with every doubling
    edits = [
        answered(EditRun("1K", tiny(rank), 1000, seed), share)
        for rank, share in shares.items()
        for seed in (0, 1)
    ]
    records = all_at(0.5, edits)

    assert ratios_of(conclusions(records, SCALE))["q1_efficacy_slope"] == pytest.approx(0.1)
    assert verdict_of(records, "Efficacy rises") == "holds"


def test_saturation_by_rank():
    loads = {24: 1.0, 48: 1.0, 97: 0.0, 193: 0.0, 387: 0.0}
    cells = [
        answered(p.load_point(SCALE, 1, load, seed), share)
        for load, share in loads.items()
        for seed in (0, 1)
    ]
    records = all_at(1.0, cells)
    ratios = ratios_of(conclusions(records, SCALE))

    # 0.9 is a tenth of the way from 48 to 97, in logarithms.
    assert ratios["q2_knee_facts_r1"] == pytest.approx(48 * math.exp(0.1 * math.log(97 / 48)))
    assert ratios["q2_knee_facts_r4"] == 387.0
    assert verdict_of(records, "Past a load") == "holds"
    assert verdict_of(records, "A larger rank holds more") == "holds"
    # Twice the visits make up for it in these records: it was too little training.
    assert verdict_of(records, "What looks like a full adapter") == "does not hold"


def test_one_or_several():
    several = [answered(p.several_small(SCALE, seed), 0.9) for seed in (0, 1)]
    records = all_at(0.5, several)

    ratios = ratios_of(conclusions(records, SCALE))
    assert ratios["q8_multi_minus_single"] == pytest.approx(0.4)
    assert verdict_of(records, "With the right module given") == "holds"
    assert ratios["q9_nearest_over_oracle"] == pytest.approx(0.5 / 0.9)


def test_a_difference_in_a_few_questions_is_not_told():
    several = [answered(p.several_small(SCALE, seed), 0.55) for seed in (0, 1)]

    assert verdict_of(all_at(0.5, several), "With the right module") == "cannot be told here"


def test_merges_beside_the_nearest_module():
    def at(top, way, share):
        return [
            answered(
                p.several_small(SCALE, s, routing="nearest", top=top, way=way, asked=24), share
            )
            for s in (0, 1)
        ]

    but = [*at(1, "mix", 0.8), *at(3, "ties", 0.6), *at(3, "rows", 0.8)]
    records = all_at(0.2, but)

    ratio = ratios_of(conclusions(records, SCALE))["q10_best_merge_over_top1"]
    assert ratio == pytest.approx(0.75)
    assert verdict_of(records, "TIES is the best") == "holds"
    assert verdict_of(records, "Every merge of three is behind") == "holds"
    assert verdict_of(records, "Modules that answer in rows") == "holds"


def test_break_even_counts_the_training():
    name = "cpu_seconds_per_question"
    size, asked = p.reports_size(SCALE)
    prompt = Configuration("invented reports", size, context="icl", asked=asked)
    weights = [answered(p.reports_single(SCALE, seed), 0.5, **{name: 0.3}) for seed in (0, 1)]
    dear = all_at(0.5, [answered(prompt, 0.5, **{name: 0.8}), *weights])
    cheap = all_at(0.5, [answered(prompt, 0.5, **{name: 0.2}), *weights])

    # 100 seconds of training, half a second saved by each question.
    even = "q15_break_even_questions"
    assert ratios_of(conclusions(dear, SCALE))[even] == pytest.approx(200.0)
    assert ratios_of(conclusions(cheap, SCALE))[even] == -1.0  # never


def test_forgotten_facts_that_come_back_are_a_failure():
    lives = [point for point in planned(SCALE) if point.kind == LifeRun.kind]

    assert verdict_of(all_at(1.0), "What is forgotten") == "holds"
    failed = all_at(1.0, [answered(lives[0], 0.95)])
    assert verdict_of(failed, "What is forgotten") == "does not hold"


def test_what_consolidate_plans_is_asked_of_adapters_within_its_law():
    """By the law that ships, rank 1 is given 82 answer tokens; to other bases half of that."""
    full = CapacityRun(1, 12, 0), CapacityRun(1, 48, 0), CapacityRun(8, 96, 0)

    def verdict(shares, tokens, base):
        records = [
            replace(answered(run, share, n=100, answer_tokens=load), environment={"base": base})
            for run, share, load in zip(full, shares, tokens, strict=True)
        ]
        return planned_capacity(records).verdict

    default = "SmolLM2-135M-Instruct"
    assert verdict((0.9, 0.3, 0.95), (82, 323, 647), default) == "holds"  # 323 is more than planned
    assert verdict((0.89, 1.0, 1.0), (82, 323, 647), default) == "does not hold"
    assert verdict((0.0, 0.0, 0.0), (83, 323, 648), default) == "cannot be told here"
    assert verdict((0.0, 0.0, 0.0), (82, 323, 647), "another") == "cannot be told here"


# -- the plan


def test_every_question_has_points_and_none_is_measured_twice():
    for scale in (SCALE, Scale(quick=True, seeds=(0,))):
        keys = [point.key for point in planned(scale)]
        assert len(keys) == len(set(keys))
        for found in QUESTIONS:
            made = [q.key for q in found.points(scale, 0) + found.later(scale, 0)]
            assert set(made) <= set(keys), found.numbers
            assert bool(made) != bool(found.needs)


def test_the_first_seed_of_everything_comes_first():
    seeds = [point.seed for point in planned(SCALE)][: len(planned(SCALE)) // 3]

    assert seeds == sorted(seeds)


def test_without_published_data_invented_data_stands_in():
    points = planned(Scale(quick=True, published=False, texts=(), seeds=(0,)))
    kinds = {point.kind for point in points}
    data = {point.data for point in points if point.kind == Configuration.kind}

    assert kinds == {Configuration.kind, LifeRun.kind, CapacityRun.kind}
    assert data == {"invented phone book", "invented reports"}


def test_long_texts_are_learned_where_they_are_given(tmp_path):
    for folder in ("phonebook", "narrativeqa", "quality"):
        (tmp_path / folder).mkdir()

    scale = StudyRun(quick=False, data=tmp_path).scale

    assert (scale.published, scale.texts) == (True, ("stories", "articles"))
    claims = [finding.claim for _, c in conclusions({}, scale) for finding in c.findings]
    learned = [claim.split(",")[0] for claim in claims if "learned as text" in claim]
    assert learned == ["Summaries of stories", "Long articles"]
    named = {point.data for point in planned(scale) if point.kind == Configuration.kind}
    assert {"stories", "articles"} < named
    assert "papers" not in named


def test_each_base_model_has_records_of_its_own(tmp_path):
    run, first, second = StudyRun(folder=tmp_path), tiny_llama(seed=0), tiny_llama(seed=1)

    assert run.place(first) != run.place(second)
    assert run.place(first) == run.place(tiny_llama(seed=0))


def test_unknown_questions_are_refused():
    with pytest.raises(InvalidInputError, match="1 to 15 or 'beyond', got '16'"):
        question("16")


def test_targets_are_listed_once():
    assert Edits("none", ()).targets == ()


# -- figures and the page


def test_a_figure_has_the_same_bytes_every_time(tmp_path):
    values = (Interval(0.5, 0.4, 0.6, 1, 20), None)
    for kind in ("lines", "bars"):
        plot = Plot("a", "Title", "x", "y", ("1", "2"), (Series("s", values),), kind=kind)
        for name in ("one.svg", "two.svg"):
            draw(plot, tmp_path / name)
        content = (tmp_path / "one.svg").read_bytes()
        assert content == (tmp_path / "two.svg").read_bytes()
        assert b"<svg" in content


def test_the_page_says_what_is_there_and_what_is_missing(tmp_path):
    done = [point for point in planned(SCALE) if point.seed == 0]
    records = {point.key: answered(point, 0.5) for point in done}
    page = tmp_path / "study.md"
    write_study(page, records, SCALE, command="memkit study --full")
    text = page.read_text(encoding="utf-8")

    assert f"{len(done)} of {len(planned(SCALE))} points are there; the same command" in text
    assert "- Command: `memkit study --full`" in text
    assert "| 8 | 3 of 3 | 1 of 3 |" in text  # the prompt is the same for every seed
    assert "needs other bases: claimed nothing" in text
    assert text.count("cannot be told here") >= 2
    for line in text.splitlines():
        if line.startswith("!["):
            assert (tmp_path / line.partition("(")[2].rstrip(")")).is_file()


# -- the command


@pytest.fixture
def in_miniature(small_models, monkeypatch):
    """Default models that are small, and adapters that are hardly trained."""

    def once(rank, epochs=1, forms=("qa",), writer="offline"):
        return Learning(rank, layers=(0.5, 1.0), epochs=1, forms=forms, writer=writer)

    monkeypatch.setattr(p, "small", once)
    monkeypatch.setattr(p, "tiny", once)
    monkeypatch.delenv("MEMKIT_EVAL_DATA", raising=False)


def test_a_question_in_miniature(in_miniature, tmp_path, capsys):
    json_path, page = tmp_path / "study.json", tmp_path / "study.md"
    words = ["study", "--quick", "--question", "8", "--results", str(tmp_path / "results")]
    words += ["--report", str(page), "--json", str(json_path), "--csv", str(tmp_path / "all.csv")]
    assert run_command(words) == 0
    first = capsys.readouterr()
    assert run_command(words) == 0
    again = capsys.readouterr()

    assert first.out.strip() == str(page)
    assert "[3/3]" in first.err
    assert "no published data is given" in first.err
    assert "3 of 3 points are there already" in again.err
    document = json.loads(json_path.read_text(encoding="utf-8"))
    assert document["name"] == "study"
    assert "q8_multi_minus_single" in document["ratios"]
    with (tmp_path / "all.csv").open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["case"] for row in table] == [result["case"] for result in document["results"]]
    assert float(table[0]["value"]) == document["results"][0]["value"]
    assert "## Question 8" in page.read_text(encoding="utf-8")


def test_two_scales_at_once_are_refused(in_miniature, capsys):
    assert run_command(["study", "--quick", "--full"]) == 2
    assert "expected --quick or --full" in capsys.readouterr().err


def test_other_seeds_are_other_points(tmp_path):
    run = StudyRun(folder=tmp_path, seeds=(7,), numbers=("8",))

    assert {point.seed for point in run.points} == {7, 0}  # 0: the prompt has none


def test_the_whole_study_in_miniature(in_miniature, tmp_path, monkeypatch):
    """Every point of every question, through the real loop: untrained, but for a visit or two."""

    monkeypatch.setattr("memkit.evals.run.every", lambda asked, _most: list(asked)[:2])
    monkeypatch.setattr(p, "shared_out", lambda _: (10, 5))
    monkeypatch.setattr(
        p, "lives", lambda _, seed: [LifeRun(4, Learning(2, layers=(0.5, 1.0), epochs=1), seed)]
    )
    run = StudyRun(folder=tmp_path)
    told = []
    monkeypatch.setenv("MEMKIT_CACHE", str(tmp_path / "cache"))
    base = tiny_llama()
    page = run_study(run, base, HashingEmbedder(), command="memkit study --quick", tell=told.append)

    text = page.read_text(encoding="utf-8")
    assert len(RecordFile(run.place(base) / "records.jsonl").read()) == len(run.points) > 40
    assert f"{len(run.points)} of {len(run.points)} points are there." in text
    assert all(f"## Question {n}" in text for n in ("2, 3", "4, 5", "8", "9", "10", "11", "12"))
    assert len(list((page.parent / "study").glob("*.svg"))) >= 9
    assert "about" in told[-2]  # how long the rest takes
    assert not points_file(base.fingerprint).exists()  # too small for `consolidate` to go by


def test_a_report_has_its_records_beside_it_and_another_machine_goes_on_with_them(
    in_miniature, tmp_path, monkeypatch
):
    monkeypatch.setenv("MEMKIT_CACHE", str(tmp_path / "cache"))
    base, page, told = tiny_llama(), tmp_path / "docs" / "study.md", []
    measured = [CapacityRun(1, 2, 0)]
    monkeypatch.setattr(StudyRun, "points", property(lambda _: measured))

    def study_on(machine):
        run = StudyRun(quick=False, folder=tmp_path / machine, page=page)
        run_study(run, base, HashingEmbedder(), command="memkit study --full", tell=told.append)
        return RecordFile(run.place(base) / "records.jsonl").read()

    first = study_on("first")
    measured = [CapacityRun(1, 2, seed) for seed in (0, 1)]
    second = study_on("second")

    assert (len(first), len(second)) == (1, 2)
    assert first.items() <= second.items()  # not measured again: the same time stands in it
    assert any(line.startswith("1 point was measured before") for line in told)
    (beside,) = (page.parent / "study").glob("full-*.jsonl")
    assert RecordFile(beside).read() == second


def test_consolidation_goes_by_what_was_measured_in_full(in_miniature, tmp_path, monkeypatch):
    monkeypatch.setenv("MEMKIT_CACHE", str(tmp_path / "cache"))
    base, told = tiny_llama(), []
    monkeypatch.setattr(
        StudyRun, "points", property(lambda _: [CapacityRun(1, 2, seed) for seed in (0, 1)])
    )
    run = StudyRun(quick=False, folder=tmp_path)
    run_study(run, base, HashingEmbedder(), command="memkit study --full", tell=told.append)

    points = load_points(points_file(base.fingerprint))
    assert [point.case for point in points] == [(2, 1, 0), (2, 1, 1)]
    assert "goes by the capacity of 2 adapters" in told[-1]
    assert law_for(base) == fit(points)
