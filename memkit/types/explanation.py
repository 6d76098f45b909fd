"""How a query would be answered: route, facts, prompt, and what was left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from memkit.types.answers import Hit, Recall, Support, route_lines
from memkit.types.calibration import Calibration
from memkit.types.records import Record
from memkit.types.value import Value, printable, shortened


@dataclass(frozen=True)
class Explanation(Value):
    """How a query would be answered; for people as text, for programs as `to_json`.

    Attributes:
        recall: The route, and the evidence that an answer's prompt would hold.
        left_out: Passages that were found but are not in the prompt: held in weights, said
            there already, not about the question, or without room.
        calibration: How reliable the router's threshold is in this memory; None if no module
            holds anything yet, or the router has none.
        records: The records that the route names, by id.
        repeated: Ids of those left out whose text is in the prompt already: as a turn, or of
            another record.
    """

    recall: Recall
    left_out: tuple[Hit, ...]
    calibration: Calibration | None = None
    records: Mapping[str, Record] = field(default_factory=dict)
    repeated: tuple[str, ...] = ()

    derived = ("passed_over",)

    @property
    def passed_over(self) -> dict[str, str]:
        """Modules that hold facts near the query but are not asked, each with the reason."""
        route = self.recall.route
        asked = {*route.weights, *(part.module for part in route.parts)}
        best: dict[str, Support] = {}
        for fact in route.support:
            if fact.module is not None and fact.module not in asked:
                best.setdefault(fact.module, fact)
        return {name: self._why_not(fact) for name, fact in best.items()}

    @property
    def texts(self) -> dict[str, str]:
        """The texts of all records that are known, by id."""
        hits = {hit.id: hit.record.text for hit in (*self.recall.hits, *self.left_out)}
        return hits | {id: record.text for id, record in self.records.items()}

    def why_left_out(self, hit: Hit) -> str:
        """Why one of the passages that were left out is not in the prompt."""
        if hit.id in self.recall.in_weights:
            return "held in weights"
        if hit.id in self.repeated:
            return "its text is in the prompt already"
        if hit.id in self.recall.irrelevant:
            return f"not about the question (relevance {hit.relevance or 0.0:.2f})"
        return "no room in the budget"

    def _why_not(self, fact: Support) -> str:
        route = self.recall.route
        if not route:
            return route.reason
        text = self.texts.get(fact.record_id)
        name = fact.record_id if text is None else f'{fact.record_id} ("{shortened(text)}")'
        behind = route.support[0].score - fact.score
        return f"its best fact, {name}, is {behind:.2f} behind the first"

    def __str__(self) -> str:
        recall, route = self.recall, self.recall.route
        lines = [
            f"query: {recall.query}",
            *route_lines(route, self.texts),
            *self._figures(),
            *(f"asked: {p.module}: {p.question} ({p.score:.0%} sure)" for p in route.parts),
            *(f"not asked: {name}: {why}" for name, why in self.passed_over.items()),
            f"prompt: {recall.tokens} of {recall.budget} tokens of evidence",
            *(f"  {hit.id}: {shortened(hit.text)}" for hit in recall.hits),
            *(f"  {turn.role}: {shortened(turn.content)}" for turn in recall.turns),
            *(
                f"not in the prompt, {self.why_left_out(hit)}: {hit.id}: {shortened(hit.text)}"
                for hit in self.left_out
            ),
        ]
        return "\n".join(printable(" ".join(line.splitlines())) for line in lines)

    def _figures(self) -> list[str]:
        route, measured = self.recall.route, self.calibration
        lines = []
        if route.support or route.threshold:  # otherwise nothing was compared
            lines = [f"  evidence {route.evidence:.2f}, threshold {route.threshold:.2f}"]
        if measured is None:
            return lines
        return [
            *lines,
            f"  of this memory's own questions {measured.false_refusal:.1%} are refused; "
            f"of general prompts {measured.false_activation:.1%} pass, of questions whose "
            f"record was left out {measured.unstored:.1%}",
        ]
