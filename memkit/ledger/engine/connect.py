"""Finds, checks and opens the ledger's file."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import suppress
from pathlib import Path

from memkit.errors import (
    BusyError,
    CorruptFileError,
    FormatVersionError,
    MemkitError,
    NotAMemoryError,
    ReadOnlyError,
    StorageError,
    UnsafePathError,
    storage_errors,
)
from memkit.files import new_file, own_file
from memkit.ledger.engine.schema import APPLICATION_ID, current_version, migrate
from memkit.ledger.engine.sqlite import SqliteDatabase
from memkit.ledger.engine.sqlite_errors import mapped

FILE = "ledger.sqlite3"
CACHE = 2**15  # KiB of the file kept in memory: what a filter lets pass lies all over it

JOURNAL = f"{FILE}-journal"
_OWN_FILES = {FILE, f"{FILE}-wal", f"{FILE}-shm", JOURNAL}
_NAMES_ANOTHER = bytes.fromhex("d9d505f920a163d7")  # how a journal that does so ends


def locate(directory: Path, *, create: bool) -> Path:
    """Make sure that ``directory`` is a memory or may become one; returns the ledger's path.

    Raises:
        NotAMemoryError: If it is something else, or is missing and ``create`` is False.
        ReadOnlyError: If it is missing and cannot be made.
        CorruptFileError: If the ledger is empty although the memory has other files.
        StorageError: If the directory cannot be looked into.
    """
    try:
        return _locate(directory, create=create)
    except MemkitError:
        raise  # some are OSErrors, too
    except OSError as exc:
        raise StorageError(
            f"the directory {str(directory)!r} cannot be read: {exc}",
            "Check the owner and permissions of the directory.",
        ) from exc


def _locate(directory: Path, *, create: bool) -> Path:
    if directory.exists() and not directory.is_dir():
        raise NotAMemoryError(f"expected a directory, got the file {str(directory)!r}")
    path = directory / FILE
    if not create and not path.exists():
        raise NotAMemoryError(
            f"there is no memory at {str(directory)!r}",
            "Check the path; `memkit add` and Memory.open(create=True) make a memory.",
        )
    _make_directory(directory)
    # Listed before the ledger is looked at: another process that makes this memory right now
    # adds other files only once its ledger is there.
    others = [entry.name for entry in directory.iterdir() if entry.name not in _OWN_FILES]
    if others and not path.exists():
        raise NotAMemoryError(
            f"expected a memory or an empty directory, but {str(directory)!r} holds "
            f"{sorted(others)[:3]} and no {FILE}",
            "Choose another path; a memory needs a directory of its own.",
        )
    if others and not path.stat().st_size:
        raise CorruptFileError(
            f"the ledger {str(path)!r} is empty, but there are other files of the memory",
            "Restore it from a backup.",
        )
    return path


def connect(path: Path, wait: float, *, create: bool = True) -> SqliteDatabase:
    """Open the ledger, make it if there is none and that is asked for, and bring it up to date.

    Where the directory cannot be written to, the ledger is opened for reading.
    """
    writable = _can_write(path)
    if not writable and not path.exists():
        raise ReadOnlyError(
            f"no memory can be made in {str(path.parent)!r}, which cannot be written to",
            "Check the owner and permissions of the directory, and how it is mounted.",
        )
    database = inspect(path, wait, create=create)
    try:
        _prepare(database)
    except BaseException:
        database.close()
        raise
    return database


def inspect(path: Path, wait: float, *, create: bool = False) -> SqliteDatabase:
    """Open the ledger as it is, whatever its format and its state.

    Raises:
        StorageError: If there is none and none is to be made.
    """
    writable = _can_write(path)
    if writable:  # whoever only reads, such as from a backup made of links, harms nobody
        check_files(path.parent)
    if create and writable and not path.exists():
        with suppress(FileExistsError), storage_errors(path):
            new_file(path).close()  # before SQLite makes it, for all to read
    with mapped(path, wait):
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?{_mode(path, writable=writable)}",
            uri=True,
            timeout=wait,
            isolation_level=None,
            check_same_thread=False,
        )
    return SqliteDatabase(connection, path, wait=wait, read_only=not writable)


def check_files(directory: Path) -> None:
    """Check that SQLite's files in a directory are nobody else's; see `own_file`.

    SQLite would remove the file that a journal names; ours never name one
    (https://www.sqlite.org/fileformat2.html, section 3).

    Raises:
        UnsafePathError: If one is a link or leads to another file.
    """
    for name in sorted(_OWN_FILES):
        own_file(directory / name)
    journal = directory / JOURNAL
    if journal.exists() and journal.read_bytes().endswith(_NAMES_ANOTHER):
        raise UnsafePathError(
            f"{str(journal)!r} names another file for SQLite to remove, memkit's never do",
            "The memory was tampered with. Remove the journal, or restore a backup.",
        )


def _make_directory(directory: Path) -> None:
    try:
        # One by one: `parents=True` makes parents with the rights that the umask leaves.
        for folder in (*reversed(directory.parents), directory):
            if not folder.exists():
                folder.mkdir(mode=0o700, exist_ok=True)
        directory.mkdir(exist_ok=True)  # it may be a file
    except (FileExistsError, NotADirectoryError) as exc:
        raise NotAMemoryError(f"{str(directory)!r} leads through a file: {exc}") from exc
    except OSError as exc:
        raise ReadOnlyError(
            f"the directory {str(directory)!r} cannot be made: {exc}",
            "Choose a path whose parent can be written to.",
        ) from exc


def _can_write(path: Path) -> bool:
    return os.access(path.parent, os.W_OK) and (not path.exists() or os.access(path, os.W_OK))


def _mode(path: Path, *, writable: bool) -> str:
    if writable:
        return "mode=rw"  # the file is there: SQLite makes none
    # Reading a WAL database needs its -wal and -shm files, which cannot be made here; without
    # a log to apply, the file is complete as it is and nobody changes it.
    log = path.with_name(f"{path.name}-wal")
    return "mode=ro" if log.exists() and log.stat().st_size else "mode=ro&immutable=1"


def _prepare(database: SqliteDatabase) -> None:
    for pragma in ("secure_delete = ON", "temp_store = MEMORY", f"cache_size = -{CACHE}"):
        database.execute(f"PRAGMA {pragma}")
    version = format_version(database)
    if database.read_only:
        if version < current_version():
            raise ReadOnlyError(
                f"the ledger has format {version}, this memkit reads {current_version()}, and "
                f"{str(database.path)!r} cannot be written to",
                "Open the memory once where it can be written to.",
            )
        return
    _use_log(database)
    database.execute("PRAGMA synchronous = FULL")
    if version < current_version():
        with database.transaction():
            migrate(database, format_version(database))
    database.execute("PRAGMA foreign_keys = ON")  # cannot be switched while a file is migrated


def format_version(database: SqliteDatabase) -> int:
    """Read the schema version; 0 for an empty file.

    Raises:
        NotAMemoryError: If it is a database of another program.
        FormatVersionError: If a newer memkit wrote it.
        CorruptFileError: If it has tables and no format.
    """
    # One statement, so that a memory which is just being made is seen whole or not at all.
    application, version, tables = database.rows(
        "SELECT (SELECT application_id FROM pragma_application_id), "
        "(SELECT user_version FROM pragma_user_version), (SELECT count(*) FROM sqlite_master)"
    )[0]
    if (application, version, tables) == (0, 0, 0):
        return 0
    if application != APPLICATION_ID:
        raise NotAMemoryError(
            f"{str(database.path)!r} is a database of another program",
            "Choose another path; a memory needs a directory of its own.",
        )
    if version < 1:  # each of our files got its number with its tables
        raise CorruptFileError(
            f"expected a ledger with format 1 to {current_version()}, {str(database.path)!r} says "
            f"{version} and has tables",
            "Restore it from a backup.",
        )
    if version > current_version():
        raise FormatVersionError(
            f"the ledger has format {version}, this memkit reads up to {current_version()}: "
            f"{str(database.path)!r}",
            "Install a newer memkit.",
        )
    return int(version)


def _use_log(database: SqliteDatabase) -> None:
    """Switch to the write-ahead log; SQLite does not wait by itself when two processes do."""
    deadline = time.monotonic() + database.wait
    while True:
        try:
            database.execute("PRAGMA journal_mode = WAL")
        except BusyError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return
