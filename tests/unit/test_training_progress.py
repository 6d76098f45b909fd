"""A run's epochs are counted once: the bar and whoever watches say the same."""

import re
from functools import partial

import pytest
from tqdm import tqdm

from memkit.lora.training_progress import progress_of
from memkit.types import ModuleReport
from memkit.types.progress import Progress, watched_by

REPORT = ModuleReport("m0001", 1, (), (), 1.0, 1.0, 5, 0.1)


class Heard:
    """Notes what it hears."""

    def __init__(self):
        self.calls = []

    def __getattr__(self, name):
        return lambda *words: self.calls.append((name, *words))


def run(given):
    """Two modules of three epochs: the first needs two attempts, the second learns early."""
    told = []
    progress = progress_of(given)
    with watched_by(told.append):
        progress.begin(2, 3)
        progress.module(1, 8, 1)
        for _ in range(2):
            progress.epoch(0.5)
        progress.module(1, 8, 2)
        for _ in range(3):
            progress.epoch(0.75)
        progress.trained(REPORT)
        progress.module(2, 4, 1)
        progress.epoch(1.0)
        progress.trained(REPORT)
        progress.end()
    return told


def test_whoever_watches_is_told_the_count():
    told = run(False)
    assert [(p.module, p.epochs, p.mastered) for p in told] == [
        (1, 0, 0.0), (1, 1, 0.5), (1, 2, 0.5),
        (1, 2, 0.0), (1, 3, 0.75), (1, 3, 0.75), (1, 3, 0.75),  # its share of the run is full
        (2, 3, 0.0), (2, 4, 1.0),
    ]  # fmt: skip
    assert told[-1] == Progress(module=2, modules=2, epochs=4, total=6, mastered=1.0)


def test_modules_that_end_early_are_done():
    told = []
    progress = progress_of(False)
    with watched_by(told.append):
        progress.begin(3, 10)
        progress.module(1, 8, 1)
        progress.epoch(1.0)
        progress.module(3, 8, 1)
    assert [p.epochs for p in told] == [0, 1, 20]


def test_the_bar_shows_the_same_count(capfd, monkeypatch):
    each_move = partial(tqdm, mininterval=0, miniters=1)
    monkeypatch.setattr("memkit.lora.training_progress.tqdm", each_move)
    told = run(True)
    drawn = capfd.readouterr().err
    moves = [(int(n), int(of)) for n, of in re.findall(r"(\d+)/(6) ", drawn)]
    assert moves[-1] == (4, 6)
    assert {n for n, _ in moves} == {p.epochs for p in told}
    assert "module 2/2" in drawn
    assert "mastered=100%" in drawn


@pytest.mark.parametrize("shown", [False, None])  # None is for terminals
def test_no_bar_is_shown_elsewhere(shown, capfd):
    assert run(shown) == run(True)
    capfd.readouterr()
    run(shown)
    assert capfd.readouterr().err == ""


def test_what_was_given_hears_of_everything():
    heard = Heard()
    told = run(heard)
    assert told == run(False)
    assert heard.calls[:3] == [("begin", 2, 3), ("module", 1, 8, 1), ("epoch", 0.5)]
    assert heard.calls[-2:] == [("trained", REPORT), ("end",)]
    assert len(heard.calls) == 2 + 3 + 6 + 2
