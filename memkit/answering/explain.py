"""Why a query is answered from where it is: facts, modules, and what went into the prompt."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from memkit.types import Hit, Recall, Support
from memkit.types.calibration import Calibration


@dataclass(frozen=True)
class Explanation:
    """What memkit makes of a query; print it, or take `to_json`.

    Attributes:
        recall: The route, and what would go into the prompt of an answer.
        left_out: Passages that were found and do not go in: held in weights, or no room.
        calibration: How far the router's threshold can be relied on in this memory; None if
            nothing was held yet, or the router has none.
    """

    recall: Recall
    left_out: tuple[Hit, ...]
    calibration: Calibration | None = None

    @property
    def passed_over(self) -> dict[str, str]:
        """Modules that have facts near the query and are not asked, and why."""
        route = self.recall.route
        asked = {*route.weights, *(part.module for part in route.parts)}
        best: dict[str, Support] = {}
        for fact in route.support:
            if fact.module is not None and fact.module not in asked:
                best.setdefault(fact.module, fact)
        return {name: self._why_not(fact) for name, fact in best.items()}

    def _why_not(self, fact: Support) -> str:
        route = self.recall.route
        if not route:
            return route.reason
        behind = route.support[0].score - fact.score
        return f"its best fact, {fact.record_id}, is {behind:.2f} behind the first"

    def to_json(self) -> str:
        """All of it as a JSON object."""
        recall, route = self.recall, self.recall.route
        said = {
            "query": recall.query,
            "modules": dict(route.weights),
            "reason": route.reason,
            "evidence": route.evidence,
            "threshold": route.threshold,
            "calibration": self.calibration and asdict(self.calibration),
            "parts": [asdict(part) for part in route.parts],
            "facts": [asdict(fact) for fact in route.support],
            "passed_over": self.passed_over,
            "prompt": {
                "records": [hit.id for hit in recall.hits],
                "turns": [turn.id for turn in recall.turns],
                "tokens": recall.tokens,
                "budget": recall.budget,
                "in_weights": list(recall.in_weights),
                "left_out": [hit.id for hit in self.left_out],
            },
        }
        return json.dumps(said, ensure_ascii=False, indent=2)

    def __str__(self) -> str:
        recall, route = self.recall, self.recall.route
        lines = [f"query: {recall.query}", route.explain()]
        lines.append(f"  evidence {route.evidence:.2f}, threshold {route.threshold:.2f}")
        if (kept := self.calibration) is not None:
            lines.append(f"  of this memory's own questions {kept.false_refusal:.1%} are refused; "
                         f"of general prompts {kept.false_activation:.1%} pass, of questions whose "
                         f"record was left out {kept.unstored:.1%}")  # fmt: skip
        lines += [f"asked: {part.module}: {part.question} ({part.score:.0%} sure)"
                  for part in route.parts]  # fmt: skip
        lines += [f"not asked: {name}: {why}" for name, why in self.passed_over.items()]
        went_in = ", ".join(hit.id for hit in recall.hits) or "no record"
        lines.append(f"prompt: {went_in}; {len(recall.turns)} turns; "
                     f"{recall.tokens} of {recall.budget} tokens")  # fmt: skip
        held = set(recall.in_weights)
        for hit in self.left_out:
            why = "held in weights" if hit.id in held else "no room in the budget"
            lines.append(f"not in the prompt: {hit.id}: {why}")
        return "\n".join(lines)
