"""Commands that need no memory: ``capacity`` and ``demo``."""

from __future__ import annotations

from typing import Annotated

import typer

from memkit.cli.opening import Models
from memkit.cli.parameters import BaseModel, EmbedderModel, Numbers, Report, positive_numbers
from memkit.cli.placing import placed

PANEL = "Without a memory"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("capacity", rich_help_panel=PANEL)(capacity)
    app.command("demo", rich_help_panel=PANEL)(demo)


def capacity(
    ranks: Annotated[
        Numbers | None,
        typer.Option(parser=positive_numbers, metavar="R,R", help="Ranks of the adapters."),
    ] = None,
    loads: Annotated[
        Numbers | None,
        typer.Option(parser=positive_numbers, metavar="N,N", help="Numbers of facts to train."),
    ] = None,
    base_model: BaseModel = None,
    json_path: Report = None,
) -> None:
    """Measure how much an adapter on a base model holds; consolidation uses the result."""
    from memkit.cli import measure_capacity

    status = measure_capacity.main(
        ranks=ranks.values if ranks else measure_capacity.RANKS,
        loads=loads.values if loads else measure_capacity.LOADS,
        base=base_model,
        placed=placed(),
        json_path=json_path,
    )
    raise typer.Exit(status)


def demo(
    full: Annotated[
        bool, typer.Option("--full", help="The larger company of the benchmarks, in more time.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Which company.")] = 0,
    base_model: BaseModel = None,
    embedder: EmbedderModel = None,
    json_path: Report = None,
) -> None:
    """Show memkit on an invented company."""
    from memkit.cli.demo import demo_run

    models: Models = {"base_model": base_model, "embedder": embedder}
    raise typer.Exit(demo_run.main(full=full, seed=seed, models=models, json_path=json_path))
