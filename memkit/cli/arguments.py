"""Options that several commands share, and the types of their values."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TypeAlias

# argparse does not export the type of what `add_subparsers` returns.
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001


def common_options() -> argparse.ArgumentParser:
    """A parent parser with the options of every command."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def json_option() -> argparse.ArgumentParser:
    """A parent parser for commands that measure."""
    parser = argparse.ArgumentParser(add_help=False, parents=[common_options()])
    parser.add_argument(
        "--json", type=_output_file, metavar="FILE", help="also write the figures there"
    )
    return parser


def memory_path() -> argparse.ArgumentParser:
    """A parent parser for commands on one memory."""
    parser = argparse.ArgumentParser(add_help=False, parents=[common_options()])
    parser.add_argument("path", type=Path, help="the memory's directory")
    return parser


def memory_path_and_scope() -> argparse.ArgumentParser:
    """A parent parser for commands on what one scope of a memory sees."""
    parser = argparse.ArgumentParser(add_help=False, parents=[memory_path()])
    parser.add_argument(
        "--scope",
        type=_key_value,
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="whose knowledge it is about; may be given several times",
    )
    return parser


def positive_numbers(text: str) -> tuple[int, ...]:
    """Parse whole numbers above 0, separated by commas.

    Raises:
        ArgumentTypeError: If the text is anything else.
    """
    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError:
        numbers = (0,)
    if min(numbers) < 1:
        raise argparse.ArgumentTypeError(f"expected whole numbers above 0 like 1,2, got {text!r}")
    return numbers


def _output_file(text: str) -> Path:
    """A file that can be written: better refused now than after an hour of measuring."""
    path = Path(text)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"expected a file, got the folder {text!r}")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise argparse.ArgumentTypeError(f"expected a file that can be written, got {text!r}")
    return path


def _key_value(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise argparse.ArgumentTypeError(f"expected KEY=VALUE, got {text!r}")
    return key, value
