"""Which law of capacity holds for a base model: a measured one, or a cautious guess.

`memkit bench capacity` measures a model and keeps the points in memkit's cache folder; what it
has measured is used from then on.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from memkit.errors import CorruptFileError
from memkit.lora.capacity import Law, Point, fit
from memkit.models.convert import cache_dir

if TYPE_CHECKING:
    from memkit.models.base import BaseModel

logger = logging.getLogger("memkit")

# `memkit bench capacity`: rank 1 with 48 facts, rank 8 with 48 and 96. Rank 8 was not filled
# (docs/decisions/0005-capacity.md).
DEFAULT_NAME = "SmolLM2-135M-Instruct"
DEFAULT = Law(scale=164.0, exponent=1.14, most=647)


def law_for(base: BaseModel) -> Law:
    """The law for a base model.

    What was measured on this machine comes first, then what ships for the default model. For
    any other model half of the latter is taken, which is cautious for all but tiny ones:
    larger models have more adapter weights at the same rank.

    Raises:
        CorruptFileError: If the file of measurements cannot be read.
    """
    points = load_points(points_file(base.fingerprint))
    if points:
        return fit(points)
    if base.name == DEFAULT_NAME:
        return DEFAULT
    _say_unknown(base.name)
    return Law(DEFAULT.scale / 2, DEFAULT.exponent, DEFAULT.most // 2)


@lru_cache(maxsize=32)  # once for each name
def _say_unknown(name: str) -> None:
    logger.info(
        "the capacity of adapters on %r was never measured, taking half of that on %s; "
        "`memkit bench capacity --base ...` measures it",
        name,
        DEFAULT_NAME,
    )


def points_file(fingerprint: str) -> Path:
    """Where the measurements on a base model are."""
    return cache_dir() / "capacity" / f"{fingerprint[:32]}.json"


def load_points(path: Path) -> list[Point]:
    """The measurements in a file; none if there is no file.

    Raises:
        CorruptFileError: If it holds something else.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return [Point(**values) for values in document["points"]]
    except FileNotFoundError:
        return []
    except (ValueError, TypeError, LookupError) as error:
        raise CorruptFileError(
            f"expected measured capacities in {str(path)!r}, cannot read them: {error}",
            hint="delete the file; `memkit bench capacity` makes it again",
        ) from error


def save_points(path: Path, points: Sequence[Point]) -> None:
    """Replace the measurements in a file, all at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    document = {"points": [asdict(point) for point in points]}
    unfinished.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    unfinished.replace(path)
