"""What routing costs beside the embedding of the query, among many facts.

Vectors are synthetic, so that a hundred thousand facts are there in a minute: about a hundred
lie around each centre, as in `benchmarks.store.corpus`. Time is that of the calling thread's
processor, so that other programs on the machine hardly matter.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np
from tqdm import tqdm

from memkit.evals.company.vocabulary import FIRST_NAMES, LAST_NAMES
from memkit.evals.measurement import Measurement
from memkit.ledger import Ledger
from memkit.lora.consolidation.examples import make_missing
from memkit.lora.recipe import RECORDS_PER_MODULE
from memkit.lora.training.template_synthesizer import TemplateSynthesizer
from memkit.rag.index import FactIndex
from memkit.routing.nearest import NearestRouter
from memkit.types import Draft, Query

if TYPE_CHECKING:
    from memkit.protocols import Floats2d

FACTS = 100_000
THINGS = ("phone number", "office", "birthday", "badge number", "favourite colour",
          "home town", "desk", "locker", "supervisor", "start date")  # fmt: skip
WORDINGS = {
    "as stored": "What is the {thing} of {name}?",
    "reworded": "Tell me, which {thing} does {name} have, please?",
}
ASKED = 200
REPEATS = 3
BLOCK = 10_000
DIM, LATENT = 384, 32
SPREAD = 0.5  # of facts around their centre, whose standard deviation is 1
HOUSE = 5  # people of one house, whose facts share a centre: some hundred passages


class NamedVectors:
    """An embedder that draws a vector near the one of the house in a text.

    Attributes:
        name: As memories are marked.
        dim: Length of a vector.
    """

    name, dim = "named vectors", DIM

    def __init__(self) -> None:
        carry = np.random.default_rng(0).standard_normal((LATENT, DIM), dtype=np.float32)
        self._carry = carry

    def encode_query(self, texts: Sequence[str], /) -> Floats2d:
        """Vectors of texts: shape ``(n, dim)``, float32, unit rows."""
        latent = [_drawn(_house_in(text)) + SPREAD * _drawn(text) for text in texts]
        rows = np.array(latent, np.float32).reshape(len(texts), LATENT) @ self._carry
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        return rows

    encode_document = encode_query


def measure(facts: int) -> list[Measurement]:
    """Time the routing of single queries whose vectors are known.

    Args:
        facts: How many the memory holds, each with a question.
    """
    case, results = f"{facts} facts", []
    with _filled(facts) as (router, index):
        placed = {f"r{n}": f"m{n // RECORDS_PER_MODULE}" for n in range(facts)}
        for wording, text in WORDINGS.items():
            queries = [Query(text.format(name=_name(n), thing=_thing(n))) for n in _some(facts)]
            index.nearest(queries)  # their vectors are remembered from here on

            def route(query: Query) -> None:
                router.route([query], pending=placed)

            def nearest(query: Query) -> None:
                index.nearest([query])

            for step, action in (("routing", route), ("of which search", nearest)):
                values = _timed(action, queries)
                for name, own in zip(("p50", "p95"), values, strict=True):
                    results.append(Measurement.of(case, f"{step}, {wording}, {name}", own, "ms"))
    return results


def draft(number: int) -> Draft:
    """A fact of a person, with its question."""
    name, thing = _name(number), _thing(number)
    answer = f"{number * 7919 % 1_000_003:06d}"
    question = f"What is the {thing} of {name}?"
    return Draft(f"The {thing} of {name} is {answer}.", question, answer, id=f"r{number}")


@contextmanager
def _filled(facts: int) -> Iterator[tuple[NearestRouter, FactIndex]]:
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger.open(Path(folder) / "memory")
        try:
            index = FactIndex(ledger, NamedVectors())
            with tqdm(desc="facts", total=facts, disable=None) as bar:
                for start in range(0, facts, BLOCK):
                    block = [draft(n) for n in range(start, min(facts, start + BLOCK))]
                    index.write(ledger.records.add(block))
                    bar.update(len(block))
            index.sync()
            index.wait()
            router = NearestRouter(index, ledger)
            some = ledger.records.get([f"r{n}" for n in _some(facts)])
            make_missing(ledger, TemplateSynthesizer(), some)
            router.calibrate(some)
            yield router, index
            index.close()
        finally:
            ledger.close()


def _timed(action: Callable[[Query], None], queries: Sequence[Query]) -> tuple[list[float], ...]:
    """Medians and 95th percentiles of several passes, in milliseconds."""
    passes = []
    for _ in range(REPEATS):
        seconds = []
        for query in queries:
            started = time.thread_time()
            action(query)
            seconds.append(time.thread_time() - started)
        passes.append(np.percentile(seconds, [50, 95]) * 1e3)
    return tuple([float(percentiles[k]) for percentiles in passes] for k in (0, 1))


def _name(number: int) -> str:
    person = number // len(THINGS)
    first = FIRST_NAMES[person % len(FIRST_NAMES)]
    last = LAST_NAMES[person // len(FIRST_NAMES) % len(LAST_NAMES)]
    return f"{first} {last} of house{person // HOUSE}"


def _thing(number: int) -> str:
    return THINGS[number % len(THINGS)]


def _house_in(text: str) -> str:
    """The house; for a general prompt, which has none, the prompt."""
    houses = (word.strip(".,?") for word in text.split() if word.startswith("house"))
    return next(houses, text)


def _some(facts: int) -> list[int]:
    return random.Random(0).sample(range(facts), min(ASKED, facts))


def _drawn(text: str) -> Floats2d:
    generator = np.random.default_rng(crc32(text.encode()))
    return generator.standard_normal(LATENT, dtype=np.float32)
