"""An explanation as it is shown on a terminal: the facts' texts, and why each thing came about."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from memkit.types import Hit, Support
from memkit.types.explanation import Explanation
from memkit.types.value import printable, shortened

FACTS = 6  # of those that took part, the best ones
_LONGEST = 240  # characters of a text that are shown
_GAUGE = 24  # cells of the bar of evidence
_REASON = 22  # cells of why something was left out


def print_explanation(console: Console, explanation: Explanation) -> None:
    """Print an explanation, as wide as the console is."""
    console.print(Group(*_parts(explanation)))


def _parts(explanation: Explanation) -> Iterable[RenderableType]:
    recall = explanation.recall
    yield Text(_line(recall.query), "bold")
    yield Text()
    yield _decision(explanation)
    if recall.route.support:
        yield from _titled("Facts considered, best first", _facts(explanation))
    yield from _titled(
        f"In the prompt: {recall.tokens} of {recall.budget} tokens of evidence",
        _prompt(explanation),
    )
    if explanation.left_out:
        yield from _titled("Found, and left out", _left_out(explanation))


def _titled(title: str, table: Table) -> Iterable[RenderableType]:
    yield Text()
    yield Text(title, "bold")
    if table.row_count:
        yield Padding(table, (0, 0, 0, 2))


def _decision(explanation: Explanation) -> Table:
    route, measured = explanation.recall.route, explanation.calibration
    table = _columns(2)
    table.columns[0].no_wrap = True
    mixture = ", ".join(f"{name} x {route.weights[name]:.2f}" for name in route.modules)
    if mixture:
        table.add_row("Route", Text(_line(mixture), "bold green"))
    else:
        table.add_row("Route", Text("none: the base model answers untouched", "bold yellow"))
    if route.reason:
        table.add_row("because", _line(route.reason))
    if route.support or route.threshold:
        table.add_row("Evidence", _evidence(route.evidence, route.threshold))
    for part in route.parts:
        asked = f"{part.module}: {part.question} ({part.score:.0%} sure)"
        table.add_row("Asked", _line(asked))
    for name, why in explanation.passed_over.items() if route else ():  # else as said above
        table.add_row("Not asked", _line(f"{name}: {why}"))
    if measured is not None:
        table.add_row(
            "Measured",
            Text(
                f"{measured.false_refusal:.1%} of this memory's own questions are refused; "
                f"{measured.false_activation:.1%} of general prompts pass, and "
                f"{measured.unstored:.1%} of questions whose record was left out",
                "dim",
            ),
        )
    return table


def _evidence(evidence: float, threshold: float) -> Text:
    """A bar with the threshold in it, and both in figures."""
    most = 1.25 * max(evidence, threshold, 0.01)
    filled = round(_GAUGE * max(0.0, evidence) / most)
    mark = min(_GAUGE - 1, round(_GAUGE * max(0.0, threshold) / most))
    enough = evidence >= threshold
    bar = Text("█" * filled + "─" * (_GAUGE - filled), "green" if enough else "yellow")
    shown = bar[:mark] + Text("|", "bold") + bar[mark + 1 :]
    relation = ">=" if enough else "<"
    return shown + Text(f"  {evidence:.2f} {relation} {threshold:.2f} (threshold)")


def _facts(explanation: Explanation) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for heading in ("score", "cosine"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("module", no_wrap=True)
    table.add_column("fact", overflow="fold")
    texts, support = explanation.texts, explanation.recall.route.support
    for fact in support[:FACTS]:
        table.add_row(
            f"{fact.score:.2f}",
            f"{fact.similarity:.2f}",
            _line(fact.module or "-"),
            _fact(fact, texts.get(fact.record_id)),
        )
    if support[FACTS:]:
        table.add_row("", "", "", Text(f"and {len(support) - FACTS} more", "dim"))
    return table


def _fact(fact: Support, text: str | None) -> Text:
    said = Text(_line(fact.record_id if text is None else text))
    if fact.words:
        said.append(f"\nshares {_line(', '.join(fact.words))}", "dim")
    return said


def _prompt(explanation: Explanation) -> Table:
    recall, table = explanation.recall, _columns(1)
    for hit in recall.hits:
        table.add_row(_cited(hit))
    for turn in recall.turns:
        table.add_row(_line(f"{turn.role}: {turn.content}"))
    if not table.row_count:
        table.add_row(Text("nothing", "dim"))
    return table


def _left_out(explanation: Explanation) -> Table:
    table = _columns(2)
    table.columns[0].max_width = _REASON
    for hit in explanation.left_out:
        table.add_row(explanation.why_left_out(hit), _cited(hit))
    return table


def _cited(hit: Hit) -> Text:
    return Text.assemble(_line(hit.text), (f"\n{_line(hit.id)}", "dim"))


def _columns(number: int) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_header=False)
    for _ in range(number):
        table.add_column(overflow="fold")
    table.columns[0].style = "dim" if number > 1 else ""
    return table


def _line(text: str) -> str:
    return printable(shortened(text, _LONGEST))
