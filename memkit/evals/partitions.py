"""How the documents of a data set are shared out among modules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from memkit.errors import InvalidInputError
from memkit.evals.data.dataset import Document


def partition(documents: Sequence[Document], by: str, modules: int) -> dict[str, list[Document]]:
    """Documents by the name of their module; each is in one, and no module is empty.

    Args:
        documents: In the order of the data set.
        by: "order" cuts them into parts of like size; "topic" puts whole topics together;
            "document" gives each one a module, and takes no notice of ``modules``.
        modules: How many.

    Raises:
        InvalidInputError: If there are more modules than documents or topics.
    """
    if by == "document":
        return {f"m{number}": [document] for number, document in enumerate(documents)}
    groups: Mapping[str, list[Document]] = _groups(documents, by)
    if modules > len(groups):
        raise InvalidInputError(
            f"expected at most {len(groups)} modules, one for each {by}, got {modules}"
        )
    parts: dict[str, list[Document]] = {f"m{number}": [] for number in range(modules)}
    for place, group in enumerate(groups.values()):
        parts[f"m{place * modules // len(groups)}"] += group
    return parts


def _groups(documents: Sequence[Document], by: str) -> dict[str, list[Document]]:
    groups: dict[str, list[Document]] = {}
    for document in documents:
        groups.setdefault(document.topic if by == "topic" else document.id, []).append(document)
    return groups
