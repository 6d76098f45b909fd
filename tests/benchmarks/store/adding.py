"""What adding costs beyond the embedder, with the real one."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks.store.durability import WORDS
from memkit.evals.measurement import Measurement
from memkit.memory.memory import Memory

REPEATS = 3
LENGTHS = (8, 40)  # words of a text: turns of a conversation


def measure(folder: Path, texts: int) -> tuple[list[Measurement], float]:
    """Embed texts alone, and add them; one after the other, several times.

    Returns:
        The times, and the median of bulk add ÷ embedding alone in seconds of the processor,
        which other jobs on the machine change least.
    """
    # Here, as every process of the other measurements would wait for it.
    from memkit.models.embedder import SentenceEmbedder

    embedder = SentenceEmbedder.load()
    embedder.encode_document(_texts(256, seed=0))  # the first calls are slower
    alone, added, ratios = [], [], []
    for repeat in range(REPEATS):
        sentences = _texts(texts, seed=1 + repeat)
        alone.append(_timed(partial(embedder.encode_document, sentences)))
        with Memory.open(
            folder / f"add-{repeat}", backends=("rag",), embedder=embedder, count_tokens=len
        ) as memory:
            added.append(_timed(partial(memory.add, sentences)))
            ratios.append(added[-1].cpu / alone[-1].cpu)
            single = [_timed(partial(memory.add, f"single {n}")) for n in range(20)]
            again = _timed(partial(memory.add, sentences, scope={"user": "u"}))
    case = f"MiniLM, {texts} texts"
    return [
        Measurement.of(case, "embedding alone", [seconds.wall for seconds in alone], "s"),
        Measurement.of(case, "embedding alone, processor", [seconds.cpu for seconds in alone], "s"),
        Measurement.of(case, "bulk add", [seconds.wall for seconds in added], "s"),
        Measurement.of(case, "bulk add, processor", [seconds.cpu for seconds in added], "s"),
        Measurement.of(case, "bulk add of known texts to another scope", [again.wall], "s"),
        Measurement.of(case, "one add", [1e3 * seconds.wall for seconds in single], "ms"),
    ], median(ratios)


def _texts(count: int, seed: int) -> list[str]:
    draw = random.Random(seed)
    return [" ".join(draw.choices(WORDS, k=draw.randint(*LENGTHS))) for _ in range(count)]


class _Seconds(NamedTuple):
    wall: float
    cpu: float


def _timed(action: Callable[[], object]) -> _Seconds:
    wall, cpu = time.perf_counter(), time.process_time()
    action()
    return _Seconds(time.perf_counter() - wall, time.process_time() - cpu)
