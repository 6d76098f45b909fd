"""How a command ends: with its output written whole, or with a message and a status that say so."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from memkit.errors import MemkitError

FAILED = 1
USAGE = 2  # the command line was not understood
WITHHELD = 3  # nothing stored supports an answer that was to be strict
INTERRUPTED = 130  # 128 + SIGINT, as shells have it
PIPE_CLOSED = 141  # 128 + SIGPIPE


def exit_status(program: str, command: Callable[[], int], *, debug: bool) -> int:
    """Run a command and print what it fails with instead of raising it.

    Characters that the encoding of the output lacks are written as escapes.

    Args:
        program: Its name, in front of each message.
        command: Does the work and returns the exit status.
        debug: Whether errors are raised all the same.

    Returns:
        What the command returned; 1 after an error of memkit's or of the operating system, which
        is printed on stderr; 130 if interrupted; 141 if whoever read the output went away.
    """
    if sys.stderr is None:  # it is closed, and print() would take stdout instead
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - for good
    if sys.stdout is None:
        _complain(program, "the standard output is closed, so nothing could be printed")
        return FAILED
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        return _run_and_flush(command)
    except BrokenPipeError:
        _drop_output()
        return PIPE_CLOSED
    except (MemkitError, OSError) as error:
        if debug:
            raise
        if isinstance(error, MemkitError):
            _complain(program, error.message, error.hint)
        else:
            _complain(program, _reason(error))
            _drop_output()
        return FAILED
    except KeyboardInterrupt:
        _complain(program, "interrupted")
        return INTERRUPTED


def end_interrupted() -> NoReturn:
    """End the process with the status of an interrupt; what was open is closed already.

    Python itself would end it by the signal, if that came while it ran a text as code, as it does
    to make dataclasses.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(INTERRUPTED)


def _run_and_flush(command: Callable[[], int]) -> int:
    """Run a command; what it printed is written when this returns, also at a `SystemExit`."""
    try:
        status = command()
    except SystemExit as exit_:
        if isinstance(exit_.__context__, BrokenPipeError):  # rich's way to tell of it
            raise exit_.__context__ from None
        sys.stdout.flush()
        raise
    sys.stdout.flush()
    return status


def _reason(error: OSError) -> str:
    reason = error.strerror or str(error)
    if error.filename is None:  # most often it is the output, such as a full device
        return f"the output or a file cannot be written or read: {reason}"
    return f"{error.filename}: {reason}"


def _complain(program: str, message: str, hint: str = "") -> None:
    with suppress(OSError):  # there is nobody left to tell
        sys.stderr.write(f"{program}: {message}\n" + (f"hint: {hint}\n" if hint else ""))


def _drop_output() -> None:
    """Let what cannot be written go, so that the interpreter does not try again at its end."""
    with suppress(OSError, ValueError):  # a replaced stdout may have no descriptor
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
