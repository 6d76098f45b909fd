"""NarrativeQA and QuALITY: long stories, read from the files in which they were published."""

from __future__ import annotations

import json
import re
from pathlib import Path

from memkit.errors import CorruptFileError
from memkit.evals.data.dataset import Asked, DataSet, Document
from memkit.evals.data.missing_data import find, read_csv

PART_WORDS = 300  # of a story, in a document of its own, so that passages can be retrieved


def read_narrativeqa(folder: Path | None, stories: int | None = None) -> DataSet:
    """Stories of NarrativeQA's test set, with their questions and both reference answers.

    The full texts are used where ``narrativeqa/texts/ID.txt`` is there, else the summaries.

    Args:
        folder: With ``narrativeqa/qaps.csv`` and ``narrativeqa/summaries.csv`` in it.
        stories: How many of the first ones; None for all.

    Raises:
        NotFoundError: If a file is not there.
        CorruptFileError: If one lacks a column.
    """
    (questions,) = find(folder, "narrativeqa", "qaps.csv")
    (summaries,) = find(folder, "narrativeqa", "summaries.csv")
    rows = read_csv(questions, "document_id", "set", "question", "answer1", "answer2")
    kept = [row for row in rows if row["set"] == "test"]
    ids = list(dict.fromkeys(row["document_id"] for row in kept))[:stories]
    told = read_csv(summaries, "document_id", "summary")
    texts = {row["document_id"]: row["summary"] for row in told}
    documents = []
    for id in ids:
        full = questions.parent / "texts" / f"{id}.txt"
        text = full.read_text(encoding="utf-8") if full.is_file() else texts.get(id)
        if text is None:
            raise CorruptFileError(
                f"expected a summary of the story {id!r} in {str(summaries)!r}, there is none"
            )
        documents.append(Document(id, text))
    asked = tuple(
        Asked(row["question"], (row["answer1"], row["answer2"]), row["document_id"])
        for row in kept
        if row["document_id"] in ids
    )
    return DataSet(f"NarrativeQA, {len(ids)} stories", tuple(documents), asked)


def read_quality(folder: Path | None, articles: int | None = None) -> DataSet:
    """Articles of QuALITY, with their multiple-choice questions.

    Args:
        folder: With ``quality/QuALITY*.dev`` in it, one JSON object a line.
        articles: How many of the first ones; None for all.

    Raises:
        NotFoundError: If there is no such file.
        CorruptFileError: If a line holds something else.
    """
    (path, *_) = find(folder, "quality", "QuALITY*.dev")
    documents: dict[str, Document] = {}
    asked: list[Asked] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            article = json.loads(line)
            id = str(article["article_id"])
            if id not in documents and len(documents) == articles:
                break
            documents[id] = Document(id, _plain(article["article"]), article.get("title", ""))
            for question in article["questions"]:
                choices = tuple(question["options"])
                right = choices[question["gold_label"] - 1]  # it counts from 1
                asked.append(Asked(question["question"], (right,), id, choices))
        except (ValueError, LookupError, TypeError) as error:
            raise CorruptFileError(
                f"line {number} of {str(path)!r} is not in QuALITY's format: {error!r}"
            ) from error
    return DataSet(f"QuALITY, {len(documents)} articles", tuple(documents.values()), tuple(asked))


def in_parts(data: DataSet, words: int = PART_WORDS) -> DataSet:
    """Long documents cut into parts of so many words; questions name the first part.

    The parts keep the document's id, with a number behind it, and its id as their topic: so one
    module, or several, can learn a whole document.
    """
    parts: list[Document] = []
    for document in data.documents:
        split = document.text.split()
        starts = range(0, max(1, len(split)), words)
        parts += [
            Document(
                f"{document.id} {place}",
                " ".join(split[start : start + words]),
                document.title,
                document.id,
            )
            for place, start in enumerate(starts)
        ]
    asked = tuple(
        Asked(q.question, q.answers, f"{q.document} 0" if q.document else "", q.choices, q.trained)
        for q in data.asked
    )
    return DataSet(f"{data.name}, in parts", tuple(parts), asked)


def _plain(text: str) -> str:
    """A text without tags, should the file with tags be given."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text)).strip()
