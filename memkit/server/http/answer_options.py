"""How a request wants its answer, as one value that can be handed to a memory."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from memkit.types import BUDGET, GREEDY, MIN_SCORE, PASSAGES, Sampling


@dataclass(frozen=True)
class How:
    """How a question is answered; see `memkit.memory.options.AskOptions`."""

    budget: int = BUDGET
    k: int = PASSAGES
    strict: bool = False
    quote: bool | None = None
    min_score: float | None = MIN_SCORE
    sampling: Sampling = GREEDY
    schema: str | None = None  # a JSON schema, as JSON
    tools: str | None = None  # a list of tools, as JSON
    tool_choice: str | None = None
    parallel_tool_calls: bool | None = None
    where: str | None = None  # a metadata filter, as JSON
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
            "tools": None if self.tools is None else json.loads(self.tools),
            "tool_choice": self.tool_choice,
            "parallel_tool_calls": self.parallel_tool_calls,
            "where": None if self.where is None else json.loads(self.where),
            "since": self.since,
            "until": self.until,
            "as_of": self.as_of,
        }
