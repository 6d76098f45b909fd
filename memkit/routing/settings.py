"""What the router goes by, read again only after the ledger has changed."""

from __future__ import annotations

from dataclasses import dataclass

from memkit.ledger import Ledger
from memkit.types.calibration import CALIBRATION, Calibration


@dataclass(frozen=True)
class Settings:
    """What a route needs beside the facts.

    Attributes:
        calibration: What was measured last; None if nothing was, or by another version of memkit.
        last_change: Number of the latest change of a passage.
        state: Of the ledger when this was read; another value after every change.
    """

    calibration: Calibration | None
    last_change: int
    state: tuple[int, int]


class SettingsReader:
    """Reads `Settings`; costs a look at the ledger's change counter while nothing has changed.

    Args:
        ledger: Where they are.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._latest: Settings | None = None

    def read(self) -> Settings:
        """The settings as they are now."""
        state = self._ledger.state()  # first: what changes from here on is seen next time
        if self._latest is None or self._latest.state != state:
            stored = self._ledger.get_meta(CALIBRATION)
            calibration = None if stored is None else Calibration.from_json(stored)
            self._latest = Settings(calibration, self._ledger.passages.last_change(), state)
        return self._latest
