"""How directories and files look to a model that reads them through the memory tool."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

ROOT = "/memories"
DEPTH = 2  # levels of a directory that are listed
WIDTH = 6  # of a line's number


def listing(directory: str, below: Mapping[str, str | None]) -> str:
    """Describe a directory: sizes and paths, a line each; hidden entries are left out.

    Args:
        directory: Its path below the root; empty for the root.
        below: The texts of all files below it, by their paths; None for directories.
    """
    shown = f"{ROOT}/{directory}" if directory else ROOT
    above = f"{directory}/" if directory else ""
    parts = {place: place.removeprefix(above).split("/") for place in below}
    seen = sorted(
        (names, place)
        for place, names in parts.items()
        if len(names) <= DEPTH and not any(name.startswith(".") for name in names)
    )
    lines = [f"{_size(above, below)}\t{shown}"]
    for names, place in seen:
        text = below[place]
        size = _size(f"{place}/", below) if text is None else _human(len(text.encode()))
        lines.append(f"{size}\t{shown}/{'/'.join(names)}{'/' if text is None else ''}")
    return (
        f"Here're the files and directories up to {DEPTH} levels deep in {shown}, excluding "
        "hidden items:\n" + "\n".join(lines)
    )


def numbered(lines: Sequence[str], first: int) -> str:
    """Put its number before each line, aligned to the right."""
    return "\n".join(f"{number:>{WIDTH}}\t{line}" for number, line in enumerate(lines, first))


def _size(above: str, below: Mapping[str, str | None]) -> str:
    """The size of all files in a directory; what a file system calls its size says nothing."""
    return _human(
        sum(len((text or "").encode()) for place, text in below.items() if place.startswith(above))
    )


def _human(size: int) -> str:
    """A size in bytes, KiB, MiB or GiB, as a short text.

    Example:
        >>> _human(1536)
        '1.5K'
    """
    power = min(max(0, size.bit_length() - 1) // 10, 3)
    amount = size / 1024**power
    digits = f"{amount:.0f}" if amount.is_integer() else f"{amount:.1f}"
    return digits + "BKMG"[power]
