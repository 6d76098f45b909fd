"""Published formats, one's own files, generators, and the guard against leaks."""

import csv
import json

import pytest

from memkit.errors import CorruptFileError, InvalidInputError, NotFoundError
from memkit.evals.data import catalogue
from memkit.evals.data.dataset import Asked, DataSet, Document, Pair, every
from memkit.evals.data.edits import Edit, read_counterfact, read_edits
from memkit.evals.data.invented_reports import FACTS, MOST, invented_reports
from memkit.evals.data.long_memories import read_longmemeval
from memkit.evals.data.missing_data import ORIGINS
from memkit.evals.data.own_files import read_own
from memkit.evals.data.papers_qa import read_papers
from memkit.evals.data.phone_book import invented, phone_book, read
from memkit.evals.data.stories import in_parts, read_narrativeqa, read_quality
from memkit.evals.leakage import LeakError, check_leaks
from memkit.evals.lessons import Lesson
from memkit.evals.writers import FORMS, WRITERS, write


def put(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    text = content if isinstance(content, str) else json.dumps(content)
    path.write_text(text, encoding="utf-8")
    return path


def put_csv(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


# -- phone book


def test_a_phone_book_of_any_size_is_drawn_from_its_seed():
    entries = invented(7000, seed=3)  # more than there are pairs of names

    assert len({entry.name for entry in entries}) == 7000
    assert entries == invented(7000, seed=3)
    assert entries[:5] != invented(5, seed=4)
    assert phone_book(entries[:2]).asked[1].trained


def test_the_studys_phone_book_is_not_filled_up(tmp_path):
    line = "Question: What is the phone number of Ada Lind? Answer: 123-456-7890"
    put_csv(tmp_path / "phonebook" / "phonebook_qa_8K.csv", [{"text": line}])

    assert read(tmp_path)[0].number == "123-456-7890"
    with pytest.raises(CorruptFileError, match=r"expected 2 entries in .*, got 1"):
        read(tmp_path, 2)


# -- what is missing


@pytest.mark.parametrize(
    ("kind", "load"),
    [
        ("phonebook", read),
        ("counterfact", read_edits),
        ("paperqa", read_papers),
        ("narrativeqa", read_narrativeqa),
        ("quality", read_quality),
        ("longmemeval", read_longmemeval),
    ],
)
def test_missing_data_names_the_remedy(tmp_path, kind, load):
    for folder in (None, tmp_path):
        with pytest.raises(NotFoundError, match=ORIGINS[kind][0]) as caught:
            load(folder)
        assert f"DIR/{kind}/" in caught.value.message
        assert "MEMKIT_EVAL_DATA" in caught.value.hint
        assert ORIGINS[kind][1] in caught.value.hint


def test_an_unknown_data_set_is_refused():
    with pytest.raises(InvalidInputError, match=r"expected a data set among .*got 'novels'"):
        catalogue.load("novels", 3)


# -- published formats


def test_edits_know_where_their_target_begins(tmp_path):
    folder = tmp_path / "counterfact"
    texts = ['"In Macau, one speaks French"', "Ada is from Mars", "golf, from Canada"]
    put_csv(folder / "counterfact_edit_1K.csv", [{"text": text} for text in texts])
    put(
        folder / "counterfact_eval_qa.json",
        [
            {"question": "In Macau, one speaks", "answer": "French"},
            {"question": "Ada is from", "answer": "Mars"},
            {"question": "Bo works as a", "answer": "baker"},
        ],
    )
    edits = read_edits(tmp_path)

    assert edits.learned == (
        Edit("In Macau, one speaks", "French"),
        Edit("Ada is from", "Mars"),
        Edit("golf, from Canada", ""),
    )
    assert edits.untrained == (Edit("Bo works as a", "baker"),)
    assert edits.targets == ("French", "Mars", "baker")


def test_the_whole_counterfact_has_paraphrases_and_neighbours(tmp_path):
    case = {
        "requested_rewrite": {
            "prompt": "{} speaks",
            "subject": "Ada",
            "target_new": {"str": "French"},
            "target_true": {"str": "Dutch"},
        },
        "paraphrase_prompts": ["The tongue of Ada is"],
        "neighborhood_prompts": ["Bo speaks"],
    }
    (edit,) = read_counterfact(put(tmp_path / "counterfact.json", [case])).learned

    assert edit == Edit("Ada speaks", "French", "Dutch", ("The tongue of Ada is",), ("Bo speaks",))
    with pytest.raises(CorruptFileError, match="expected CounterFact's cases"):
        read_counterfact(put(tmp_path / "other.json", [{}]))


def test_papers_are_asked_by_their_title(tmp_path):
    paper = {
        "id": 7,
        "title": "On Mills",
        "introduction": "Mills turn.",
        "QA": [{"level": 1, "question": "What turns?", "answer": "Mills"}],
    }
    put(tmp_path / "paperqa" / "dev.json", [paper])
    data = read_papers(tmp_path)

    assert data.documents == (Document("paper 7", "Mills turn.", "On Mills"),)
    assert data.asked == (Asked('In the paper "On Mills": What turns?', ("Mills",), "paper 7"),)


def test_narrativeqa_takes_its_test_set_and_full_texts_where_they_are(tmp_path):
    folder = tmp_path / "narrativeqa"
    row = {"question": "Who?", "answer1": "Ada", "answer2": "ada lind"}
    put_csv(
        folder / "qaps.csv",
        [
            {"document_id": "a", "set": "test", **row},
            {"document_id": "b", "set": "train", **row},
            {"document_id": "c", "set": "test", **row},
        ],
    )
    put_csv(
        folder / "summaries.csv",
        [{"document_id": id, "summary": f"Summary of {id}."} for id in "abc"],
    )
    put(folder / "texts" / "c.txt", "All of c.")
    data = read_narrativeqa(tmp_path)

    assert [document.text for document in data.documents] == ["Summary of a.", "All of c."]
    assert [asked.document for asked in data.asked] == ["a", "c"]
    assert data.asked[0].answers == ("Ada", "ada lind")


def test_quality_counts_its_labels_from_one(tmp_path):
    article = {
        "article_id": "1",
        "title": "Sea",
        "article": "<p>The mast\n broke.</p>",
        "questions": [{"question": "What broke?", "options": ["sail", "mast"], "gold_label": 2}],
    }
    put(tmp_path / "quality" / "QuALITY.v1.dev", json.dumps(article) + "\n")
    data = read_quality(tmp_path)

    assert data.documents[0].text == "The mast broke."
    assert data.asked == (Asked("What broke?", ("mast",), "1", ("sail", "mast")),)


def test_longmemeval_has_a_data_set_for_each_question(tmp_path):
    case = {
        "question_id": "q1",
        "question": "What did I buy?",
        "answer": "a kite",
        "haystack_session_ids": ["s1", "s2"],
        "haystack_dates": ["2023/05/20", "2023/05/21"],
        "haystack_sessions": [
            [{"role": "user", "content": "Hello"}],
            [{"role": "user", "content": "I bought a kite"}],
        ],
        "answer_session_ids": ["s2"],
    }
    put(tmp_path / "longmemeval" / "a.json", [case, case | {"question_id": "q2_abs"}])
    first, second = read_longmemeval(tmp_path)

    assert first.documents[1].text == "user: I bought a kite"
    assert first.asked[0].document == "s2"
    assert second.asked[0].answers == ()  # to be abstained from


def test_long_documents_are_cut_for_retrieval():
    data = DataSet("a", (Document("d", "one two three four five"),), (Asked("?", ("x",), "d"),))
    parts = in_parts(data, words=2)

    assert [part.text for part in parts.documents] == ["one two", "three four", "five"]
    assert {part.topic for part in parts.documents} == {"d"}
    assert parts.asked[0].document == "d 0"


# -- reports


def test_reports_answer_their_questions_in_other_words():
    data = invented_reports(8, seed=1)

    assert data == invented_reports(8, seed=1)
    assert data.digest != invented_reports(8, seed=2).digest
    texts = {document.id: document.text for document in data.documents}
    assert len(data.asked) == 8 * FACTS
    assert all(asked.reference in texts[asked.document] for asked in data.asked)
    assert len({document.topic for document in data.documents}) == 4
    assert len({asked.question for asked in data.asked}) == len(data.asked)


@pytest.mark.parametrize("documents", [0, MOST + 1])
def test_there_are_so_many_reports(documents):
    with pytest.raises(InvalidInputError, match=f"from 1 to {MOST}"):
        invented_reports(documents)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("writer", WRITERS)
def test_no_writer_gives_the_questions_away(form, writer):
    data = invented_reports(12)
    lessons = write(data, data.documents, [form], writer=writer)

    assert {lesson.document for lesson in lessons} == {d.id for d in data.documents}
    check_leaks(lessons, data.asked)


def test_a_head_keeps_documents_and_questions_together():
    head = invented_reports(8).head(2)

    assert [document.id for document in head.documents] == ["report 0", "report 1"]
    assert {asked.document for asked in head.asked} == {"report 0", "report 1"}
    assert {script.document for script in head.scripts} == {"report 0", "report 1"}


def test_a_sample_is_spread_evenly():
    asked = [Asked(str(number), (), "") for number in range(10)]

    assert [one.question for one in every(asked, 4)] == ["0", "2", "5", "7"]
    assert every(asked, 20) == asked


# -- leaks

ASKED = Asked("Which city does Nadia live in?", ("Velmora",), "d")


@pytest.mark.parametrize(
    "lesson",
    [
        Lesson("d", "Velmora", ("which city does NADIA live in",)),  # but for case and signs
        Lesson("d", "another answer", ("Which city does Nadia live in?",)),
        Lesson("d", "Velmora", ("Which city does Nadia live in now?",)),  # a near copy
        Lesson("d", "Q: Which city does Nadia live in? A: Velmora"),  # in a text
    ],
)
def test_a_leak_stops(lesson):
    with pytest.raises(LeakError, match="is among what would be trained") as caught:
        check_leaks([lesson], [ASKED])
    assert "Which city does Nadia live in?" in caught.value.message
    assert "nothing was trained" in caught.value.hint


@pytest.mark.parametrize(
    "lesson",
    [
        Lesson("d", "Velmora", ("Where is Nadia's home?",)),
        Lesson("d", "Selwick", ("Which city does Tomas live in?",)),  # alike, of another
        Lesson("d", "Nadia lives in Velmora."),
    ],
)
def test_what_is_no_leak_passes(lesson):
    check_leaks([lesson], [ASKED])


def test_recall_of_what_was_trained_is_no_leak():
    asked = Asked("Which city?", ("Velmora",), "d", trained=True)
    check_leaks([Lesson("d", "Velmora", ("Which city?",))], [asked])


# -- one's own files


def test_json_lines_of_ones_own(tmp_path):
    path = put(
        tmp_path / "mine.jsonl",
        '{"id": "hours", "text": "It opens at seven.", "title": "Hours",'
        ' "questions": [{"question": "When?", "answers": ["seven", "7"]}],'
        ' "pairs": [{"question": "When does it open?", "answer": "at seven"}]}\n\n'
        '{"text": "Mara has the keys.", "question": "Who?", "answer": "Mara"}\n'
        '{"question": "What colour is the roof?"}\n'
        '{"document": "hours", "question": "And on Monday?", "answer": 7}\n',
    )
    data = read_own(path)

    assert data.documents == (
        Document("hours", "It opens at seven.", "Hours"),
        Document("document 2", "Mara has the keys."),
    )
    assert data.pairs == (Pair("When does it open?", "at seven", "hours"),)
    assert data.asked == (
        Asked("When?", ("seven", "7"), "hours"),
        Asked("Who?", ("Mara",), "document 2"),
        Asked("What colour is the roof?", (), ""),
        Asked("And on Monday?", ("7",), "hours"),
    )


def test_csv_of_ones_own(tmp_path):
    path = tmp_path / "mine.csv"
    text = "Mara has the keys."
    rows = [
        {"text": text, "question": "Who?", "answer": "Mara"},
        {"text": text, "question": "What?", "answer": "the keys"},
    ]
    put_csv(path, rows)
    data = read_own(path)

    assert len(data.documents) == 1
    assert [asked.reference for asked in data.asked] == ["Mara", "the keys"]


def test_a_folder_of_texts(tmp_path):
    put(tmp_path / "b.md", "Second.")
    put(tmp_path / "a" / "first.txt", "First.")
    put(tmp_path / "picture.png", "no text")
    data = read_own(tmp_path)

    assert [document.id for document in data.documents] == ["a/first.txt", "b.md"]
    assert data.asked == ()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "expected JSON in line 1"),
        ("[1]", "expected a JSON object in line 1"),
        ('\n{"texts": "a"}', r"line 2 of .*unknown keys \['texts'\]"),
        ('{"title": "a"}', "neither `text` nor `question`"),
        ('{"text": 7}', "`text` has to be a text"),
        ('{"id": "a", "text": "x"}\n{"id": "a", "text": "y"}', "two documents have the id 'a'"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(tmp_path, content, message):
    with pytest.raises(CorruptFileError, match=message) as caught:
        read_own(put(tmp_path / "mine.jsonl", content))
    assert "questions" in caught.value.hint


def test_documents_are_needed_and_have_to_be_known(tmp_path):
    with pytest.raises(NotFoundError, match="there is nothing"):
        read_own(tmp_path / "none.jsonl")
    with pytest.raises(InvalidInputError, match="at least one document"):
        read_own(put(tmp_path / "empty.jsonl", ""))
    lines = '{"text": "a"}\n{"document": "z", "question": "b?", "answer": "c"}'
    with pytest.raises(InvalidInputError, match="got 'z'"):
        read_own(put(tmp_path / "mine.jsonl", lines))
    put_csv(tmp_path / "mine.csv", [{"words": "a"}])
    with pytest.raises(CorruptFileError, match=r"it lacks \['text'\]"):
        read_own(tmp_path / "mine.csv")
