"""Shows training as it goes on: a bar for each module, with what it has learned."""

from __future__ import annotations

from typing import Self

from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from memkit.cli.output import stderr_console
from memkit.types import ModuleReport
from memkit.types.value import counted


class TrainingDisplay:
    """Implements `memkit.lora.training_progress.TrainingProgress`; nothing without a terminal.

    Args:
        before: What is done before training begins.
    """

    def __init__(self, before: str) -> None:
        self._before = before
        self._progress = _bars()
        self._modules = self._epochs = 0
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        self._progress = _bars()
        self._progress.start()
        self._task = self._progress.add_task(self._before, total=None, state="")
        return self

    def __exit__(self, *_: object) -> None:
        self._drop_unfinished()
        self._progress.stop()

    def begin(self, modules: int, epochs: int) -> None:
        """Training begins: what was done before is no longer shown."""
        self._drop_unfinished()
        self._modules, self._epochs = modules, epochs

    def module(self, number: int, records: int, attempt: int) -> None:
        """Begin a line for a module."""
        again = f", try {attempt}" if attempt > 1 else ""
        self._task = self._progress.add_task(
            f"module {number}/{self._modules}: {counted(records, 'record')}{again}",
            total=self._epochs,
            state="",
        )

    def epoch(self, mastered: float) -> None:
        """Move the module's bar on; a module that needs more epochs than planned waits full."""
        if self._task is not None:
            self._progress.update(self._task, advance=1, state=f"{mastered:.0%} learned")

    def trained(self, report: ModuleReport) -> None:
        """Say what the module holds."""
        if self._task is None:
            return
        asked = len(report.held) + len(report.missed)
        name = f"{report.name} v{report.version} holds" if report.held else "holds"
        self._progress.update(
            self._task,
            total=self._epochs,
            completed=self._epochs,
            state=f"{name} {len(report.held)} of {asked}",
        )
        self._task = None

    def end(self) -> None:
        """Training is over; what comes after it is quick."""

    def _drop_unfinished(self) -> None:
        """Take away the line of what has no end of its own."""
        if self._task is not None:
            self._progress.remove_task(self._task)
            self._task = None


def _bars() -> Progress:
    console = stderr_console()
    return Progress(
        SpinnerColumn(finished_text=" "),
        TextColumn("{task.description}"),
        BarColumn(bar_width=12),
        TextColumn("{task.fields[state]}"),
        TimeElapsedColumn(),
        console=console,
        redirect_stdout=False,
        disable=not console.is_terminal,
    )
