"""Figures as SVG files, drawn with matplotlib, the same bytes for the same values."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from memkit.evals.metrics.bootstrap import Interval
from memkit.evals.metrics.overlap import needs_evals
from memkit.evals.study.design import Plot

# Told apart by those who see no red or green, too (Okabe and Ito 2008), and by their markers.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#999999")
MARKERS = "osD^vPX"
WIDTH, HEIGHT = 8.0, 4.4  # inches
LONG = 14  # characters of a label, from which labels are written aslant


def draw(plot: Plot, path: Path) -> None:
    """Draw a figure into a file; its ending says the format.

    Raises:
        MissingDependencyError: If the extra ``evals`` is not installed.
    """
    try:
        import matplotlib as mpl
    except ImportError as error:
        raise needs_evals("matplotlib") from error
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    settings: Any = {"svg.hashsalt": "memkit", "font.size": 10, "svg.fonttype": "path"}
    with mpl.rc_context(settings):
        figure, axes = plt.subplots(figsize=(WIDTH, HEIGHT), layout="constrained")
        try:
            (_bars if plot.kind == "bars" else _lines)(axes, plot)
            _dress(axes, plot)
            path.parent.mkdir(parents=True, exist_ok=True)
            figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
        finally:
            plt.close(figure)


def _lines(axes: Any, plot: Plot) -> None:
    for number, series in enumerate(plot.series):
        known = [(x, value) for x, value in enumerate(series.values) if value is not None]
        if not known:
            continue
        # A little apart, so that equal values do not hide each other.
        shift = 0.04 * (number - (len(plot.series) - 1) / 2)
        axes.errorbar(
            [x + shift for x, _ in known],
            [value.mean for _, value in known],
            yerr=_errors([value for _, value in known]),
            label=series.name,
            color=COLOURS[number % len(COLOURS)],
            marker=MARKERS[number % len(MARKERS)],
            linewidth=1.8,
            capsize=3,
        )
    axes.set_xticks(range(len(plot.x)), plot.x)


def _bars(axes: Any, plot: Plot) -> None:
    width = 0.8 / max(1, len(plot.series))
    for number, series in enumerate(plot.series):
        known = [(x, value) for x, value in enumerate(series.values) if value is not None]
        if not known:
            continue
        places = [x + width * (number - (len(plot.series) - 1) / 2) for x, _ in known]
        values = [value for _, value in known]
        bars = axes.bar(
            places,
            [value.mean for value in values],
            width * 0.92,
            yerr=_errors(values),
            label=series.name,
            color=COLOURS[number % len(COLOURS)],
            capsize=3,
            error_kw={"elinewidth": 1},
        )
        axes.bar_label(
            bars,
            [f"{value.mean:.2f}" for value in values],
            padding=2,
            fontsize=8 if len(plot.series) < 4 else 7,
        )
    aslant = max((len(name) for name in plot.x), default=0) > LONG and len(plot.x) > 3
    axes.set_xticks(range(len(plot.x)), plot.x)
    if aslant:
        axes.tick_params(axis="x", rotation=25)
        for label in axes.get_xticklabels():
            label.set_horizontalalignment("right")
            label.set_rotation_mode("anchor")


def _dress(axes: Any, plot: Plot) -> None:
    axes.set_title(plot.title, loc="left", fontsize=11, fontweight="bold")
    axes.set_xlabel(plot.x_label)
    axes.set_ylabel(plot.y_label)
    if plot.share:
        axes.set_ylim(0.0, 1.12)
        axes.set_yticks([0.0, 0.2, 0.4, 0.6, 0.8, 1.0])
    else:
        axes.set_ylim(bottom=0.0)
        axes.margins(y=0.15)
    axes.grid(axis="y", color="#dddddd", linewidth=0.7)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    if len(plot.series) > 1:
        axes.legend(
            loc="upper center",
            bbox_to_anchor=(0.5, -0.18) if plot.kind == "lines" else (0.5, -0.2),
            ncols=min(3, len(plot.series)),
            frameon=False,
            fontsize=9,
        )


def _errors(values: Sequence[Interval]) -> list[list[float]]:
    """How far intervals reach below and above their means."""
    return [
        [max(0.0, value.mean - value.low) for value in values],
        [max(0.0, value.high - value.mean) for value in values],
    ]
