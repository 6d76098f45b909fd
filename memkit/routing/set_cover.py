"""How many facts a question needs: as many as its telling words point to.

"What are the phone numbers of Ada and of Emil?" has words that no single fact has. The policy:
take the set of facts, as small as possible, that covers most of the weight of the question's
words, if each of them brings a fair part of it alone and is named by the question nearly in
full. Words that no fact has, and words that most facts have, ask for nothing. A fact whose
question is not known (plain text that was never consolidated) cannot be named, so it is never
part of a set: the best fact alone decides then, and rag brings the other one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import combinations

from memkit.routing.candidates import Candidate, CandidateSearch, CandidateSet
from memkit.text.words import total_weight

NAMED = 0.6  # least share of a fact's own question that the query has
ALONE = 1.0  # least weight of words that only one fact of the set has: some 1 in 3 facts have it
FAIR = 0.4  # ... and least share of what any other fact of the set brings alone
SEARCHED = 12  # facts that sets are made of


def smallest_cover(matches: CandidateSet, search: CandidateSearch, most: int) -> list[Candidate]:
    """The facts that a query needs, at most ``most``, in the order in which it names them.

    The best candidate alone, if one fact is enough.
    """
    best = matches.candidates[0]
    if most == 1 or not _leaves_something(matches, best):
        return [best]
    sets = _sets(matches, search, most)
    return max(sets, key=lambda facts: _value(matches, facts), default=[best])


def _leaves_something(matches: CandidateSet, best: Candidate) -> bool:
    """Whether another fact has telling words of the query that the best one lacks."""
    others = {word for fact in matches.candidates for word in fact.words} - best.words
    return total_weight(others, matches.weights) >= ALONE


def _sets(matches: CandidateSet, search: CandidateSearch, most: int) -> list[list[Candidate]]:
    """Sets of two or more facts, each of which is named and brings words of its own."""
    likely = sorted(matches.candidates, key=lambda fact: (-matches.mass(fact), -fact.score))
    likely = [fact for fact in likely[:SEARCHED] if fact.words]
    compared = search.compare(matches, likely)
    likely = [fact for fact in likely if compared[fact.record_id].named >= NAMED]
    return [
        _in_order(matches, facts)
        for size in range(2, most + 1)
        for facts in combinations(likely, size)
        if _each_brings_something(matches, facts)
    ]


def _each_brings_something(matches: CandidateSet, facts: Sequence[Candidate]) -> bool:
    having = _having(facts)
    own = [{word for word in fact.words if having[word] <= matches.times[word]} for fact in facts]
    brought = [total_weight(words, matches.weights) for words in own]
    return min(brought) >= max(ALONE, FAIR * max(brought))


def _value(matches: CandidateSet, facts: Sequence[Candidate]) -> tuple[float, int, int, float]:
    """More covered weight, then fewer facts, then words that stand together, then score."""
    having = _having(facts)
    covered = sum(
        matches.weights[word] * min(facts_with_it, matches.times[word])
        for word, facts_with_it in having.items()
    )
    spread = sum(_spread(matches, fact) for fact in facts)
    return (round(covered, 6), -len(facts), -spread, sum(fact.score for fact in facts))


def _having(facts: Sequence[Candidate]) -> Counter[str]:
    """How many of the facts have each word.

    Of "Ada Berg and Ada Holm" both have "ada", and the query has it for each of them.
    """
    return Counter(word for fact in facts for word in fact.words)


def _spread(matches: CandidateSet, fact: Candidate) -> int:
    """How far apart the words of a fact stand in the query."""
    places = [place for place, word in enumerate(matches.words) if word in fact.words]
    return places[-1] - places[0]


def _in_order(matches: CandidateSet, facts: Sequence[Candidate]) -> list[Candidate]:
    """Facts by where their own words stand in the query."""
    having = _having(facts)

    def place(fact: Candidate) -> tuple[int, str]:
        fewest = min(having[word] for word in fact.words)
        places = [matches.words.index(word) for word in fact.words if having[word] == fewest]
        # "Vera Ulrich, Vera Vestergaard and Linnea Vestergaard": the second has no word of its
        # own; the other ones have been named once the last of its words comes.
        return min(places) if fewest == 1 else max(places), fact.record_id

    return sorted(facts, key=place)
