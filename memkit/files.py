"""Files that are the memory's alone, and that survive a crash.

What memkit makes can be read by its owner only. What it writes to has to be a plain file with one
name: a link, symbolic or not, would let it overwrite what is somebody else's.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock

from memkit.errors import UnsafePathError

_FILE, _FOLDER = 0o600, 0o700
_DRAFT = re.compile(r"\..+\.memkit-[0-9a-f]{12}\.tmp", re.DOTALL)
_COPY = "`cp FILE FILE.copy && mv FILE.copy FILE`."


def own_file(path: Path) -> Path:
    """Check that a path is a plain file with one name, or nothing: it may be written to.

    Raises:
        UnsafePathError: If it is a link or something else, or the same file has other names.
    """
    state = _plain(path)
    if state is not None and state.st_nlink > 1:
        raise UnsafePathError(
            f"expected {str(path)!r} to be the file's only name, it has {state.st_nlink} names: "
            "what is written or destroyed here would be under the others, too",
            f"Put a copy in its place: {_COPY}",
        )
    return path


def plain_file(path: Path) -> Path:
    """Check that a path is a plain file, or nothing: it may be read, or replaced as a whole.

    Raises:
        UnsafePathError: If it is a link or something else.
    """
    _plain(path)
    return path


def _plain(path: Path) -> os.stat_result | None:
    try:
        state = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not stat.S_ISREG(state.st_mode):
        raise UnsafePathError(
            f"expected a plain file at {str(path)!r}, found {_kind(state.st_mode)}",
            "Give the path of a file, such as one in this folder."
            if stat.S_ISDIR(state.st_mode)
            else f"Remove it, or put a file in its place: {_COPY}",
        )
    return state


def own_folder(path: Path) -> Path:
    """Check that a path is a folder, or nothing.

    Raises:
        UnsafePathError: If it is a link or something else.
    """
    try:
        mode = path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return path
    if not stat.S_ISDIR(mode):
        raise UnsafePathError(
            f"expected a folder at {str(path)!r}, found {_kind(mode)}",
            "Move the folder that it leads to into its place, or remove it.",
        )
    return path


def make_folder(path: Path) -> None:
    """Make a folder that only its owner can look into, unless it is there; see `own_folder`.

    What it is in has to be there: a memory whose directory was removed does not come back in parts.
    """
    own_folder(path).mkdir(mode=_FOLDER, exist_ok=True)


def new_file(path: Path) -> BinaryIO:
    """Make a file that only its owner can read, to be written; it must not be there yet."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _FILE), "wb")


def file_lock(path: Path, timeout: float = -1) -> FileLock:
    """A lock that processes and threads share; see `own_file`. ``timeout`` in seconds."""
    return FileLock(own_file(path), timeout=timeout, mode=_FILE, thread_local=False)


@contextmanager
def file_draft(path: Path) -> Iterator[Path]:
    """Give an empty file beside a path, to be written and then moved to it, whoever else writes.

    If it is not moved, it is removed: at the end of the block, or, after a kill, by the next draft
    in this folder.

    Raises:
        UnsafePathError: If there is a folder, a link or a device, which must not be replaced.
    """
    plain_file(path)
    with _draft(path, lambda place: new_file(place).close()) as place:
        yield place


@contextmanager
def folder_draft(path: Path) -> Iterator[Path]:
    """As `file_draft`, an empty folder."""
    with _draft(path, lambda place: place.mkdir(_FOLDER)) as place:
        yield place


@contextmanager
def _draft(path: Path, make: Callable[[Path], object]) -> Iterator[Path]:
    remove_abandoned(path.parent)
    handle = None
    while handle is None:
        place = path.with_name(f".{path.name}.memkit-{secrets.token_hex(6)}.tmp")
        make(place)
        handle = _hold(place)  # None if another process has taken it for abandoned
    try:
        yield place
    finally:
        _remove(place)
        os.close(handle)


def _hold(place: Path) -> int | None:
    """Lock a draft; None if somebody else has locked it, or it is gone. Ends with the process."""
    handle = None
    try:
        handle = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if place.exists():
            return handle
    except (FileNotFoundError, BlockingIOError):
        pass
    if handle is not None:
        os.close(handle)
    return None


def remove_abandoned(folder: Path) -> None:
    """Remove the drafts of processes of this user that were killed."""
    try:
        drafts = [path for path in folder.iterdir() if _DRAFT.fullmatch(path.name)]
    except PermissionError:  # a folder may be written to, and not be looked into
        return
    for path in drafts:
        if _is_mine(path) and (handle := _hold(path)) is not None:
            _remove(path)
            os.close(handle)


def _is_mine(path: Path) -> bool:
    """Whether a draft is of this user and no link; False if its process has moved it meanwhile."""
    try:
        state = path.lstat()
    except FileNotFoundError:
        return False
    return not stat.S_ISLNK(state.st_mode) and state.st_uid == os.geteuid()


def _remove(place: Path) -> None:
    if place.is_dir():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)


def move_to_new(draft: Path, path: Path) -> None:
    """Move a file that was written as a draft to a path at which nothing is.

    Raises:
        FileExistsError: If there is something by now.
    """
    try:
        os.link(draft, path)  # unlike a rename it takes nobody's place
    except FileExistsError:
        raise
    except OSError:  # not every file system has a second name for a file
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, _FILE))
        draft.replace(path)
    else:
        draft.unlink()


def temporary(path: Path) -> Path:
    """The path at which a file is written before it is moved to its own."""
    return path.with_name(path.name + ".tmp")


def replace_file(path: Path, parts: Sequence[bytes | memoryview]) -> None:
    """Write a file that is either replaced whole or left as it was.

    There is one temporary file beside it, so writers must take turns.

    Raises:
        UnsafePathError: If a folder has its name, or that of the temporary file.
    """
    own_folder(path.parent)
    draft = temporary(path)
    for place in (path, draft):
        if place.is_dir() and not place.is_symlink():  # a link is replaced, not what it leads to
            plain_file(place)
    draft.unlink(missing_ok=True)  # of a killed run, or whatever else has its name
    try:
        with new_file(draft) as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)  # on a full disk, the room it takes is needed
        raise


def files_below(directory: Path) -> list[Path]:
    """All plain files in a directory; another process may remove one before it is looked at."""
    paths = (Path(folder, name) for folder, _, names in os.walk(directory) for name in names)
    return sorted(path for path in paths if path.is_file() and not path.is_symlink())


def size_of(path: Path) -> int:
    """Bytes of a file; 0 if another process has removed it."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def open_plain(path: Path) -> BinaryIO:
    """Open a plain file of somebody else's to read it; what a link leads to counts.

    Raises:
        OSError: If it cannot be opened, or is something that need not end, such as a pipe.
    """
    # A pipe that nobody writes to would be waited for.
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "expected a plain file, got a folder, pipe or device")
    return os.fdopen(handle, "rb")


def flush(path: Path) -> None:
    """Flush a file or directory, so that it is found after a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _kind(mode: int) -> str:
    if stat.S_ISLNK(mode):
        return "a symbolic link"
    return "a folder" if stat.S_ISDIR(mode) else "a file" if stat.S_ISREG(mode) else "a device"
