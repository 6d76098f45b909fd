"""Data sets by name, as configurations give them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from memkit.errors import InvalidInputError
from memkit.evals.data.dataset import DataSet
from memkit.evals.data.invented_reports import invented_reports
from memkit.evals.data.papers_qa import read_papers
from memkit.evals.data.phone_book import invented, phone_book, read
from memkit.evals.data.stories import read_narrativeqa, read_quality
from memkit.types.validate import shown

_Load = Callable[[Path | None, int], DataSet]

# With a size: how many facts or documents. Those that are invented need no folder.
LOADERS: Mapping[str, _Load] = {
    "phone book": lambda data, size: phone_book(read(data, size)),
    "invented phone book": lambda _, size: phone_book(invented(size)),
    "invented phone book, other words": lambda _, size: phone_book(invented(size), reworded=True),
    "invented reports": lambda _, size: invented_reports(size),
    "papers": read_papers,
    "stories": read_narrativeqa,
    "articles": read_quality,
}


def load(name: str, size: int, data: Path | None = None) -> DataSet:
    """A data set by name.

    Args:
        name: One of `LOADERS`.
        size: How many facts or documents of it.
        data: The folder with published data; what is invented needs none.

    Raises:
        InvalidInputError: If the name is unknown.
        NotFoundError: If the data is not there.
    """
    if name not in LOADERS:
        raise InvalidInputError(f"expected a data set among {sorted(LOADERS)}, got {shown(name)}")
    return LOADERS[name](data, size)
