"""CounterFact: statements that contradict what a language model has read (Meng et al. 2022)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memkit.errors import CorruptFileError
from memkit.evals.data.missing_data import find, read_csv, read_json

SIZES = ("1K", "2K", "4K")  # of the study's subsets, in tokens


@dataclass(frozen=True)
class Edit:
    """A statement that is to be learned, and what it replaces.

    Attributes:
        prompt: The statement up to its target.
        target: The new one, without the blank before it; empty if it is not known where it
            begins, and the statement is learned as a whole.
        true: What the world says; empty if the file does not tell.
        paraphrases: Other prompts for the same target.
        neighbours: Prompts about other subjects, whose target is to stay ``true``.
    """

    prompt: str
    target: str
    true: str = ""
    paraphrases: tuple[str, ...] = ()
    neighbours: tuple[str, ...] = ()


@dataclass(frozen=True)
class Edits:
    """What is learned, and what is asked that was not.

    Attributes:
        untrained: Prompts and targets of edits that are not learned: what the base model says
            to them is to stay.
    """

    name: str
    learned: tuple[Edit, ...]
    untrained: tuple[Edit, ...] = ()

    @property
    def targets(self) -> tuple[str, ...]:
        """All targets, each once, in order."""
        known = [edit.target for edit in (*self.learned, *self.untrained) if edit.target]
        return tuple(dict.fromkeys(known))


def read_edits(folder: Path | None, size: str = "1K") -> Edits:
    """The study's edited statements.

    Args:
        folder: With ``counterfact/counterfact_edit_1K.csv`` and ``counterfact_eval_qa.json``.
        size: One of `SIZES`.

    Raises:
        NotFoundError: If a file is not there.
        CorruptFileError: If one holds something else.
    """
    (statements,) = find(folder, "counterfact", f"counterfact_edit_{size}.csv")
    (prompts,) = find(folder, "counterfact", "counterfact_eval_qa.json")
    try:
        known = {
            f"{row['question']} {row['answer']}": Edit(row["question"], row["answer"])
            for row in read_json(prompts)
        }
    except (LookupError, TypeError) as error:
        raise CorruptFileError(
            f"expected a list of `question` and `answer` in {str(prompts)!r}, got none: {error!r}"
        ) from error
    texts = [row["text"].strip().strip('"').strip() for row in read_csv(statements, "text")]
    learned = [known.get(text, Edit(text, "")) for text in texts]
    rest = [edit for text, edit in known.items() if text not in set(texts)]
    return Edits(f"CounterFact, {size} tokens", tuple(learned), tuple(rest))


def read_counterfact(path: Path, edits: int | None = None) -> Edits:
    """Edits of the published ``counterfact.json``, with paraphrases and neighbours.

    Args:
        path: The file.
        edits: How many of the first ones; None for all.

    Raises:
        NotFoundError: If there is no such file.
        CorruptFileError: If it holds something else.
    """
    if not path.is_file():
        find(path.parent, "counterfact", path.name)
    try:
        learned = tuple(_edit(case) for case in read_json(path)[:edits])
    except (LookupError, TypeError, AttributeError) as error:
        raise CorruptFileError(
            f"expected CounterFact's cases in {str(path)!r}, got something else: {error!r}"
        ) from error
    return Edits(f"CounterFact, {len(learned)} edits", learned)


def _edit(case: Mapping[str, Any]) -> Edit:
    rewrite = case["requested_rewrite"]

    def texts(key: str) -> tuple[str, ...]:
        found: Sequence[str] = case.get(key, ())
        return tuple(found)

    return Edit(
        prompt=rewrite["prompt"].format(rewrite["subject"]),
        target=rewrite["target_new"]["str"],
        true=rewrite["target_true"]["str"],
        paraphrases=texts("paraphrase_prompts"),
        neighbours=texts("neighborhood_prompts"),
    )
