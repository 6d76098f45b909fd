"""The progress of a run: a bar on a terminal, and news for whoever watches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn, Self

from tqdm import tqdm

from memkit.types.progress import Progress, tell


class TrainingProgress:
    """Counts the epochs of a run.

    Args:
        bar: Shows them.
        modules: How many modules are trained.
        visits: How many epochs a module takes.
    """

    def __init__(self, bar: tqdm[NoReturn], modules: int, visits: int) -> None:
        self._bar = bar
        self._modules = modules
        self._visits = visits
        self._module = 0
        self._done = 0
        self._mastered = 0.0

    @classmethod
    @contextmanager
    def of(cls, modules: int, visits: int, *, show: bool | None) -> Iterator[Self]:
        """Count from now on; ``show`` a bar always, never or, with None, on terminals only."""
        off = None if show is None else not show
        bar: tqdm[NoReturn]
        with tqdm(total=modules * visits, unit="epoch", disable=off) as bar:
            yield cls(bar, modules, visits)

    def begin(self, module: int) -> None:
        """Note that the module of this number, from 1, is trained now."""
        self._module, self._mastered = module, 0.0
        self._bar.set_description(f"module {module}/{self._modules}")
        self._tell()

    def epoch(self, mastered: float) -> None:
        """Note an epoch, and which share of the facts is mastered.

        Resting facts and further attempts can make it more epochs than were planned for.
        """
        self._mastered = mastered
        self._bar.set_postfix(mastered=f"{mastered:.0%}", refresh=False)
        self._advance(min(self._done + 1, self._module * self._visits))
        self._tell()

    def end(self) -> None:
        """Note that the module is done."""
        self._advance(self._module * self._visits)
        self._tell()

    def _advance(self, done: int) -> None:
        self._bar.update(done - self._done)
        self._done = done

    def _tell(self) -> None:
        total = self._modules * self._visits
        tell(Progress(self._module, self._modules, self._done, total, self._mastered))
