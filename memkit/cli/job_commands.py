"""Commands about consolidation in the background: ``worker``, and the group ``jobs``."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated

import typer

from memkit.cli.exit_status import FAILED
from memkit.cli.opening import RECORDS_ALONE, open_memory, open_to_train
from memkit.cli.output import print_json, print_note, print_result, print_rows, print_text
from memkit.cli.parameters import AsJson, BaseModel, EmbedderModel, MemoryPath, at_most

PANEL = "Adapters"
LISTED = 20
JobId = Annotated[str, typer.Argument(metavar="ID", help="The job.", show_default=False)]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("worker", rich_help_panel=PANEL)(worker)
    jobs = typer.Typer(no_args_is_help=True, help="List, show, cancel what waits for workers.")
    for name, command in (("list", list_jobs), ("show", show), ("cancel", cancel)):
        jobs.command(name)(command)
    app.add_typer(jobs, name="jobs", rich_help_panel=PANEL)


def worker(
    path: MemoryPath,
    *,
    once: Annotated[
        bool, typer.Option("--once", help="End when nothing waits, instead of waiting for more.")
    ] = False,
    base_model: BaseModel = None,
    embedder: EmbedderModel = None,
    as_json: AsJson = False,
) -> None:
    """Train what jobs wait for, until told to stop.

    SIGTERM has it stop within an epoch, and what it was training is left to another worker. So
    is what a worker was training that was killed. Any number of workers may share a memory:
    each trains what is of another scope. Exits with 1 if some of it failed.
    """
    with (
        _stopped_by_sigterm() as stop,
        open_to_train(path, "waiting", base_model=base_model, embedder=embedder) as memory,
    ):
        if not once:
            print_note("waiting for jobs, until SIGTERM or Ctrl-C")
        work = memory.jobs.work(once=once, stop=stop, told=print_note)
    if as_json:
        print_json(asdict(work))
    else:
        print_text(f"{work.done} done, {work.failed} failed, {work.left} left to others")
    if work.failed:
        raise typer.Exit(FAILED)


def list_jobs(
    path: MemoryPath, *, limit: Annotated[int, at_most(LISTED)] = LISTED, as_json: AsJson = False
) -> None:
    """List jobs, the newest first; of those that are over the last thousand are kept.

    A line has the job's id, its state, its records and how many of them modules hold, how many of
    its scopes have ended, its priority, when it was made, and its error or progress.
    """
    with open_memory(path, backends=RECORDS_ALONE) as memory:
        jobs = memory.jobs.list(limit=limit)
    if as_json:
        print_json(jobs)
        return
    rows = [
        (
            job.id,
            job.state,
            job.records,
            job.held,
            f"{job.ended} of {job.parts}",
            job.priority,
            f"{job.created_at:%Y-%m-%d %H:%M}",
            job.error or job.progress or "",
        )
        for job in jobs
    ]
    columns = ("job", "state", "records", "held", "scopes", "priority", "made", "said last")
    print_rows(columns, rows, wide="said last")
    if not jobs:
        print_note("there are no jobs; memkit consolidate --no-wait makes one")


def show(path: MemoryPath, id: JobId, *, as_json: AsJson = False) -> None:
    """Show how far a job is."""
    with open_memory(path, backends=RECORDS_ALONE) as memory:
        status = memory.jobs.status(id)
    print_result(status, as_json=as_json)


def cancel(path: MemoryPath, id: JobId, *, as_json: AsJson = False) -> None:
    """Cancel what of a job has not ended; modules that were trained for it stay."""
    with open_memory(path, backends=RECORDS_ALONE) as memory:
        status = memory.jobs.cancel(id)
    print_result(status, as_json=as_json)


@contextmanager
def _stopped_by_sigterm() -> Iterator[threading.Event]:
    """Give what is set when the process is asked to end."""
    stop = threading.Event()
    before = signal.signal(signal.SIGTERM, lambda *_: stop.set())
    try:
        yield stop
    finally:
        signal.signal(signal.SIGTERM, before)
