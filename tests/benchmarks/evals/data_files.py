"""Where the data sets of others are."""

from __future__ import annotations

from pathlib import Path

from memkit.errors import InvalidInputError


def json_files(data: Path | None, folder: str, what: str) -> list[Path]:
    """List the files ``data/folder/*.json``, in order.

    Raises:
        InvalidInputError: If there is none; it says that ``what`` was expected there.
    """
    files = sorted((data / folder).glob("*.json")) if data is not None else []
    if not files:
        raise InvalidInputError(
            f"expected {what} in DIR/{folder}/*.json, got DIR = {data}",
            hint="give the directory with --data DIR or in MEMKIT_EVAL_DATA",
        )
    return files
