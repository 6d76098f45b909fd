"""How well passages match each of several words, in two statements for all words."""

# ruff: noqa: S608 - only numbers are formatted into the SQL; what users say is a parameter
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from memkit.ledger.engine.sqlite import Database
from memkit.ledger.passages.passage_writes import key_list
from memkit.text.words import match_expression


def each_word(
    database: Database, words: Sequence[str], among: NDArray[np.int64]
) -> list[tuple[int, NDArray[np.int64], NDArray[np.float64]]]:
    """Look for each of some words, in some form, in a few passages.

    Args:
        database: Of the ledger.
        words: As `memkit.text.words.search_words` gives them.
        among: Keys of the passages, whoever may see them.

    Returns:
        For each word: how many of all passages have it; the keys of those that do, ascending,
        and their BM25 scores by the word alone, both of shape ``(n,)``.
    """
    expressions = [match_expression([word]) for word in words]
    counts = database.rows(
        " UNION ALL ".join(
            f"SELECT {place}, count(*) FROM passages_fts WHERE passages_fts MATCH ?"
            for place in range(len(words))
        ),
        *expressions,
    )
    rows = database.rows(
        " UNION ALL ".join(
            f"SELECT {place}, rowid, -bm25(passages_fts) FROM passages_fts "
            # The plus sign keeps SQLite from asking the word index for each of the keys.
            f"WHERE passages_fts MATCH ?{place + 2} "
            "AND +rowid IN (SELECT value FROM json_each(?1))"
            for place in range(len(words))
        ),
        key_list(among.tolist()),
        *expressions,
    )
    scores: list[list[tuple[int, float]]] = [[] for _ in words]
    for place, key, score in sorted(rows):
        scores[place].append((key, score))
    return [
        (
            count,
            np.array([key for key, _ in own], np.int64),
            np.array([score for _, score in own], np.float64),
        )
        for (_, count), own in zip(sorted(counts), scores, strict=True)
    ]
