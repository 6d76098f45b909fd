"""Keyword arguments that callers of a vector store pass beside texts and queries."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, TypedDict

from memkit import Hit, InvalidInputError
from memkit.types import Metadata, Scope
from memkit.types.validate import shown

# LangChain's `index` passes its own to every store. Here a call is embedded and written as a whole.
WRITING = ("batch_size",)
# The last two are of the search by maximal marginal relevance. A retriever's `search_kwargs` hold
# them whichever search it does.
SEARCHING = ("filter", "scope", "since", "until", "as_of", "score_threshold",
             "fetch_k", "lambda_mult")  # fmt: skip

_REMEDIES = {
    "collection_name": "documents are kept apart by `scope`, and by directories",
    "namespace": "documents are kept apart by `scope`, and by directories",
    "persist_directory": "the directory is called `path`",
    "search_type": "give it to `search` or `as_retriever`",
    "where": "it is called `filter`",
}


class Selected(TypedDict):
    """The options of a search in `memkit.Memory`."""

    scope: Scope
    where: Metadata | None
    since: datetime | None
    until: datetime | None
    as_of: datetime | None


def selected(options: Mapping[str, Any], scope: Scope) -> Selected:
    """Read what a search takes beside query and ``k``.

    Args:
        options: The keyword arguments of the call.
        scope: Of the store, if the call names none.

    Raises:
        InvalidInputError: If there is an unknown option, or ``filter`` is no mapping.
    """
    refuse_unknown(options, SEARCHING)
    where = options.get("filter")
    if where is not None and not isinstance(where, Mapping):
        raise InvalidInputError(
            f"`filter` must be a mapping, got {shown(where)}",
            hint='for example {"year": {"$gte": 2020}}; a function can only look at the '
            "documents that were found",
        )
    given = options.get("scope")
    return {
        "scope": scope if given is None else given,
        "where": where,
        "since": options.get("since"),
        "until": options.get("until"),
        "as_of": options.get("as_of"),
    }


def near_enough(hits: Collection[Hit], options: Mapping[str, Any]) -> list[Hit]:
    """Leave out hits whose cosine similarity is below ``score_threshold``.

    Raises:
        InvalidInputError: If it is no number.
    """
    threshold = options.get("score_threshold")
    if threshold is None:
        return list(hits)
    if isinstance(threshold, bool) or not isinstance(threshold, int | float):
        raise InvalidInputError(
            f"`score_threshold` must be a number, got {shown(threshold)}",
            hint="the lowest cosine similarity, between -1 and 1",
        )
    return [hit for hit in hits if hit.score >= threshold]


def refuse_unknown(
    options: Collection[str],
    known: Collection[str],
    remedies: Mapping[str, str] = _REMEDIES,
) -> None:
    """Refuse keyword arguments that have no meaning here.

    Args:
        options: Their names.
        known: Those that have one.
        remedies: What takes the place of names that others use.

    Raises:
        InvalidInputError: If there is one; the hint says what takes its place.
    """
    unknown = sorted({*options} - {*known})
    if unknown:
        hints = [f"`{name}`: {remedies[name]}" for name in unknown if name in remedies]
        raise InvalidInputError(
            f"expected no other keyword argument than {sorted(known)}, got {unknown}",
            hint="; ".join(hints),
        )
