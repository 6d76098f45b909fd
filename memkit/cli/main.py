"""The command ``memkit``: how its words become one command, and how that ends."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence

from memkit.cli.exit_status import INTERRUPTED, end_interrupted, exit_status


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: Arguments without the program's name; None takes those of the process.

    Returns:
        The exit status of `exit_status`.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in (words[: words.index("--")] if "--" in words else words)

    def run() -> int:
        # Imported here, so that an interrupt while they are loaded is no traceback either.
        from memkit.cli.app import run_command
        from memkit.cli.output import NoteHandler
        from memkit.cli.threads import settle_threads

        if argv is None:  # the process is the command's own
            settle_threads()
            # Libraries warn of what the user of a command has no hand in, such as missing kernels.
            others = logging.WARNING if debug else logging.ERROR
            logging.basicConfig(level=others, format="%(message)s", handlers=[NoteHandler()])
            logging.getLogger("memkit").setLevel(logging.DEBUG if debug else logging.WARNING)
        return run_command(words)

    status = exit_status("memkit", run, debug=debug)
    if argv is None and status == INTERRUPTED:
        end_interrupted()
    return status
