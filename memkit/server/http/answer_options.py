"""How a request wants its answer, as one value that can be compared and handed to a memory."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from memkit.types import BUDGET, GREEDY, MIN_SCORE, PASSAGES, Sampling


@dataclass(frozen=True)
class How:
    """How a question is answered; see `memkit.memory.options.AskOptions`.

    Questions with equal ones can share a batch.
    """

    budget: int = BUDGET
    k: int = PASSAGES
    strict: bool = False
    quote: bool | None = None
    min_score: float | None = MIN_SCORE
    sampling: Sampling = GREEDY
    schema: str | None = None  # a JSON schema as JSON, so that it can be compared
    where: str | None = None  # a metadata filter as JSON, so that it can be compared
    since: datetime | None = None
    until: datetime | None = None
    as_of: datetime | None = None

    def options(self) -> dict[str, Any]:
        """The options for `Memory.ask`, without the budget and the scope."""
        return {
            "k": self.k,
            "strict": self.strict,
            "quote": self.quote,
            "min_score": self.min_score,
            "sampling": self.sampling,
            "schema": None if self.schema is None else json.loads(self.schema),
            "where": None if self.where is None else json.loads(self.where),
            "since": self.since,
            "until": self.until,
            "as_of": self.as_of,
        }
