"""What adding costs beyond the embedder, with the real one."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

from memkit.bench.store.durability import WORDS
from memkit.memory import Memory
from memkit.report import Measurement

REPEATS = 3
LENGTHS = (8, 40)  # words of a text: turns of a conversation


def measure(folder: Path, texts: int) -> tuple[list[Measurement], float]:
    """Embed texts alone, and add them; one after the other, several times.

    Returns:
        The times, and the median of bulk add ÷ embedding alone.
    """
    # Here, as every process of the other measurements would wait for it.
    from memkit.models.embedder import SentenceEmbedder

    embedder = SentenceEmbedder.load()
    embedder.encode_document(_texts(256, seed=0))  # the first calls are slower
    alone, added = [], []
    for repeat in range(REPEATS):
        said = _texts(texts, seed=1 + repeat)
        alone.append(_timed(partial(embedder.encode_document, said)))
        with Memory.open(
            folder / f"add-{repeat}", backends=("rag",), embedder=embedder, count_tokens=len
        ) as memory:
            added.append(_timed(partial(memory.add, said)))
            single = [_timed(partial(memory.add, f"single {n}")) for n in range(20)]
            again = _timed(partial(memory.add, said, scope={"user": "u"}))
    case = f"MiniLM, {texts} texts"
    return [
        Measurement.of(case, "embedding alone", alone, "s"),
        Measurement.of(case, "bulk add", added, "s"),
        Measurement.of(case, "bulk add of known texts to another scope", [again], "s"),
        Measurement.of(case, "one add", [1e3 * one for one in single], "ms"),
    ], median(both / one for both, one in zip(added, alone, strict=True))


def _texts(count: int, seed: int) -> list[str]:
    draw = random.Random(seed)  # noqa: S311 - made-up texts
    return [" ".join(draw.choices(WORDS, k=draw.randint(*LENGTHS))) for _ in range(count)]


def _timed(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started
