"""The report of the study: one page and its figures, made from the records alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from memkit.evals.metrics.bootstrap import Interval
from memkit.evals.plots import draw
from memkit.evals.run_records import RunRecord
from memkit.evals.study.all_questions import QUESTIONS
from memkit.evals.study.design import Conclusion, Plot, Question, Results, Scale
from memkit.evals.study.plan import planned
from memkit.files import file_draft

FOLDER = "study"  # of the figures, beside the page

ABOUT = """\
memkit implements the questions of *Understanding LoRA as Knowledge Memory* (arXiv 2603.01097) on a
laptop's scale. This page is written by `memkit study` from its records; nothing on it is typed by
hand. Every finding says whether it **holds**, **does not hold**, or **cannot be told here**: with
these sizes, this base model and so many seeds. A claim is said to hold, or not, only where the
95 % interval of the paired difference leaves no doubt; intervals come from a bootstrap over seeds
and questions. With one seed the interval covers the questions alone, and another seed may tell
otherwise.

What is compared was trained with the same number of visits to everything that is to be learned.
Training ends sooner only where all of it is mastered, so that too little training does not look
like too little room. Questions about the phone book are asked as they were learned, as in the
study; all others are asked in words that were not trained, and a guard stops the run if one of
them is among the training data."""


def conclusions(
    records: Mapping[str, RunRecord], scale: Scale, questions: Sequence[Question] = QUESTIONS
) -> list[tuple[Question, Conclusion]]:
    """What the records say on every question."""
    results = Results(records)
    return [(question, question.conclude(results, scale)) for question in questions]


def ratios_of(concluded: Sequence[tuple[Question, Conclusion]]) -> dict[str, float]:
    """The figures that are quoted, by name."""
    return {name: value for _, c in concluded for name, value in c.ratios.items()}


def write_study(
    page: Path,
    records: Mapping[str, RunRecord],
    scale: Scale,
    *,
    command: str,
    questions: Sequence[Question] = QUESTIONS,
) -> None:
    """Write the page, and its figures into the folder ``study`` beside it.

    Args:
        page: The Markdown file; it is replaced.
        records: By the key of their point.
        scale: What was to be measured.
        command: The command line that makes it.
        questions: Those that are reported.

    Raises:
        MissingDependencyError: If the extra ``evals`` is not installed.
    """
    concluded = conclusions(records, scale, questions)
    for _, conclusion in concluded:
        for plot in conclusion.plots:
            draw(plot, page.parent / FOLDER / f"{plot.name}.svg")
    text = "\n".join(_page(records, scale, command, concluded)).rstrip() + "\n"
    page.parent.mkdir(parents=True, exist_ok=True)
    with file_draft(page) as draft:
        draft.write_text(text, encoding="utf-8")
        draft.chmod(0o644)
        draft.replace(page)


def _page(
    records: Mapping[str, RunRecord],
    scale: Scale,
    command: str,
    concluded: Sequence[tuple[Question, Conclusion]],
) -> Iterator[str]:
    yield from ("# The study on a laptop", "", ABOUT, "", *_made(records, command), "")
    yield from ("## What was found", "", "| question | claim | verdict |", "|---|---|---|")
    for question, conclusion in concluded:
        for finding in conclusion.findings:
            yield f"| {', '.join(question.numbers)} | {finding.claim} | **{finding.verdict}** |"
    yield from ("", "## What was measured", "", *_coverage(records, scale), "")
    for question, conclusion in concluded:
        yield from _section(question, conclusion, command)


def _made(records: Mapping[str, RunRecord], command: str) -> Iterator[str]:
    """By which command, when, where."""
    machines = {_machine(record) for record in records.values()}
    days = sorted(record.finished[:10] for record in records.values())
    bases = sorted({str(record.environment.get("base")) for record in records.values()})
    yield f"- Command: `{command}`"
    yield f"- Measured: {days[0]} to {days[-1]} (UTC)" if days else "- Measured: nothing yet"
    yield f"- Base model: {', '.join(bases)}"
    for machine in sorted(machines):
        yield f"- Machine: {machine}"


def _machine(record: RunRecord) -> str:
    about = record.environment
    libraries = ", ".join(
        f"{name} {version}" for name, version in about["libraries"].items() if version != "none"
    )
    threads = f", {about['threads']} thread(s)" if about["threads"] else ""
    return (
        f"{about['processor']}, {about['cores']} cores{threads}, {about['system']}; memkit "
        f"{about['memkit']}, Python {about['python']}, {libraries}"
    )


def _coverage(records: Mapping[str, RunRecord], scale: Scale) -> Iterator[str]:
    """Which points are there, by question and seed; and a line that says what is missing."""
    points = planned(scale)
    seeds = scale.seeds
    missing = [point for point in points if point.key not in records]
    yield (
        f"{len(points) - len(missing)} of {len(points)} points are there"
        + ("." if not missing else "; the same command measures the others and writes this page.")
    )
    yield ""
    yield "| question | " + " | ".join(f"seed {seed}" for seed in seeds) + " |"
    yield "|---|" + "---|" * len(seeds)
    for question in QUESTIONS:
        cells = []
        for seed in seeds:
            made = {p.key: p for p in (*question.points(scale, seed), *question.later(scale, seed))}
            done = sum(key in records for key in made)
            cells.append(f"{done} of {len(made)}" if made else question.needs or "–")
        yield f"| {', '.join(question.numbers)} | " + " | ".join(cells) + " |"


def _section(question: Question, conclusion: Conclusion, command: str) -> Iterator[str]:
    number = question.numbers[0]
    heading = f"Question {', '.join(question.numbers)}" if number.isdigit() else "Beyond the study"
    yield from (f"## {heading}: {question.title}", "")
    for finding in conclusion.findings:
        yield f"- **{finding.verdict.capitalize()}:** {finding.claim} {_sentence(finding.because)}"
    yield ""
    for plot in conclusion.plots:
        yield from (f"![{plot.title}]({FOLDER}/{plot.name}.svg)", "")
        yield from (*_table(plot), "")
    if conclusion.plots:
        full = "--quick" if "--quick" in command else "--full"
        yield from (f"Measured by `memkit study {full} --question {number}`.", "")


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


def _table(plot: Plot) -> Iterator[str]:
    """The values of a figure: means with their intervals."""
    yield f"| {plot.x_label.partition(' (')[0]} | " + " | ".join(s.name for s in plot.series) + " |"
    yield "|---|" + "---|" * len(plot.series)
    for place, x in enumerate(plot.x):
        cells = [_cell(series.values[place]) for series in plot.series]
        yield f"| {x} | " + " | ".join(cells) + " |"


def _cell(value: Interval | None) -> str:
    if value is None:
        return "–"
    return f"{value.mean:.2f}" if value.low == value.high == value.mean else str(value)


def verdicts(concluded: Sequence[tuple[Question, Conclusion]]) -> Counter[str]:
    """How many findings hold, do not hold, and cannot be told."""
    return Counter(finding.verdict for _, c in concluded for finding in c.findings)
