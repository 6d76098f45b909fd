"""Points are measured once, in any order, and a kill loses nothing but the point it hits."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import nullcontext
from dataclasses import replace

import pytest

from memkit.answering.prompt import Assembled
from memkit.errors import CorruptFileError, InvalidInputError
from memkit.evals.asking import MissingEvidenceError, ask
from memkit.evals.configuration import Configuration, EditRun, Learning, LifeRun
from memkit.evals.data.dataset import Asked, DataSet, Document, Pair
from memkit.evals.data.invented_reports import invented_reports
from memkit.evals.general_ability import perplexity
from memkit.evals.lab import Lab
from memkit.evals.leakage import LeakError
from memkit.evals.mixtures_of_modules import ModuleMixer
from memkit.evals.partitions import partition
from memkit.evals.run import run
from memkit.evals.run_records import RecordFile, recorded
from memkit.evals.schedule import measure
from memkit.lora.serving.hooks import Factors, Scaled
from memkit.testing import HashingEmbedder

pytestmark = pytest.mark.slow

SMALL = Learning(rank=16, layers=(0, 1), epochs=150)


def book(badges):
    """Facts that the tiny model can learn by heart, as a data set."""
    return DataSet(
        "badges",
        tuple(Document(d.id, d.text) for d in badges),
        tuple(Asked(d.question, (d.answer,), d.id, trained=True) for d in badges),
        tuple(Pair(d.question, d.answer, d.id) for d in badges),
    )


@pytest.fixture
def lab(tiny, tmp_path, badges):
    with Lab(tiny, HashingEmbedder(), tmp_path / "lab") as lab:
        lab.add(book(badges))
        yield lab


def timeless(record):
    """A record without what differs from run to run."""
    figures = {k: v for k, v in record.figures.items() if "seconds" not in k}
    return replace(record, figures=figures, finished="", environment={})


# -- what a point measures


def test_what_is_learned_is_recalled_and_the_base_model_does_not_know_it(lab):
    base = run(Configuration("badges", 8), lab)
    learned = run(Configuration("badges", 8, SMALL), lab)

    assert base.mean("exact") == 0.0
    assert learned.mean("exact") >= 0.75
    assert learned.figures["perplexity"] > 0
    # rank * (in + out) of seven layers in each of two decoder layers
    layers = 2 * ((64 + 64) + 2 * (64 + 32) + (64 + 64) + 2 * (64 + 128) + (128 + 64))
    assert learned.figures["parameters"] == 16 * layers
    assert learned.figures["bytes"] == 2 * 16 * layers
    assert learned.environment["base"] == lab.base.name


def test_the_right_module_is_asked_by_an_oracle_and_trained_once(lab):
    point = Configuration("badges", 8, SMALL, modules=2)
    first = run(point, lab)
    trained = sorted(file.name for file in (lab.folder / "adapters").iterdir())
    again = run(replace(point, way="ties"), lab)

    assert first.mean("routed") == 1.0
    assert first.mean("exact") >= 0.75
    assert trained == sorted(file.name for file in (lab.folder / "adapters").iterdir())
    assert again.scores["exact"] == first.scores["exact"]  # one module needs no merging


def test_the_wrong_module_does_not_know(lab, badges):
    """Asked through a fixed module, the facts of the other one are not there."""
    both = run(Configuration("badges", 8, SMALL, modules=2, routing="fixed", top=1), lab)

    assert both.figures["questions"] == 4  # its own alone
    assert both.mean("routed") == 1.0


def test_evidence_is_in_the_prompt_or_the_run_stops(lab, tiny):
    with_evidence = run(Configuration("badges", 8, context="icl", budget=240), lab)
    without = run(Configuration("badges", 8), lab)

    assert with_evidence.mean("retrieved") > 0
    assert with_evidence.figures["prompt_tokens"] > without.figures["prompt_tokens"]
    asked = [Asked("Which badge?", ("1",), "d")]
    lost = Assembled(text="- what the template drops", tokens=4)
    chat = tiny.prompt
    tiny.prompt = lambda question, system=None, history=(): chat(question)
    try:
        with pytest.raises(MissingEvidenceError, match="what the template drops"):
            ask(tiny, asked, [lost], [[]], lambda _: nullcontext())
    finally:
        tiny.prompt = chat


def test_retrieval_finds_what_the_question_is_about(lab):
    record = run(Configuration("badges", 8, context="rag"), lab)

    assert record.mean("retrieved") == 1.0


def test_a_deliberate_leak_stops_before_anything_is_trained(lab):
    reports = invented_reports(4)
    stolen = reports.asked[0]
    leaky = replace(reports, name="leaky", pairs=(Pair(stolen.question, "1", stolen.document),))
    lab.add(leaky)

    with pytest.raises(LeakError, match="is among what would be trained"):
        run(Configuration("leaky", 4, SMALL), lab)
    assert not (lab.folder / "adapters").exists()


def test_rows_of_their_own_take_the_surest(lab):
    record = run(
        Configuration("badges", 8, SMALL, modules=2, routing="nearest", top=2, way="rows"), lab
    )

    assert record.mean("routed") > 0.5
    assert record.mean("exact") >= 0.5


# -- mixtures


@pytest.mark.parametrize("way", ["mix", "linear", "cat", "cat_root", "mean_delta", "ties"])
def test_ways_to_put_copies_together(lab, tiny, way):
    """Of N copies the mean is one of them, cat is N, linear N (cross terms)."""
    import torch

    torch.manual_seed(0)
    adapter = {
        name: Factors(torch.randn(2, n_in) / 8, torch.randn(n_out, 2) / 8)
        for name, (n_in, n_out) in lab.layers.targets(SMALL.lora).items()
    }
    copies = {name: Scaled(adapter, 2, 0.5) for name in "abc"}
    times = {"mix": 1, "linear": 3, "mean_delta": 1, "cat": 3, "cat_root": 3**0.5}

    def loss(mixer, names):
        return perplexity(tiny, lambda rows: mixer.place([names] * rows), ["The night porter"])

    mixed = loss(ModuleMixer(tiny, lab.layers, copies, way, 0), ["a", "b", "c"])
    if way == "ties":  # of each factor the largest half stays: something else
        assert mixed != pytest.approx(loss(ModuleMixer(tiny, lab.layers, copies, way, 0), ["a"]))
        return
    by_hand = {"a": Scaled(adapter, 2, 0.5 * times[way])}
    assert mixed == pytest.approx(
        loss(ModuleMixer(tiny, lab.layers, by_hand, "mix", 0), ["a"]), rel=1e-4
    )


def test_partitions_are_disjoint_and_complete():
    documents = invented_reports(10).documents
    for by, modules in (("order", 3), ("topic", 4), ("document", 1)):
        parts = partition(documents, by, modules)
        assert sorted(d.id for part in parts.values() for d in part) == sorted(
            d.id for d in documents
        )
        assert all(parts.values())
    topics = [{d.topic for d in part} for part in partition(documents, "topic", 4).values()]
    assert [len(topic) for topic in topics] == [1, 1, 1, 1]
    with pytest.raises(InvalidInputError, match="at most 4 modules, one for each topic, got 5"):
        partition(documents, "topic", 5)


# -- configurations and records


@pytest.mark.parametrize(
    "point",
    [
        Configuration("badges", 8, Learning(targets=("q_proj",)), modules=2, way="rows", seed=3),
        Configuration("badges", 8),
        EditRun("1K", Learning()),
        LifeRun(6),
    ],
)
def test_points_survive_json(point):
    back = type(point).from_dict(json.loads(json.dumps(point.as_dict())))

    assert back == point
    assert back.key == point.key
    assert replace(point, seed=9).key != point.key


def test_values_that_cannot_be_meant_are_refused():
    with pytest.raises(InvalidInputError, match=r"`way` must be one of .*got 'stir'"):
        Configuration("badges", 8, way="stir")
    with pytest.raises(InvalidInputError, match="forms among"):
        Learning(forms=("songs",))


def test_a_torn_line_is_measured_again_and_others_are_kept(tmp_path, caplog):
    file = RecordFile(tmp_path / "records.jsonl")
    points = [Configuration("badges", 8, seed=seed) for seed in range(2)]
    for point in points:
        file.append(recorded(point, {"exact": [1.0]}, {}, data="d", base="b"))
    whole = file.path.read_bytes()
    file.path.write_bytes(whole[:-20])

    assert set(file.read()) == {points[0].key}
    assert "torn" in caplog.text
    file.append(recorded(points[1], {"exact": [1.0]}, {}, data="d", base="b"))
    assert set(file.read()) == {point.key for point in points}


def test_records_of_another_file_are_taken_where_they_are_missing_or_later(tmp_path):
    def record(seed, score, day):
        made = recorded(
            Configuration("badges", 8, seed=seed), {"exact": [score]}, {}, data="d", base="b"
        )
        return replace(made, finished=f"2026-11-{day:02}T00:00:00+00:00")

    ours, theirs = RecordFile(tmp_path / "ours.jsonl"), RecordFile(tmp_path / "theirs.jsonl")
    for each in (record(0, 0.1, 2), record(1, 0.2, 2), record(2, 0.3, 2)):
        ours.append(each)
    for each in (record(1, 0.4, 1), record(2, 0.5, 3), record(3, 0.6, 1)):
        theirs.append(each)

    assert ours.take(theirs) == 2
    scores = {r.seed: r.mean("exact") for r in ours.read().values()}
    assert scores == {0: 0.1, 1: 0.2, 2: 0.5, 3: 0.6}
    assert ours.take(theirs) == 0
    assert ours.take(RecordFile(tmp_path / "none.jsonl")) == 0


def test_a_record_that_cannot_be_read_is_named(tmp_path):
    file = RecordFile(tmp_path / "records.jsonl")
    file.path.write_text('{"format": 1}\n', encoding="utf-8")

    with pytest.raises(CorruptFileError, match="a record in line 1"):
        file.read()


# -- resuming

SCRIPT = """
import sys
from pathlib import Path
from memkit.evals.configuration import Configuration, Learning
from memkit.evals.lab import Lab
from memkit.evals.run_records import RecordFile
from memkit.evals.schedule import measure
from memkit.testing import HashingEmbedder, tiny_llama

