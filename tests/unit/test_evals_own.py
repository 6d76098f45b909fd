"""One's own documents: the table, the recommendation, the page and the command."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from memkit.cli.app import run_command
from memkit.errors import InvalidInputError
from memkit.evals.configuration import MemoryRun
from memkit.evals.data.dataset import Asked, DataSet, Document, Pair
from memkit.evals.lab import Lab
from memkit.evals.leakage import LeakError, check_leaks
from memkit.evals.metrics.bootstrap import Interval
from memkit.evals.own_documents import (
    Advice,
    Evaluation,
    Row,
    advice_text,
    advise,
    with_questions,
)
from memkit.evals.own_page import as_json, as_text, write_page
from memkit.evals.run_memory import HeldBack, run_memory
from memkit.evals.writers import write
from memkit.lora.training.template_synthesizer import TemplateSynthesizer
from memkit.testing import HashingEmbedder, tiny_llama
from memkit.types import Record

pytestmark = pytest.mark.slow

NOW = datetime(2026, 1, 1, tzinfo=UTC)
HALF = Interval(0.5, 0.4, 0.6, 1, 20)
ASKED = [Asked(f"question {n}", ("a",), f"d{n // 2}") for n in range(20)]


def row(name, share, tokens, training=0.0, even=None):
    return Row(name, replace(HALF, mean=share), tokens, 0.1, training, 2048, even)


def scores(share):
    return [1.0] * round(20 * share) + [0.0] * (20 - round(20 * share))


def advice(**shares):
    tokens = {"base model": 40.0, "everything in the prompt": 900.0, "retrieval": 150.0}
    rows = [
        row(name, share, tokens.get(name, 60.0), 0.0 if name in tokens else 80.0, 160.0)
        for name, share in ((key.replace("_", " "), value) for key, value in shares.items())
    ]
    return advise(rows, {r.name: scores(r.quality.mean) for r in rows}, ASKED)


def test_the_cheapest_of_what_is_as_good_is_recommended():
    chosen = advice(
        base_model=0.1, everything_in_the_prompt=0.8, retrieval=0.8, routed_adapters=0.75
    )

    assert chosen.choice == "retrieval"  # as good as the prompt, with fewer tokens
    assert "150 prompt tokens" in chosen.reason
    assert "nothing that is trained is clearly better" in chosen.reason


def test_training_is_recommended_where_it_is_clearly_better():
    chosen = advice(base_model=0.1, retrieval=0.3, routed_adapters=0.95)

    assert chosen.choice == "routed adapters"
    assert "training took 80 CPU seconds and pays off after 160 questions" in chosen.reason
    # 19 of 20 questions were right; the last document's second one was not.
    assert chosen.in_weights == tuple(f"d{n}" for n in range(9))


def test_nothing_is_learned_from_questions_that_nobody_answers():
    chosen = advice(base_model=0.0, retrieval=0.05, routed_adapters=0.1)

    assert chosen.choice == "retrieval"
    assert "no configuration answers" in chosen.reason


def evaluation(written=False):
    rows = (row("base model", 0.1, 40.0), row("routed <adapters>", 0.9, 60.0, 80.0, 160.0))
    choice = Advice("routed <adapters>", "it is better", ("d1", "d2"))
    return Evaluation("mine.jsonl", 7, 20, written, rows, choice, "tiny")


def test_the_text_has_every_column_and_the_advice():
    text = as_text(evaluation(written=True))

    assert "7 documents, 20 questions, written by memkit." in text
    assert "pays off after" in text
    assert "160" in text
    assert "Keep these 2 of 7 documents in weights" in text
    assert "real questions are harder" in text


def test_the_advice_says_when_weights_hold_nothing():
    none = replace(evaluation(), advice=Advice("retrieval", "it is better", ()))

    assert "Weights alone answered no document" in advice_text(none)


def test_json_is_whole():
    document = json.loads(json.dumps(as_json(evaluation())))

    assert document["advice"]["in_weights"] == ["d1", "d2"]
    assert document["rows"][1]["break_even"] == 160.0
    assert document["environment"]["memkit"]


def test_the_page_needs_nothing_else_and_escapes_what_it_shows(tmp_path):
    path = tmp_path / "page.html"
    write_page(path, evaluation())
    page = path.read_text(encoding="utf-8")

    assert "<svg" in page
    assert "routed &lt;adapters&gt;" in page
    assert "routed <adapters>" not in page
    assert "<script" not in page
    assert 'href="http' not in page.replace("http://www.w3.org", "")
    assert '<tr class="chosen">' in page


def test_questions_are_written_where_there_are_none():
    data = DataSet("mine", (Document("d", "Mara Feld's extension is 4417. It rains."),), ())
    asked = with_questions(data, TemplateSynthesizer()).asked

    assert ("4417",) in [question.answers for question in asked]
    assert all(question.trained and question.document == "d" for question in asked)
    with pytest.raises(InvalidInputError, match="sentences that can be asked for"):
        with_questions(DataSet("mine", (Document("d", "…"),), ()), TemplateSynthesizer())


@pytest.fixture
def small(small_models, monkeypatch, tmp_path):
    """Default models that are small, and a cache that is empty."""
    monkeypatch.setenv("MEMKIT_CACHE", str(tmp_path / "cache"))


LINES = """\
{"id": "hours", "text": "The workshop opens at seven.", "question": "When can I come in?", \
"answer": "at seven"}
{"text": "Mara Feld's extension is 4417.", "question": "Which number has Mara?", "answer": "4417"}
{"question": "What colour is the roof?"}
"""


def test_the_command_compares_and_recommends(small, tmp_path, capsys):
    file, page = tmp_path / "mine.jsonl", tmp_path / "mine.html"
    file.write_text(LINES, encoding="utf-8")
    assert run_command(["eval", str(file), "--html", str(page)]) == 0
    shown = capsys.readouterr()
    assert run_command(["eval", str(file), "--json"]) == 0
    again = capsys.readouterr()

    assert "2 documents, 3 questions." in shown.out
    assert "[10/10]" in shown.err
    assert "10 of 10 points are there already" in again.err
    assert [r["name"] for r in json.loads(again.out)["rows"]][:2] == [
        "base model",
        "everything in the prompt",
    ]
    assert "<svg" in page.read_text(encoding="utf-8")


def test_a_judge_marks_what_has_a_reference(small, tmp_path, monkeypatch, capsys):
    """Two of three questions have one; at the third it counts whether the model abstains."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.jsonl").write_text(LINES, encoding="utf-8")
    (tmp_path / "strict_judges.py").write_text('def judge(prompt):\n    return "3"\n')
    words = ["eval", "mine.jsonl", "--judge", "strict_judges:judge"]

    assert run_command(words) == 0
    shown = capsys.readouterr().out
    assert run_command([*words, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]

    assert "judge (95 %)" in shown
    marks = {round(row["judged"]["mean"], 3) for row in rows}
    assert marks <= {0.2, 0.533}  # 0.3 twice, and 0 or 1 from abstaining
    for unknown in ("strict_judges:nobody", "no_such_module:judge", "strict_judges"):
        with pytest.raises(InvalidInputError, match="expected a judge as MODULE:NAME"):
            run_command(["eval", "mine.jsonl", "--judge", unknown])


def test_memkit_does_not_train_the_questions_that_are_asked():
    sentence = Document("d", "Mara Feld's extension is 4417.")
    asked = (Asked("What is Mara Feld's extension?", ("4417",), "d"),)
    (free,) = write(DataSet("mine", (sentence,), ()), [sentence], ["qa"])
    (lesson,) = write(DataSet("mine", (sentence,), asked), [sentence], ["qa"])

    assert "What is Mara Feld's extension?" in free.wordings
    assert 0 < len(lesson.wordings) < len(free.wordings)
    check_leaks([lesson], asked)
    with pytest.raises(LeakError):
        check_leaks([free], asked)


def test_a_question_that_is_given_to_be_learned_stops_the_command(small, tmp_path):
    file = tmp_path / "mine.jsonl"
    line = {
        "text": "Mara Feld's extension is 4417.",
        "question": "What is Mara Feld's extension?",
        "answer": "4417",
        "pairs": [{"question": "What is Mara Feld's extension?", "answer": "4417"}],
    }
    file.write_text(json.dumps(line), encoding="utf-8")

    with pytest.raises(InvalidInputError, match="is among what would be trained"):
        run_command(["eval", str(file)])


def test_a_memory_is_not_taught_what_it_is_asked():
    record = Record("d", "Mara Feld's extension is 4417.", None, None, {}, {}, NOW, NOW, 1, "")
    asked = (Asked("What is Mara Feld's extension?", ("4417",), "d"),)
    free = {e.question for e in TemplateSynthesizer().examples([record])}
    held = {e.question for e in HeldBack(asked).examples([record])}

    assert asked[0].question in free
    assert held < free
    assert asked[0].question not in held
    assert HeldBack(asked).key != HeldBack(()).key


def test_a_memory_answers_from_its_index(tmp_path):
    data = DataSet(
        "mine",
        (
            Document("hours", "The workshop opens at seven."),
            Document("pay", "Wages come on Friday."),
        ),
        (Asked("At what hour opens the workshop?", ("seven",), "hours"),),
        (Pair("Who pays the wages?", "Mara", "pay"),),
    )
    with Lab(tiny_llama(), HashingEmbedder(), tmp_path) as lab:
        lab.add(data)
        record = run_memory(MemoryRun("mine", 2), lab)

    assert record.scores["quality"] == [1.0]  # the sentence is quoted
    assert record.scores["retrieved"] == [1.0]
    assert record.figures["train_cpu_seconds"] == record.figures["held"] == 0.0
    assert record.figures["prompt_tokens"] > 0
