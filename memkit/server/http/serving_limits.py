"""How much a server takes on at once, and for how long."""

from __future__ import annotations

from dataclasses import dataclass, fields

from memkit.types.validate import check_duration, check_limit


@dataclass(frozen=True)
class Limits:
    """Bounds on requests; whatever is above one is refused, never cut.

    Attributes:
        body: Longest body of a request, in bytes.
        seconds: Longest time for a request, in seconds, its body and its answer included.
        requests: How many may be under way at once.
        requests_per_key: How many of them with the same key.
        batch: How many questions are answered at once, at most; they share forward passes.
        max_tokens: Longest answer that may be asked for, in tokens.
        texts: How many texts one request may embed or store.
    """

    body: int = 1 << 20
    seconds: float = 120.0
    requests: int = 64
    requests_per_key: int = 16
    batch: int = 32
    max_tokens: int = 1024
    texts: int = 256

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "seconds":
                check_duration(field.name, value)
            else:
                check_limit(field.name, value)
