"""Learning edited statements, and comparing the probabilities of whole targets."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict

from memkit.evals.configuration import EditRun
from memkit.evals.data.edits import Edit, Edits, read_edits
from memkit.evals.lab import Lab
from memkit.evals.lessons import Lesson
from memkit.evals.metrics.edit_scores import efficacy, target_log_probabilities
from memkit.evals.mixtures_of_modules import ModuleMixer
from memkit.evals.run_records import RunRecord, recorded
from memkit.models.scoring import Mix, no_adapters

NAME = "m0"
LEARNED = 64  # edits that are asked for at most, at equal distances


def run_edits(point: EditRun, lab: Lab) -> RunRecord:
    """Learn edited statements, and score their targets.

    - *Efficacy*: the new target is more probable than the true one. The study's subsets do not
      tell the true targets; for those the rival is the target of any other edit that the
      untouched base model finds the most probable behind the prompt.
    - *Paraphrase*: the same behind other prompts, where the file has them.
    - *Locality*: behind prompts about other subjects the true target stays more probable than
      the new one; where the file has none, what the base model finds the most probable of all
      targets behind the prompt of an edit that was not learned stays so.
    """
    edits = read_edits(lab.data, point.size)
    learned = edits.learned[: point.edits]
    with_target = [edit for edit in learned if edit.target]
    most = min(LEARNED, len(with_target))
    known = [with_target[place * len(with_target) // most] for place in range(most)]
    mix, figures = _trained(point, lab, learned)
    rivals = _rivals(lab, known, edits)
    pairs = [[edit.target, rival] for edit, rival in zip(known, rivals, strict=True)]
    after = target_log_probabilities(lab.base, [edit.prompt for edit in known], pairs, mix)
    scores: dict[str, list[float]] = {
        "efficacy": efficacy([row[0] for row in after], [row[1] for row in after]),
        "margin": [row[0] - row[1] for row in after],
    }
    scores |= _paraphrases(lab, known, rivals, mix)
    scores |= _locality(lab, known, edits, mix)
    digest = hashlib.sha256(json.dumps([asdict(edit) for edit in learned]).encode()).hexdigest()
    figures["statements"] = float(len(learned))
    return recorded(point, scores, figures, data=digest, base=lab.base.name)


def lessons_of(edits: Sequence[Edit]) -> list[Lesson]:
    """Statements as running text: the target is learned, or all of it where none is known."""
    return [
        Lesson(str(place), edit.target, prompt=edit.prompt)
        if edit.target
        else Lesson(str(place), edit.prompt)
        for place, edit in enumerate(edits)
    ]


def _trained(point: EditRun, lab: Lab, learned: Sequence[Edit]) -> tuple[Mix, dict[str, float]]:
    if point.learning is None:
        return no_adapters, {"parameters": 0.0, "train_cpu_seconds": 0.0}
    module = lab.store.get(lessons_of(learned), point.learning, point.seed)
    mixer = ModuleMixer(lab.base, lab.layers, {NAME: module.adapter}, "mix", point.seed)

    def mix(rows: int) -> AbstractContextManager[object]:
        return mixer.place([[NAME]] * rows)

    training = module.training
    return mix, {
        "parameters": float(training.parameters),
        "trained_tokens": float(training.tokens),
        "steps": float(training.steps),
        "mastered": training.mastered,
        "train_cpu_seconds": training.cpu_seconds,
    }


def _rivals(lab: Lab, known: Sequence[Edit], edits: Edits) -> list[str]:
    """For each edit the true target, or else the other one that the base finds most probable."""
    if all(edit.true for edit in known):
        return [edit.true for edit in known]
    targets = edits.targets
    prompts = [edit.prompt for edit in known]
    rows = target_log_probabilities(lab.base, prompts, [targets] * len(known))
    likeliest = [
        max((score, text) for score, text in zip(row, targets, strict=True) if text != edit.target)
        for edit, row in zip(known, rows, strict=True)
    ]
    return [e.true or text for e, (_, text) in zip(known, likeliest, strict=True)]


def _paraphrases(
    lab: Lab, known: Sequence[Edit], rivals: Sequence[str], mix: Mix
) -> dict[str, list[float]]:
    asked = [
        (prompt, [edit.target, rival])
        for edit, rival in zip(known, rivals, strict=True)
        for prompt in edit.paraphrases
    ]
    if not asked:
        return {}
    rows = target_log_probabilities(lab.base, [p for p, _ in asked], [t for _, t in asked], mix)
    return {"paraphrase": efficacy([row[0] for row in rows], [row[1] for row in rows])}


def _locality(lab: Lab, known: Sequence[Edit], edits: Edits, mix: Mix) -> dict[str, list[float]]:
    near = [(prompt, [e.true, e.target]) for e in known if e.true for prompt in e.neighbours]
    if near:
        rows = target_log_probabilities(lab.base, [p for p, _ in near], [t for _, t in near], mix)
        return {"locality": efficacy([row[0] for row in rows], [row[1] for row in rows])}
    if not edits.untrained:
        return {}
    prompts = [edit.prompt for edit in edits.untrained]
    targets = [edits.targets] * len(prompts)
    before = target_log_probabilities(lab.base, prompts, targets)
    after = target_log_probabilities(lab.base, prompts, targets, mix)
    return {
        "locality": [
            float(b.index(max(b)) == a.index(max(a))) for b, a in zip(before, after, strict=True)
        ]
    }
