"""What turns of a conversation add to a score: who spoke, and the words of the turns around."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from memkit.ledger import Ledger
from memkit.ledger.turns.conversations import SpokenLine
from memkit.rag.fusion import Ranking, add_neighbours
from memkit.rag.loaded_passages import LoadedPassages
from memkit.rag.query_rewrite import RewrittenQuery
from memkit.text.words import search_words
from memkit.types import Query


def spoken_lines(
    ledger: Ledger, query: Query, passages: LoadedPassages, *, reach: int
) -> dict[str, SpokenLine]:
    """Find which candidates are turns, by record id; adds their neighbours to the candidates.

    The query bounds which of the ``reach`` turns on either side of a turn become candidates.
    """
    conversations = ledger.conversations
    record_ids = passages.record_ids()
    lines = conversations.spoken_lines(record_ids, reach=reach)
    neighbours = {key for line in lines.values() for key in line.around} - passages.keys()
    if neighbours:
        passages.add(
            ledger.passages.get(
                sorted(neighbours), visible_to=query.scope, where=query.where, period=query.period
            )
        )
        new = set(passages.record_ids()) - set(record_ids)
        lines |= conversations.spoken_lines(sorted(new), reach=reach)
    return lines


def words_around(
    ledger: Ledger, text: str, turns: Mapping[int, SpokenLine], *, weight: float
) -> dict[int, float]:
    """BM25 of turns, in which the words of the turns around them count, too.

    Args:
        ledger: Where the passages are.
        text: The query, without names.
        turns: Passages that are turns, by key.
        weight: What a neighbour's word counts; see `memkit.rag.fusion.add_neighbours`.

    Returns:
        Scores by key; empty if the text has no words.
    """
    words = search_words(text)
    if not turns or not words:
        return {}
    total = ledger.passages.count()
    neighbours = {key for line in turns.values() for key in line.around}
    keys = np.array(sorted(turns.keys() | neighbours))
    rows = {key: row for row, key in enumerate(keys.tolist())}
    own = np.zeros((len(keys), len(words)))
    rarity = np.zeros(len(words))
    for column, (count, having, scores) in enumerate(ledger.passages.each_word(words, keys)):
        # As SQLite's bm25() has it.
        rarity[column] = max(math.log((max(total - count, 0) + 0.5) / (count + 0.5)), 1e-6)
        own[np.searchsorted(keys, having), column] = scores / rarity[column]
    pairs = [(rows[key], rows[other]) for key, line in turns.items() for other in line.around]
    weighed = add_neighbours(own, pairs, weight) @ rarity
    return {key: float(weighed[rows[key]]) for key in turns}


def speaker_parts(query: RewrittenQuery, line: SpokenLine, ranking: Ranking) -> dict[str, float]:
    """The parts of a turn's score that depend on who spoke, and on whether it is a question."""
    parts = {}
    if query.speakers and line.speaker is not None and line.speaker not in query.speakers:
        parts["stranger"] = -ranking.stranger
    if line.asks:
        parts["question"] = -ranking.question
    return parts
