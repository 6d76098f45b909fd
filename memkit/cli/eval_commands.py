"""The command ``eval``: where one's own documents are best kept."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from memkit.cli.parameters import BaseModel, EmbedderModel, output_file
from memkit.cli.placing import placed, placed_embedder
from memkit.cli.study_commands import OF_THE_EXTRA, PANEL


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("eval", rich_help_panel=PANEL)(eval_)


def eval_(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="A .jsonl or .csv file, or a folder of texts.", show_default=False
        ),
    ],
    *,
    questions: Annotated[
        int, typer.Option(min=1, metavar="N", help="Ask at most so many questions.")
    ] = 100,
    documents: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Take only the first documents.", show_default=False),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(
            "--html",
            parser=output_file,
            metavar="FILE",
            help="Also write one HTML page.",
            show_default=False,
        ),
    ] = None,
    judge: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE:NAME",
            help="A function or chat model that marks answers, too.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of training.")] = 0,
    base_model: BaseModel = None,
    embedder: EmbedderModel = None,
) -> None:
    """Compare weights, retrieval and prompt on your documents, and recommend where to keep them."""
    from memkit.evals.data.own_files import read_own
    from memkit.server.extras import need_extra

    need_extra("evals", *OF_THE_EXTRA)
    data = read_own(file)  # what is wrong with it is told before torch is loaded
    from memkit.cli.output import print_json, print_note, print_text
    from memkit.evals.lab import Lab
    from memkit.evals.metrics.judge import named_judge
    from memkit.evals.own_documents import evaluate
    from memkit.evals.own_page import as_json as to_json
    from memkit.evals.own_page import as_text, write_page
    from memkit.evals.run_records import RecordFile
    from memkit.models.embedder import SentenceEmbedder
    from memkit.models.gguf import cache_dir
    from memkit.models.language_model import TransformersModel

    if documents is not None:
        data = data.head(documents)
    marks = None if judge is None else named_judge(judge)
    base = TransformersModel.load(base_model, **placed())
    named = f"{data.digest[:16]}-{base.fingerprint[:8]}-{base.computes['dtype']}"
    place = cache_dir() / "evals" / named
    records = "records.jsonl" if judge is None else f"judged-{judge.replace(':', '-')}.jsonl"
    with Lab(base, SentenceEmbedder.load(embedder, **placed_embedder()), place, judge=marks) as lab:
        evaluation = evaluate(
            data,
            lab,
            RecordFile(place / records),
            tell=print_note,
            asked=questions,
            seed=seed,
        )
    if html is not None:
        write_page(html, evaluation)
    if as_json:
        print_json(to_json(evaluation))
    else:
        print_text(as_text(evaluation))
