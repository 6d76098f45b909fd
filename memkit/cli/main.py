"""The command ``memkit``: its parser, and how errors end it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from memkit.cli import read_commands, standalone_commands, upkeep_commands, write_commands
from memkit.errors import MemkitError
from memkit.version import __version__


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: Arguments without the program's name; None takes those of the process.

    Returns:
        The exit status of `exit_status`.
    """
    arguments = _parser().parse_args(argv)
    command: Callable[[argparse.Namespace], int] = arguments.command
    return exit_status("memkit", lambda: command(arguments), debug=arguments.debug)


def exit_status(program: str, command: Callable[[], int], *, debug: bool) -> int:
    """Run a command and print memkit's own errors instead of raising them.

    Args:
        program: Its name, in front of each message.
        command: Does the work and returns the exit status.
        debug: Whether errors are raised all the same.

    Returns:
        What the command returned; 1 after an error of memkit's, which is printed on stderr;
        130 if interrupted.
    """
    try:
        return command()
    except MemkitError as error:
        if debug:
            raise
        print(f"{program}: {error.message}", file=sys.stderr)
        if error.hint:
            print(f"hint: {error.hint}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{program}: interrupted", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="memkit", description="Memory for language-model agents.")
    parser.add_argument("--version", action="version", version=f"memkit {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for group in (standalone_commands, write_commands, read_commands, upkeep_commands):
        group.register(commands)
    return parser
