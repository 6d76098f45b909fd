"""From documents to lessons, in the forms that the study compares.

The offline writers need no other model: texts as they stand, questions by the templates that
`consolidate` uses, sentences chosen for a summary, sentences in another order. The scripted
writer hands out what a data set brings along, as a large model would have written it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime

from memkit.errors import InvalidInputError
from memkit.evals.data.dataset import DataSet, Document
from memkit.evals.leakage import held_back
from memkit.evals.lessons import Lesson
from memkit.lora.training.template_synthesizer import TemplateSynthesizer
from memkit.protocols import Synthesizer
from memkit.text.sentences import sentences
from memkit.text.words import content_stems
from memkit.types import Record

FORMS = ("raw", "qa", "summary", "rewrite")
WRITERS = ("offline", "scripted")
CHUNK = 3  # sentences that are learned as one text

_THEN = datetime(2025, 1, 1, tzinfo=UTC)


def write(
    data: DataSet,
    documents: Sequence[Document],
    forms: Sequence[str],
    *,
    writer: str = "offline",
    synthesizer: Synthesizer | None = None,
) -> list[Lesson]:
    """Lessons for documents of a data set, in the given forms, one after the other.

    Args:
        data: Brings pairs and scripts.
        documents: Some of its documents.
        forms: Names in `FORMS`.
        writer: One of `WRITERS`.
        synthesizer: Asks where the offline writer is to write questions; None for templates.

    Raises:
        InvalidInputError: If a form or writer is unknown, or the data set has no scripts.
    """
    unknown = [form for form in forms if form not in FORMS]
    if unknown or writer not in WRITERS or not forms:
        raise InvalidInputError(
            f"expected forms among {FORMS} and a writer among {WRITERS}, got {list(forms)} and "
            f"{writer!r}"
        )
    by_id = {document.id: document for document in documents}
    lessons: list[Lesson] = []
    for form in forms:
        if writer == "scripted" and form != "raw":
            lessons += _scripted(data, by_id, form)
        elif form == "qa":
            lessons += _pairs(data, by_id) or held_back(_asked(documents, synthesizer), data.asked)
        else:
            lessons += [lesson for d in documents for lesson in _TEXTS[form](d)]
    return lessons


def sentence_records(documents: Sequence[Document]) -> list[Record]:
    """The sentences of documents as records that bear the id of their document."""
    return [
        Record(document.id, sentence, None, None, {}, {}, _THEN, _THEN, 1, "")
        for document in documents
        for sentence in sentences(document.text)
    ]


def _scripted(data: DataSet, by_id: Mapping[str, Document], form: str) -> list[Lesson]:
    scripts = [s for s in data.scripts if s.form == form and s.document in by_id]
    if not scripts:
        raise InvalidInputError(
            f"expected {data.name!r} to bring texts of the form {form!r}, it has none",
            hint="use the writer 'offline'",
        )
    grouped: dict[tuple[str, str], list[str]] = {}
    for script in scripts:
        grouped.setdefault((script.document, script.text), []).append(script.question)
    return [
        Lesson(document, text, tuple(question for question in questions if question))
        for (document, text), questions in grouped.items()
    ]


def _pairs(data: DataSet, by_id: Mapping[str, Document]) -> list[Lesson]:
    """The data set's own pairs, each in its own words alone."""
    return [
        Lesson(pair.document, pair.answer, (pair.question,))
        for pair in data.pairs
        if pair.document in by_id
    ]


def _asked(documents: Sequence[Document], synthesizer: Synthesizer | None) -> list[Lesson]:
    """Questions about every sentence, in the wordings that are trained."""
    records = sentence_records(documents)
    grouped: dict[tuple[str, str], list[str]] = {}
    for example in (synthesizer or TemplateSynthesizer()).examples(records):
        if not example.held_out:
            key = example.record_id or "", example.answer
            grouped.setdefault(key, []).append(example.question)
    return [Lesson(document, answer, tuple(asked)) for (document, answer), asked in grouped.items()]


def _raw(document: Document) -> Iterator[Lesson]:
    """The text as it stands, a few sentences at a time."""
    stated = sentences(document.text)
    for start in range(0, len(stated), CHUNK):
        yield Lesson(document.id, " ".join(stated[start : start + CHUNK]))


def _summary(document: Document) -> Iterator[Lesson]:
    """The half of the sentences that share the most words with the others, in order."""
    stated = sentences(document.text)
    words = [set(content_stems(sentence)) for sentence in stated]
    shared = [
        sum(len(mine & other) for n, other in enumerate(words) if n != place)
        for place, mine in enumerate(words)
    ]
    order = sorted(range(len(stated)), key=lambda place: (-shared[place], place))
    kept = sorted(order[: (len(stated) + 1) // 2])
    yield Lesson(document.id, " ".join(stated[place] for place in kept))


def _rewrite(document: Document) -> Iterator[Lesson]:
    """The sentences from the last to the first, under the title."""
    title = f"{document.title}. " if document.title else ""
    yield Lesson(document.id, title + " ".join(reversed(sentences(document.text))))


_TEXTS: Mapping[str, Callable[[Document], Iterator[Lesson]]] = {
    "raw": _raw,
    "summary": _summary,
    "rewrite": _rewrite,
}
