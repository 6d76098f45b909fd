"""Documents and questions of one's own: a file of JSON lines, a CSV file, or a folder of texts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from memkit.errors import CorruptFileError, InvalidInputError, NotFoundError
from memkit.evals.data.dataset import Asked, DataSet, Document, Pair
from memkit.evals.data.missing_data import read_csv
from memkit.types.validate import shown

TEXTS = (".txt", ".md")
KEYS = ("text", "title", "id", "question", "answer", "questions", "pairs", "document", "answers")
_FORMAT = (
    'a line is {"text": ..., "questions": [{"question": ..., "answer": ...}]}, with "id" and '
    '"title" if you like; "pairs" are learned, "questions" are only asked'
)

Row = Mapping[str, Any]


def read_own(path: Path) -> DataSet:
    """Read documents, and questions about them if there are any.

    Three forms are read:

    - JSON lines: each with a ``text``, and ``questions`` about it with their answers, or one
      ``question`` and ``answer``; a line without a text asks about the ``document`` it names, or
      about something that no document answers. ``pairs`` of question and answer may be learned.
    - CSV with a column ``text``, and ``question`` and ``answer`` if there are questions.
    - A folder: every text file in it is a document.

    Raises:
        NotFoundError: If there is nothing at this path.
        CorruptFileError: If a line cannot be read; it says which.
        InvalidInputError: If there is no document.
    """
    if path.is_dir():
        rows: Iterator[tuple[int, Row]] = _folder(path)
    elif not path.exists():
        raise NotFoundError(
            f"expected documents in {str(path)!r}, there is nothing",
            hint="give a .jsonl or .csv file, or a folder of .txt and .md files",
        )
    elif path.suffix.lower() == ".csv":
        rows = enumerate(read_csv(path, "text"), 2)
    else:
        rows = _lines(path)
    documents, asked, pairs = _Reader(path).read(rows)
    if not documents:
        raise InvalidInputError(
            f"expected at least one document in {str(path)!r}, got none", hint=_FORMAT
        )
    return DataSet(path.name, tuple(documents), tuple(asked), tuple(pairs))


class _Reader:
    """Turns rows into documents and questions; the same text is one document."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._documents: dict[str, Document] = {}
        self._by_text: dict[str, str] = {}
        self._asked: list[Asked] = []
        self._pairs: list[Pair] = []

    def read(
        self, rows: Iterator[tuple[int, Row]]
    ) -> tuple[list[Document], list[Asked], list[Pair]]:
        for number, row in rows:
            try:
                self._row(row)
            except (LookupError, TypeError, ValueError, AttributeError) as error:
                raise CorruptFileError(
                    f"expected a document or a question in line {number} of {str(self._path)!r}: "
                    f"{error}",
                    hint=_FORMAT,
                ) from error
        for question in self._asked:
            if question.document and question.document not in self._documents:
                raise InvalidInputError(
                    f"expected the id of a document in {str(self._path)!r}, got "
                    f"{question.document!r}",
                    hint=f"the ids are {sorted(self._documents)[:5]} and so on",
                )
        return list(self._documents.values()), self._asked, self._pairs

    def _row(self, row: Row) -> None:
        if unknown := sorted(set(row) - set(KEYS)):
            raise ValueError(f"unknown keys {unknown}; known are {list(KEYS)}")
        text = _text(row, "text") if row.get("text") else ""
        document = self._document(row, text) if text else str(row.get("document") or "")
        if not text and not row.get("question"):
            raise ValueError("neither `text` nor `question` is there")
        asked = list(row.get("questions") or ())
        if row.get("question"):
            asked.append(row)
        self._asked += [Asked(_text(q, "question"), _answers(q), document) for q in asked]
        self._pairs += [
            Pair(_text(pair, "question"), _text(pair, "answer"), document)
            for pair in row.get("pairs") or ()
        ]

    def _document(self, row: Row, text: str) -> str:
        if text in self._by_text:
            return self._by_text[text]
        id = str(row.get("id") or f"document {len(self._documents) + 1}")
        if id in self._documents:
            raise ValueError(f"two documents have the id {id!r}")
        self._documents[id] = Document(id, text, str(row.get("title") or ""))
        self._by_text[text] = id
        return id


def _text(row: Row, key: str) -> str:
    value = row[key]
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"`{key}` has to be a text that is not empty, got {shown(value)}")
    return value.strip()


def _answers(row: Row) -> tuple[str, ...]:
    """All answers that count as right; none for what no document answers."""
    given = row.get("answers") or row.get("answer")
    if not given:
        return ()
    answers: Sequence[object] = given if isinstance(given, list) else [given]
    return tuple(str(answer).strip() for answer in answers)


def _lines(path: Path) -> Iterator[tuple[int, Row]]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except ValueError as error:
        raise CorruptFileError(
            f"expected text in UTF-8 in {str(path)!r}, cannot read it: {error}"
        ) from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise CorruptFileError(
                f"expected JSON in line {number} of {str(path)!r}: {error}", hint=_FORMAT
            ) from error
        if not isinstance(row, dict):
            raise CorruptFileError(
                f"expected a JSON object in line {number} of {str(path)!r}, got {shown(row)}",
                hint=_FORMAT,
            )
        yield number, row


def _folder(path: Path) -> Iterator[tuple[int, Row]]:
    files = sorted(file for file in path.rglob("*") if file.suffix.lower() in TEXTS)
    for number, file in enumerate(files, 1):
        try:
            text = file.read_text(encoding="utf-8").strip()
        except ValueError as error:
            raise CorruptFileError(
                f"expected text in UTF-8 in {str(file)!r}, cannot read it: {error}"
            ) from error
        if text:
            yield number, {"text": text, "id": str(file.relative_to(path)), "title": file.stem}
