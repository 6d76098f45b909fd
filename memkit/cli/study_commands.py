"""The command ``study``: the questions of the study, on this machine."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from memkit.cli.parameters import (
    BaseModel,
    EmbedderModel,
    Numbers,
    Report,
    output_file,
    positive_numbers,
)
from memkit.cli.placing import placed, placed_embedder

PANEL = "Evaluate"
OF_THE_EXTRA = ("matplotlib", "rouge_score", "sacrebleu")  # what ``evals`` brings
DataFolder = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DIR",
        help="Folder with published data sets; MEMKIT_EVAL_DATA names one, too.",
        show_default=False,
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("study", rich_help_panel=PANEL)(study)


def study(
    *,
    quick: Annotated[
        bool, typer.Option("--quick", help="Every question in miniature; the default.")
    ] = False,
    full: Annotated[
        bool, typer.Option("--full", help="In full: hours, can be stopped and resumed.")
    ] = False,
    question: Annotated[
        list[str] | None,
        typer.Option(
            metavar="N",
            help="Only this question, 1 to 15 or beyond; may be repeated.",
            show_default=False,
        ),
    ] = None,
    seeds: Annotated[
        Numbers | None,
        typer.Option(
            parser=positive_numbers,
            metavar="S,S",
            help="Other seeds of training than 0, or 0 to 2 in full.",
            show_default=False,
        ),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            min=0, help="Start no measurement after so many; run again.", show_default=False
        ),
    ] = None,
    data: DataFolder = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--results",
            metavar="DIR",
            help="Where records and adapters are kept; by default memkit's cache.",
            show_default=False,
        ),
    ] = None,
    page: Annotated[
        Path | None,
        typer.Option(
            "--report",
            metavar="FILE",
            help="The page to write, figures and records beside it; by default in --results.",
            show_default=False,
        ),
    ] = None,
    base_model: BaseModel = None,
    embedder: EmbedderModel = None,
    json_path: Report = None,
    csv_path: Annotated[
        Path | None,
        typer.Option(
            "--csv",
            parser=output_file,
            metavar="FILE",
            help="Also write all figures as a table.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Measure what weights, retrieval and prompts hold, and write a report with figures."""
    if quick and full:
        raise typer.BadParameter("expected --quick or --full, got both")
    from memkit.cli.output import print_note, print_text
    from memkit.evals.study.study_run import StudyRun, run_study
    from memkit.models.embedder import SentenceEmbedder
    from memkit.models.language_model import TransformersModel
    from memkit.server.extras import need_extra

    need_extra("evals", *OF_THE_EXTRA)
    run = StudyRun(
        quick=not full,
        numbers=tuple(question or ()),
        data=data,
        folder=folder,
        page=page,
        seeds=seeds.values if seeds else None,
        seconds=None if minutes is None else 60.0 * minutes,
    )
    _ = run.questions  # unknown numbers are refused before a model is loaded
    written = run_study(
        run,
        TransformersModel.load(base_model, **placed()),
        SentenceEmbedder.load(embedder, **placed_embedder()),
        command=shlex.join(["memkit", *_words()]),
        tell=print_note,
        json_path=json_path,
        csv_path=csv_path,
    )
    print_text(written)


def _words() -> list[str]:
    """The words of the command line, without where this machine keeps things."""
    places = ("--data", "--results", "--report", "--json", "--csv", "--minutes")
    words, skip = [], False
    for word in sys.argv[1:]:
        if skip or word.startswith(tuple(f"{place}=" for place in places)):
            skip = False
        elif word in places:
            skip = True
        else:
            words.append(word)
    return words or ["study"]
