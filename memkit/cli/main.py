"""The command ``memkit``: its parser, and how it is run."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from memkit.cli.exit_status import exit_status
from memkit.version import __version__

if TYPE_CHECKING:
    from _typeshed import SupportsWrite


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: Arguments without the program's name; None takes those of the process.

    Returns:
        The exit status of `exit_status`.
    """
    words = sys.argv[1:] if argv is None else argv

    def run() -> int:
        arguments = _parser().parse_args(words)
        command: Callable[[argparse.Namespace], int] = arguments.command
        return command(arguments)

    return exit_status("memkit", run, debug="--debug" in words)


class _Parser(argparse.ArgumentParser):
    """A parser that does not hide that its help cannot be written."""

    def _print_message(self, message: str, file: SupportsWrite[str] | None = None) -> None:
        (sys.stderr if file is None else file).write(message)


def _parser() -> argparse.ArgumentParser:
    # Imported here, so that an interrupt while they are loaded is no traceback either.
    from memkit.cli import read_commands, standalone_commands, upkeep_commands, write_commands

    parser = _Parser(prog="memkit", description="Memory for language-model agents.")
    parser.add_argument("--version", action="version", version=f"memkit {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for group in (standalone_commands, write_commands, read_commands, upkeep_commands):
        group.register(commands)
    return parser
