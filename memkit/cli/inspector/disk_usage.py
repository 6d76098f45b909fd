"""What a memory takes on disk, by what it is for."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from memkit.files import files_below

_PARTS = {"adapters": "adapters", "index": "index"}
_LEDGER = "ledger.sqlite3"


def disk_usage(directory: Path) -> dict[str, int]:
    """Bytes by part: "ledger", "index", "adapters", and "other" where there is anything else."""
    sizes: Counter[str] = Counter({"ledger": 0, "index": 0, "adapters": 0})
    for path in files_below(directory):
        inside = path.relative_to(directory)
        part = "ledger" if inside.name.startswith(_LEDGER) else _PARTS.get(inside.parts[0], "other")
        try:
            sizes[part] += path.stat().st_size
        except FileNotFoundError:  # another process has removed it
            continue
    return dict(sizes)
