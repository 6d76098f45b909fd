"""Where evaluation data lies, and what to do if it is not there."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from typing import Any

from memkit.errors import CorruptFileError, NotFoundError

VARIABLE = "MEMKIT_EVAL_DATA"

# What each folder holds and where it can be had; memkit ships none of it.
ORIGINS = {
    "phonebook": (
        "the study's PhoneBook",
        "it is in the data of github.com/ahn-ml/Understanding-LoRA-as-Knowledge-Memory; "
        "`--data` left out uses invented entries",
    ),
    "counterfact": (
        "the study's CounterFact subsets",
        "they are in the data of github.com/ahn-ml/Understanding-LoRA-as-Knowledge-Memory; the "
        "whole set is at rome.baulab.info/data/dsets/counterfact.json",
    ),
    "paperqa": (
        "the study's PaperQA",
        "it is in the data of github.com/ahn-ml/Understanding-LoRA-as-Knowledge-Memory",
    ),
    "narrativeqa": (
        "NarrativeQA",
        "github.com/google-deepmind/narrativeqa has qaps.csv, documents.csv and the summaries in "
        "third_party/wikipedia/summaries.csv",
    ),
    "quality": ("QuALITY", "github.com/nyu-mll/quality has QuALITY.v1.0.1.htmlstripped.dev"),
    "locomo": ("LoCoMo", "github.com/snap-research/locomo has data/locomo10.json"),
    "longmemeval": (
        "LongMemEval",
        "huggingface.co/datasets/xiaowu0162/longmemeval-cleaned has longmemeval_oracle.json",
    ),
}


def data_folder(given: Path | None) -> Path | None:
    """The folder that was given, or the one that the environment names; None if neither is."""
    named = os.environ.get(VARIABLE)
    return given or (Path(named) if named else None)


def find(folder: Path | None, kind: str, pattern: str) -> list[Path]:
    """Files of one kind of data, in order.

    Args:
        folder: The folder of all data, in which ``kind`` is one.
        kind: A name in `ORIGINS`.
        pattern: Of the files' names, as for `Path.glob`.

    Raises:
        NotFoundError: If there is none; it says what is missing, and where to get it.
    """
    files = sorted((folder / kind).glob(pattern)) if folder is not None else []
    if not files:
        what, origin = ORIGINS[kind]
        place = f"{kind}/{pattern}"
        raise NotFoundError(
            f"expected {what} in DIR/{place}, "
            + (f"found no such file in DIR = {str(folder)!r}" if folder else "no DIR was given"),
            hint=f"{origin}; name the folder with `--data DIR` or {VARIABLE}=DIR",
        )
    return files


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        CorruptFileError: If it is none.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CorruptFileError(
            f"expected JSON in {str(path)!r}, cannot read it: {error}"
        ) from error


def read_csv(path: Path, *columns: str) -> list[dict[str, str]]:
    """The rows of a CSV file that has these columns.

    Raises:
        CorruptFileError: If it lacks one, or is no text.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
    except (ValueError, csv.Error) as error:
        raise CorruptFileError(f"expected CSV in {str(path)!r}, cannot read it: {error}") from error
    if lacking := [name for name in columns if name not in (reader.fieldnames or ())]:
        raise CorruptFileError(
            f"expected the columns {list(columns)} in {str(path)!r}, it lacks {lacking}: it has "
            f"{list(reader.fieldnames or ())}"
        )
    return rows
