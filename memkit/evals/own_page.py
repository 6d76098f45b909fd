"""The evaluation of one's own documents as text, as JSON and as one HTML page."""

from __future__ import annotations

import html
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from memkit.evals.own_documents import Evaluation, Row, advice_text
from memkit.evals.plots import draw
from memkit.evals.run_records import environment
from memkit.evals.study.design import Plot, Series

JUDGED = "judge (95 %)"  # where there is one
COLUMNS = (
    "configuration",
    "quality (95 %)",
    "prompt tokens",
    "CPU s/question",
    "training CPU s",
    "disk KiB",
    "pays off after",
)

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .35rem .6rem; border-bottom: 1px solid #8884; }
th:first-child, td:first-child { text-align: left; }
td { white-space: nowrap; }
tr.chosen td { font-weight: 600; }
.advice { border-left: .3rem solid #0072b2; padding: .6rem 1rem; background: #0072b214; }
figure { margin: 1.5rem 0; background: white; overflow-x: auto; }
.table { overflow-x: auto; }
small { opacity: .8; }
"""


def cells(row: Row) -> tuple[str, ...]:
    """A row of the table, as text; what a judge says comes last."""
    trained = row.training > 0
    pays = "–" if not trained else "never" if row.break_even is None else f"{row.break_even:.0f}"
    return (
        row.name,
        str(row.quality),
        f"{row.prompt_tokens:.0f}",
        f"{row.seconds:.2f}",
        f"{row.training:.0f}" if trained else "–",
        f"{row.bytes / 1024:.0f}" if trained else "–",
        pays,
        *([] if row.judged is None else [str(row.judged)]),
    )


def columns(evaluation: Evaluation) -> tuple[str, ...]:
    """The headings of the table."""
    return (*COLUMNS, JUDGED) if any(row.judged for row in evaluation.rows) else COLUMNS


def as_text(evaluation: Evaluation) -> str:
    """The table with the recommendation below it, in columns."""
    rows = [columns(evaluation), *(cells(row) for row in evaluation.rows)]
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if place == 0 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return "\n".join([_about(evaluation), "", *lines, "", advice_text(evaluation)])


def as_json(evaluation: Evaluation) -> dict[str, Any]:
    """All figures, the recommendation and the machine."""
    values: dict[str, Any] = asdict(evaluation)
    values["advice"]["text"] = advice_text(evaluation)
    return values | {"environment": environment()}


def write_page(path: Path, evaluation: Evaluation) -> None:
    """Write one HTML file that needs nothing else, figure included.

    Raises:
        MissingDependencyError: If the extra ``evals`` is not installed.
    """
    page = "\n".join(_page(evaluation)) + "\n"
    path.write_text(page, encoding="utf-8")


def _page(evaluation: Evaluation) -> Iterator[str]:
    name = html.escape(evaluation.name)
    yield '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width">'
    yield f"<title>memkit: {name}</title>\n<style>{_STYLE}</style>\n</head>\n<body>"
    yield f"<h1>Where to keep {name}</h1>\n<p>{html.escape(_about(evaluation))}</p>"
    yield f'<p class="advice">{html.escape(advice_text(evaluation))}</p>'
    yield '<div class="table"><table>\n<tr>'
    headings = (f'<th scope="col">{html.escape(each)}</th>' for each in columns(evaluation))
    yield "".join(headings) + "</tr>"
    for row in evaluation.rows:
        chosen = ' class="chosen"' if row.name == evaluation.advice.choice else ""
        yield f"<tr{chosen}>" + "".join(f"<td>{html.escape(c)}</td>" for c in cells(row)) + "</tr>"
    yield "</table></div>"
    yield f"<figure>{_figure(evaluation)}</figure>"
    yield (
        "<p><small>Quality: the share of short answers that are right, and the word overlap (F1) "
        "of longer ones. Pays off after: questions after which training costs less than putting "
        "everything into every prompt.</small></p>"
    )
    machine = environment()
    yield (
        f"<p><small>{html.escape(evaluation.base)}; memkit {html.escape(machine['memkit'])}; "
        f"{html.escape(machine['processor'])}, {machine['cores']} cores</small></p>"
    )
    yield "</body>\n</html>"


def _figure(evaluation: Evaluation) -> str:
    """The qualities as bars, to be put into the page."""
    plot = Plot(
        name="quality",
        title="Quality of each configuration on these questions",
        x_label="configuration",
        y_label="quality",
        x=tuple(row.name for row in evaluation.rows),
        series=(Series("quality", tuple(row.quality for row in evaluation.rows)),),
        kind="bars",
    )
    with TemporaryDirectory() as folder:
        path = Path(folder) / "quality.svg"
        draw(plot, path)
        text = path.read_text(encoding="utf-8")
    return text[text.index("<svg") :]


def _about(evaluation: Evaluation) -> str:
    written = ", written by memkit" if evaluation.written else ""
    return f"{evaluation.documents} documents, {evaluation.questions} questions{written}."
