"""How much an answer has in common with a reference, by the field's own libraries."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

from memkit.errors import MissingDependencyError


def rouge_l(answer: str, accepted: Iterable[str]) -> float:
    """ROUGE-L, the F-measure of the longest common subsequence, by the best accepted answer.

    Source:
        Lin 2004; computed by Google's ``rouge-score``, with its stemmer.

    Raises:
        MissingDependencyError: If the extra ``evals`` is not installed.
    """
    scorer = _scorer()
    return max(
        (float(scorer.score(text, answer)["rougeL"].fmeasure) for text in accepted), default=0.0
    )


def bleu(answers: Sequence[str], references: Sequence[str]) -> float:
    """BLEU of all answers together, from 0 to 100, with one reference each.

    Source:
        Papineni et al. 2002; computed by ``sacrebleu`` (Post 2018) with its defaults.

    Raises:
        MissingDependencyError: If the extra ``evals`` is not installed.
    """
    try:
        import sacrebleu
    except ImportError as error:
        raise needs_evals("sacrebleu") from error
    return float(sacrebleu.corpus_bleu(list(answers), [list(references)]).score)


def needs_evals(package: str) -> MissingDependencyError:
    """The error that says how to get a package of the extra ``evals``."""
    return MissingDependencyError(
        f"expected the package {package!r}, it is not installed",
        hint="pip install 'memkit-sdk[evals]'",
    )


@lru_cache(maxsize=1)
def _scorer() -> Any:
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ImportError as error:
        raise needs_evals("rouge-score") from error
    return RougeScorer(["rougeL"], use_stemmer=True)
