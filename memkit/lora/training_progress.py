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


class EpochCount:
    """How many epochs of a run are done, of all modules together; counted in one place.

    Attributes:
        modules: How many the run trains.
        epochs: Planned for each module. What it needs beyond them, as resting facts come back or
            it is tried again, is not counted.
        module: Number of the one that is being trained, from 1; before that, 0.
        done: Epochs, those of modules that ended early included.
    """

    def __init__(self) -> None:
        self.modules = self.epochs = self.module = self.done = 0

    @property
    def total(self) -> int:
        """All that are planned."""
        return self.modules * self.epochs

    def begin(self, modules: int, epochs: int) -> None:
        """Count for a new run."""
        self.modules, self.epochs = modules, epochs
        self.module = self.done = 0

    def start(self, number: int) -> None:
        """Begin a module, or another attempt at it: those before it are done."""
        self.module = number
        self.done = max(self.done, (number - 1) * self.epochs)

    def epoch(self) -> None:
        """Count one."""
        self.done = min(self.done + 1, self.module * self.epochs)

    def at(self, mastered: float) -> Progress:
        """Give the count, with this share of the facts mastered."""
        return Progress(self.module, self.modules, self.done, self.total, mastered)


class Bar:
    """One bar of tqdm for the whole run; implements `TrainingProgress`.

    Args:
        count: What it shows; somebody else counts.
        shown: None for terminals only.
    """

    def __init__(self, count: EpochCount, shown: bool | None = None) -> None:
        self._count = count
        self._disable = None if shown is None else not shown
        self._bar: tqdm[NoReturn] | None = None

    def begin(self, modules: int, epochs: int) -> None:  # noqa: ARG002 - they are counted
        """Show an empty bar."""
        self._bar = tqdm(total=self._count.total, unit="epoch", disable=self._disable)

    def module(self, number: int, records: int, attempt: int) -> None:  # noqa: ARG002 - no room
        """Say which module it is."""
        if self._bar is not None:
            self._bar.set_description(f"module {number}/{self._count.modules}")
            self._bar.update(self._count.done - self._bar.n)

    def epoch(self, mastered: float) -> None:
        """Move on as far as is counted."""
        if self._bar is not None:
            self._bar.set_postfix(mastered=f"{mastered:.0%}", refresh=False)
            self._bar.update(self._count.done - self._bar.n)

    def trained(self, report: ModuleReport) -> None:
        """Show nothing: the report is printed by whoever wants to."""

    def end(self) -> None:
        """Leave the bar where it is."""
        if self._bar is not None:
            self._bar.close()


class Watched:
    """Counts a run's epochs, for what shows them and whoever watches the run (`watched_by`).

    Args:
        count: Its count.
        shown: Hears of everything when it is counted, before whoever watches.
    """

    def __init__(self, count: EpochCount, shown: TrainingProgress) -> None:
        self._count = count
        self._shown = shown

    def begin(self, modules: int, epochs: int) -> None:
        """Note how much there is to do."""
        self._count.begin(modules, epochs)
        self._shown.begin(modules, epochs)

    def module(self, number: int, records: int, attempt: int) -> None:
        """Note that the modules before this one are done."""
        self._count.start(number)
        self._shown.module(number, records, attempt)
        tell(self._count.at(0.0))

    def epoch(self, mastered: float) -> None:
        """Count an epoch."""
        self._count.epoch()
        self._shown.epoch(mastered)
        tell(self._count.at(mastered))

    def trained(self, report: ModuleReport) -> None:
        """Hand the report on."""
        self._shown.trained(report)

    def end(self) -> None:
        """Hand the end on."""
        self._shown.end()


def progress_of(given: bool | TrainingProgress | None) -> TrainingProgress:
    """What hears of a run: what was given, or a bar; and whoever watches."""
    count = EpochCount()
    return Watched(count, Bar(count, given) if given is None or isinstance(given, bool) else given)
