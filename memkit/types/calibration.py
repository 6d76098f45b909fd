"""How sure a memory's router may be: what it goes by, and what was measured of it."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import Any

CALIBRATION = "router_calibration"  # the ledger's setting that holds it
VERSION = 2  # of the stored form: what another version has measured is measured anew


@dataclass(frozen=True)
class Features:
    """What speaks for the best fact of a query."""

    similarity: float  # cosine similarity of the query with it
    mass: float  # ``log(1 + summed weight)`` of the query's words that it has
    named: float  # the share of the fact's own question that the query has, in [0, 1]
    replaced: float = 0.0  # what the query says in place of words of it (`memkit.routing.mismatch`)


@dataclass(frozen=True)
class Bin:
    """One step of a reliability curve, of ``n`` questions."""

    predicted: float  # mean probability
    observed: float  # share of the questions for which it was so
    n: int


@dataclass(frozen=True)
class Calibration:
    """How sure a memory's router may be; kept in its ledger.

    The evidence for a fact is ``similarity + mass * m + named * k``, in units of cosine
    similarity; below the threshold no module answers. Nor does one if the query replaces more
    of the fact's question than the limit: then it is about something else of the same form.
    """

    mass: float  # weight of `Features.mass`
    named: float  # weight of `Features.named`
    threshold: float  # least evidence with which a module answers
    slope: float  # of the logistic curve from evidence to probability
    limit: float | None = None  # most that a query may replace; None if that tells nothing here
    false_activation: float = 0.0  # the share of unrelated prompts that passed the threshold
    false_refusal: float = 0.0  # the share of related questions that did not
    unstored: float = 0.0  # the share of questions whose fact was left out that passed both
    curve: tuple[Bin, ...] = ()  # reliability of the probabilities, measured on unseen questions
    changes: int = 0  # the ledger's feed had got so far
    passages: int = 0  # how many there were
    version: int = VERSION

    def evidence(self, features: Features) -> float:
        """What speaks for a fact, in units of cosine similarity."""
        return features.similarity + self.mass * features.mass + self.named * features.named

    def means_another(self, features: Features) -> bool:
        """Whether a query names something else than the fact that is nearest to it."""
        return self.limit is not None and features.replaced > self.limit

    def passes(self, features: Features) -> bool:
        """Whether a module that holds the fact answers."""
        return self.evidence(features) >= self.threshold and not self.means_another(features)

    def probability(self, evidence: float) -> float:
        """That a query with this evidence is about what is stored; 1/2 at the threshold."""
        return 1.0 / (1.0 + math.exp(-max(-60.0, self.slope * (evidence - self.threshold))))

    def to_json(self) -> str:
        """Give it as text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Calibration | None:
        """The inverse of `to_json`; None for what another version has written."""
        values: dict[str, Any] = json.loads(text)
        if values.get("version") != VERSION:
            return None
        return cls(**{**values, "curve": tuple(Bin(**step) for step in values["curve"])})