folder = Path(sys.argv[1])
points = [
    Configuration("invented phone book", 8, Learning(rank=2, layers=(0, 1)), seed=seed)
    for seed in range(200)
]
with Lab(tiny_llama(), HashingEmbedder(), folder) as lab:
    measure(points, lab, RecordFile(folder / "records.jsonl"), tell=lambda _: None)
"""


def test_a_killed_run_is_resumed_with_the_same_results(tiny, tmp_path):
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    script = tmp_path / "run.py"
    script.write_text(textwrap.dedent(SCRIPT), encoding="utf-8")
    process = subprocess.Popen([sys.executable, str(script), str(killed)], env=os.environ.copy())
    records = killed / "records.jsonl"
    while process.poll() is None and not (records.exists() and records.stat().st_size):
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = RecordFile(records).read()
    assert done  # and far from all
    points = [
        Configuration("invented phone book", 8, Learning(rank=2, layers=(0, 1)), seed=seed)
        for seed in range(len(done) + 1)
    ]

    told = []
    with Lab(tiny, HashingEmbedder(), killed) as lab:
        resumed = measure(points, lab, RecordFile(records), tell=told.append)
    with Lab(tiny, HashingEmbedder(), whole) as lab:
        afresh = measure(points, lab, RecordFile(whole / "records.jsonl"), tell=lambda _: None)

    assert told[0] == f"{len(done)} of {len(points)} points are there already"
    assert {k: timeless(r) for k, r in resumed.items()} == {
        k: timeless(r) for k, r in afresh.items()
    }
    assert all(resumed[key] == record for key, record in done.items())  # not measured again


def test_other_data_under_the_same_name_is_measured_again(lab, tiny, tmp_path, badges):
    file = RecordFile(tmp_path / "records.jsonl")
    point = Configuration("badges", 8)
    before = measure([point], lab, file, tell=lambda _: None)[point.key]
    with Lab(tiny, HashingEmbedder(), tmp_path / "other") as other:
        data = book(badges)
        other.add(replace(data, documents=(*data.documents[:7], Document("x", "New."))))
        after = measure([point], other, file, tell=lambda _: None)[point.key]

    assert before.data != after.data


def test_no_point_is_started_when_time_is_up(lab, tmp_path):
    told = []
    file = RecordFile(tmp_path / "records.jsonl")
    measure([Configuration("badges", 8)], lab, file, tell=told.append, seconds=0.0)

    assert told == ["time is up: 1 points are left for the next run"]
    assert not file.read()


# -- edits and lives


def test_edited_statements_win_over_what_the_model_believed(tiny, tmp_path):
    folder = tmp_path / "data" / "counterfact"
    folder.mkdir(parents=True)
    pairs = [("Ada works in", "Mars"), ("The harbour is in", "Rome"), ("Who runs it is", "Bo")]
    lines = "\n".join(f"{prompt} {target}" for prompt, target in pairs[:2])
    (folder / "counterfact_edit_1K.csv").write_text(f"text\n{lines}\n", encoding="utf-8")
    rows = [{"question": prompt, "answer": target} for prompt, target in pairs]
    (folder / "counterfact_eval_qa.json").write_text(json.dumps(rows), encoding="utf-8")
    with Lab(tiny, HashingEmbedder(), tmp_path, tmp_path / "data") as lab:
        base = run(EditRun("1K", None), lab)
        edited = run(EditRun("1K", replace(SMALL, epochs=60)), lab)

    assert base.mean("efficacy") == 0.0  # the rival is what the base model prefers
    assert edited.mean("efficacy") == 1.0
    assert edited.mean("margin") > base.mean("margin")
    assert len(edited.scores["locality"]) == 1
    assert base.mean("locality") == 1.0


def test_a_memory_forgets_and_is_corrected(lab):
    record = run(LifeRun(5, replace(SMALL, epochs=3)), lab)

    assert record.mean("forgotten") == 1.0
    assert record.mean("rolled_back") == 1.0
    assert {name: len(values) for name, values in record.scores.items()} == {
        "held": 5,
        "learned": 5,
        "forgotten": 2,
        "corrected": 2,
        "kept": 1,
        "rolled_back": 2,
    }
