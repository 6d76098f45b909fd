"""PaperQA: introductions of papers, with thirty questions about each."""

from __future__ import annotations

from pathlib import Path

from memkit.errors import CorruptFileError
from memkit.evals.data.dataset import Asked, DataSet, Document
from memkit.evals.data.missing_data import find, read_json


def read_papers(folder: Path | None, papers: int | None = None) -> DataSet:
    """The study's papers; nothing but the introductions may be learned.

    A question such as "What is the main contribution?" is about one paper only if it says which,
    so each question names its paper.

    Args:
        folder: With ``paperqa/*.json`` in it.
        papers: How many of the first ones; None for all.

    Raises:
        NotFoundError: If there is none.
        CorruptFileError: If a file holds something else.
    """
    documents: list[Document] = []
    asked: list[Asked] = []
    for path in find(folder, "paperqa", "*.json"):
        try:
            for paper in read_json(path):
                id = f"paper {paper['id']}"
                documents.append(Document(id, paper["introduction"], paper["title"]))
                asked += [
                    Asked(
                        f'In the paper "{paper["title"]}": {pair["question"]}',
                        (pair["answer"],),
                        id,
                    )
                    for pair in paper["QA"]
                ]
        except (LookupError, TypeError) as error:
            raise CorruptFileError(
                f"expected PaperQA's papers in {str(path)!r}, got something else: {error!r}"
            ) from error
    name = f"PaperQA, {min(papers or len(documents), len(documents))} papers"
    return DataSet(name, tuple(documents), tuple(asked)).head(papers or len(documents))
