"""Who hears how far training is: a bar on the terminal, or whatever a caller shows."""

from __future__ import annotations

from typing import NoReturn, Protocol, runtime_checkable

from tqdm import tqdm

from memkit.types import ModuleReport
from memkit.types.progress import Progress, tell


@runtime_checkable
class TrainingProgress(Protocol):
    """Hears of a run of training as it goes on; `memkit.lora.recipe.Recipe.progress`.

    The calls come from the thread that trains, in the order in which they stand here; the three
    in the middle are repeated for each module, and for each attempt at one.
    """

    def begin(self, modules: int, epochs: int) -> None:
        """So many modules are to be trained, of so many epochs each; resting facts add some."""

    def module(self, number: int, records: int, attempt: int) -> None:
        """The training of a module begins: its number from 1 on, and how many records it has."""

    def epoch(self, mastered: float) -> None:
        """An epoch is over, with this share of the facts mastered."""

    def trained(self, report: ModuleReport) -> None:
        """The module was verified, and stored if it holds anything."""

    def end(self) -> None:
        """The run is over, or has failed."""


class Bar:
    """One bar of tqdm for the whole run; implements `TrainingProgress`.

    Args:
        shown: None for terminals only.
    """

    def __init__(self, shown: bool | None = None) -> None:
        self._disable = None if shown is None else not shown
        self._bar: tqdm[NoReturn] | None = None
        self._modules = self._epochs = self._done = 0

    def begin(self, modules: int, epochs: int) -> None:
        """Show an empty bar."""
        self._modules, self._epochs = modules, epochs
        self._bar = tqdm(total=modules * epochs, unit="epoch", disable=self._disable)

    def module(self, number: int, records: int, attempt: int) -> None:  # noqa: ARG002 - no room
        """Say which module it is; what was tried again has no epochs of its own."""
        if self._bar is not None:
            self._bar.set_description(f"module {number}/{self._modules}")
            self._bar.update(max(0, (number - 1) * self._epochs - self._bar.n))
        self._done = 0

    def epoch(self, mastered: float) -> None:
        """Move on by one, as long as the module's share of the bar has room."""
        if self._bar is not None and self._done < self._epochs:
            self._bar.set_postfix(mastered=f"{mastered:.0%}", refresh=False)
            self._bar.update()
            self._done += 1

    def trained(self, report: ModuleReport) -> None:
        """Show nothing: the report is printed by whoever wants to."""

    def end(self) -> None:
        """Leave the bar where it is."""
        if self._bar is not None:
            self._bar.close()


class Watched:
    """Counts a run's epochs, for whoever watches the block that it runs in (`watched_by`).

    Args:
        shown: Hears of everything first.
    """

    def __init__(self, shown: TrainingProgress) -> None:
        self._shown = shown
        self._modules = self._epochs = self._number = self._done = 0

    def begin(self, modules: int, epochs: int) -> None:
        """Note how much there is to do."""
        self._modules, self._epochs = modules, epochs
        self._shown.begin(modules, epochs)

    def module(self, number: int, records: int, attempt: int) -> None:
        """Note that the modules before this one are done."""
        self._number = number
        self._done = max(self._done, (number - 1) * self._epochs)
        self._shown.module(number, records, attempt)
        self._tell(0.0)

    def epoch(self, mastered: float) -> None:
        """Count an epoch; resting facts and further attempts can make more than were planned."""
        self._done = min(self._done + 1, self._number * self._epochs)
        self._shown.epoch(mastered)
        self._tell(mastered)

    def trained(self, report: ModuleReport) -> None:
        """Hand the report on."""
        self._shown.trained(report)

    def end(self) -> None:
        """Hand the end on."""
        self._shown.end()

    def _tell(self, mastered: float) -> None:
        total = self._modules * self._epochs
        tell(Progress(self._number, self._modules, self._done, total, mastered))


def progress_of(given: bool | TrainingProgress | None) -> TrainingProgress:
    """What hears of a run: what was given, or a bar; and whoever watches."""
    return Watched(Bar(given) if given is None or isinstance(given, bool) else given)
