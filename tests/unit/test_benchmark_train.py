"""The benchmark `train` on a tiny model: what it compares, and what it writes down."""

import json
from dataclasses import replace

import pytest
from benchmarks.command import main
from benchmarks.engine import peft_loop, train

from memkit.errors import CorruptFileError, NotFoundError
from memkit.evals.data.phone_book import Entry, drafts_of, invented, read
from memkit.lora.spec import LoraSpec, TrainSpec
from memkit.models.language_model import TransformersModel
from memkit.testing import tiny_llama

HEAD = "text\n"


def write(folder, *lines):
    book = folder / "phonebook" / "phonebook_qa_8K.csv"
    book.parent.mkdir()
    book.write_text(HEAD + "".join(f'"{line}"\n' for line in lines), encoding="utf-8")


def test_invented_entries_are_distinct_and_repeat():
    entries = invented(48, seed=3)

    assert entries == invented(48, seed=3)
    assert len({entry.name for entry in entries}) == 48
    assert all([len(part) for part in entry.number.split("-")] == [3, 3, 4] for entry in entries)


def test_the_studys_lines_are_read(tmp_path):
    write(
        tmp_path,
        "Question: What is the phone number of Ada Lind? Answer: 123-456-7890",
        "Question: What is the phone number of Bo O'Hara? Answer: 222-333-4444",
    )

    assert read(tmp_path, 1) == [Entry("Ada Lind", "123-456-7890")]
    assert read(tmp_path, 2)[1] == Entry("Bo O'Hara", "222-333-4444")


def test_other_data_are_refused(tmp_path):
    with pytest.raises(NotFoundError, match=r"PhoneBook in .*found no such file"):
        read(tmp_path, 1)
    write(tmp_path, "Ada Lind: 123")
    with pytest.raises(
        CorruptFileError, match=r"a question and its answer in .*got 'Ada Lind: 123'"
    ):
        read(tmp_path, 1)


def test_entries_become_drafts():
    [draft] = drafts_of([Entry("Ada Lind", "123-456-7890")])

    assert draft.question == "What is the phone number of Ada Lind?"
    assert draft.answer == "123-456-7890"
    assert draft.answer in draft.text


@pytest.mark.slow
def test_the_report_has_every_case_and_ratio(tmp_path, monkeypatch, capsys):
    short = TrainSpec(epochs=2, batch_size=2, guards=1)
    monkeypatch.setattr(TransformersModel, "load", lambda **_: tiny_llama())
    monkeypatch.setattr(train, "FACTS", 2)
    monkeypatch.setattr(peft_loop, "STUDY_MEASURED", 2)
    monkeypatch.setattr(train, "LORA", LoraSpec(rank=2))
    monkeypatch.setattr(train, "TRAIN", short)
    monkeypatch.setattr(train, "PLAIN", short)
    monkeypatch.setattr(train, "PLAIN_REWORDED", replace(short, epochs=3))

    assert main(["train", "--seeds", "2", "--json", str(tmp_path / "t.json")]) == 0

    report = json.loads((tmp_path / "t.json").read_text(encoding="utf-8"))
    assert report["name"] == "train"
    times = {"train_vs_peft", "train_vs_peft_reworded", "train_vs_study"}
    ratios = times | {"exact_match", "paraphrase", "train_vs_float32", "train_vs_peft_same_stop"}
    assert set(report["ratios"]) == ratios | {f"{name}_quality" for name in ratios}
    values = {(r["case"], r["metric"]): r for r in report["results"]}
    assert values["quality", "steps"]["n"] == 2
    assert values["plain PEFT loop", "steps"]["value"] == 2  # two epochs of one batch
    assert values["plain PEFT loop, all wordings", "steps"]["value"] == 3
    assert values["the study's recipe", "step"]["n"] == 2
    study, step = (values["the study's recipe", m]["value"] for m in ("extrapolated", "step"))
    assert study == pytest.approx(1500 * step)
    ours = values["quality", "time to recall"]["value"]
    plain = values["plain PEFT loop", "time to recall"]["value"]
    until = values["quality", "until all were mastered"]["value"]
    assert until == ours  # nothing is mastered in two epochs
    for suffix in ("", "_quality"):
        assert report["ratios"][f"train_vs_study{suffix}"] == pytest.approx(study / ours)
        assert report["ratios"][f"train_vs_peft_same_stop{suffix}"] == pytest.approx(plain / until)
    assert "train_vs_peft" in capsys.readouterr().out
