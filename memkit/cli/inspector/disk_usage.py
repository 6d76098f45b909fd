"""What a memory takes on disk, by what it is for."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from memkit.files import files_below, size_of
from memkit.ledger.engine.connect import FILE

_PARTS = {"adapters": "adapters", "index": "index"}


def disk_usage(directory: Path) -> dict[str, int]:
    """Bytes by part: "ledger", "index", "adapters", and "other" where there is anything else."""
    sizes: Counter[str] = Counter({"ledger": 0, "index": 0, "adapters": 0})
    for path in files_below(directory):
        inside = path.relative_to(directory)
        part = "ledger" if inside.name.startswith(FILE) else _PARTS.get(inside.parts[0], "other")
        sizes[part] += size_of(path)
    return dict(sizes)
