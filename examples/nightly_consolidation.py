"""What to run each night: destroy what has expired, train what is new, check, report.

    python examples/nightly_consolidation.py agent.mem

The agents may go on using the memory meanwhile. It ends with 1 if another night is still at it, or
if something is damaged, so that whoever runs it is told. Without a directory it shows itself on
small random models.
"""

import sys
import tempfile
import time
from typing import Any

from memkit import Memory
from memkit.errors import BusyError
from memkit.memory.check import check


def night(path: str, **options: Any) -> int:
    """Look after a memory; returns the exit status."""
    try:
        with Memory.open(path, create=False, **options) as memory:
            swept = memory.retention.sweep()
            report = memory.consolidate()
            stats = memory.stats()
    except BusyError as error:
        print(f"another run has the memory: {error}", file=sys.stderr)
        return 1
    sound = check(path).sound
    print(f"expired and destroyed: {len(swept.records)}")
    print(report)
    print(f"held in weights: {stats.held} of {stats.records} records")
    for id in report.missed:
        print(f"stays with the index: {id}")
    print("the memory is sound" if sound else "the memory is damaged: memkit check --repair")
    return 0 if sound else 1


def show() -> int:
    """Two nights of a small memory."""
    from memkit.testing import HashingEmbedder, tiny_llama, tiny_recipe

    options = {
        "base_model": tiny_llama(),
        "embedder": HashingEmbedder(),
        "recipe": tiny_recipe(records_per_module=2),
    }
    with tempfile.TemporaryDirectory() as folder:
        with Memory.open(folder, **options) as memory:
            for name, badge in (("Nora", "4471"), ("Emil", "2250")):
                question = f"Which badge has {name}?"
                memory.add(f"{name} has badge {badge}.", question=question, answer=badge)
            memory.add("The lift is out of order.", ttl=1)  # a second
        time.sleep(1.1)
        return night(folder, **options) or night(folder, **options)


if __name__ == "__main__":
    sys.exit(night(*sys.argv[1:]) if sys.argv[1:] else show())
