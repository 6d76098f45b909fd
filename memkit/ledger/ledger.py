"""The ledger: one SQLite file that is the source of truth for everything in a memory."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

from memkit.errors import BusyError, DiskFullError, StorageError
from memkit.ledger.engine.checksums import checked_columns, stamp, verify
from memkit.ledger.engine.database import SCRUB_PENDING, Database, Row
from memkit.ledger.engine.open_database import open_again, open_database
from memkit.ledger.engine.readable import as_text, readable, whole_number
from memkit.ledger.engine.settings import read_setting, write_setting
from memkit.ledger.erasures import ErasureTable
from memkit.ledger.examples.example_table import ExampleTable
from memkit.ledger.items import ItemTable
from memkit.ledger.jobs.job_table import JobTable
from memkit.ledger.jobs.lease_table import LeaseTable
from memkit.ledger.modules.failed_attempts import FailedAttemptTable
from memkit.ledger.modules.module_table import ModuleTable
from memkit.ledger.modules.weight_table import WeightTable
from memkit.ledger.passages.lexicon import Lexicon
from memkit.ledger.passages.passage_table import PassageTable
from memkit.ledger.passages.shadow_vectors import ShadowVectorTable
from memkit.ledger.records.as_of import changed_since
from memkit.ledger.records.merge import merge, survivor
from memkit.ledger.records.record_table import RecordTable
from memkit.ledger.records.ttls import TtlTable
from memkit.ledger.transfer.export import Exporter
from memkit.ledger.transfer.import_ import Importer
from memkit.ledger.turns.conversations import Conversations
from memkit.ledger.turns.turn_table import TurnTable
from memkit.types import Record, Scope
from memkit.types.scope import parse_scope_key

_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class Event:
    """Something that happened to the memory: numbers and ids, never texts."""

    seq: int
    kind: str
    detail: Mapping[str, Any]
    created_at: datetime


class Ledger:
    """Records, versions, turns, passages and modules of one memory.

    Threads may share a ledger, and processes may open the same directory: writers are
    serialised, and readers see what is committed.

    Attributes:
        directory: The memory's directory; of a memory on a server, that of its local files.
        place: What opens it again: a directory, or the URL of a memory on a server.
        name: The place as it may be told: without a password.
        shared: Whether other machines may use it, too; they have local files of their own.
        beyond_reach: Where what was deleted may be left, and until when, whatever `scrub` does.
        cache: What is read once per change.
        ttls: How long what is written lives by default.
        examples: What synthesizers have made of records, to train on.
        passages: What retrieval works on: slices of records, with vectors and word index.
        turns: Conversations, message by message.
        conversations: Conversations as retrieval sees them.
        lexicon: Which records have a word.
        weights: Weights of modules, of a memory on a server.
        failed_attempts: Records that no module could be made to hold.
        items: JSON objects under a namespace and a key.
        jobs: What is to be trained in the background.
        leases: Who is at which part of it.
        erasures: Files that are to be destroyed.
        transaction, snapshot, state, check_place, one_look, lock, check_locks: See `Database`.
        changed_since: Lists changed records as they were; see `memkit.ledger.records.as_of`.
        importer: Takes in what left another memory; see `Importer`.
    """

    def __init__(self, directory: Path, database: Database) -> None:
        self.directory = directory
        self.place = database.place
        self.name = database.name
        self.shared = database.shared
        self.beyond_reach = database.beyond_reach
        self.cache = database.cache
        self._database = database
        self.ttls = TtlTable(database)
        self.records = RecordTable(database, self.ttls)
        self.examples = ExampleTable(database)
        self.passages = PassageTable(database)
        self.shadow_vectors = ShadowVectorTable(database)
        self.turns = TurnTable(database, self.ttls)
        self.conversations = Conversations(database)
        self.lexicon = Lexicon(database)
        self.modules = ModuleTable(database)
        self.weights = WeightTable(database)
        self.failed_attempts = FailedAttemptTable(database)
        self.items = ItemTable(database)
        self.jobs = JobTable(database)
        self.leases = LeaseTable(database)
        self.erasures = ErasureTable(database)
        self.transaction = database.transaction
        self.snapshot = database.snapshot
        self.state = database.state
        self.check_place = database.check_place
        self.one_look = database.one_look
        self.lock = database.lock
        self.check_locks = database.check_locks
        self.changed_since = partial(changed_since, database)
        self.importer = partial(Importer, database)

    @classmethod
    def open(cls, place: str | Path, *, create: bool = True, busy_timeout: float = 30.0) -> Self:
        """Open the ledger of a memory, or make one.

        An older format is brought up to date, and a scrub that a crash interrupted is
        finished. Where nothing can be written, the ledger can be read.

        Args:
            place: A directory, or the URL of a PostgreSQL database.
            create: Whether to make a memory if there is none.
            busy_timeout: Bound on every wait for another process or thread, in seconds.

        Raises:
            NotAMemoryError: If the place holds something else, or nothing and ``create`` is False.
            FormatVersionError: If a newer memkit wrote it.
            CorruptFileError: If the file is damaged.
            ReadOnlyError: If a memory is to be made where nothing can be written.
        """
        database = open_database(place, create=create, wait=busy_timeout)
        ledger = cls(database.directory, database)
        if not database.read_only and ledger.get_meta(SCRUB_PENDING) is not None:
            # Where there is no room or no turn for it now, it stays pending; reading must work.
            with suppress(BusyError, DiskFullError):
                ledger.scrub()
        return ledger

    def close(self) -> None:
        """Leave the database in order, and close it. Repeating it changes nothing.

        Raises:
            DirectoryChangedError: If the file was removed or replaced; it is closed all the same.
        """
        if self._database.closed:
            return
        try:
            self._database.check_place()
            if not self._database.read_only:
                self._database.settle()
        finally:
            self._database.close()

    @property
    def writable(self) -> bool:
        """Whether the directory can be written to."""
        return not self._database.read_only

    @property
    def destruction_pending(self) -> bool:
        """Whether bytes of what was deleted may be left in some file."""
        return self.get_meta(SCRUB_PENDING) is not None or bool(self.erasures.pending())

    @contextmanager
    def exporter(self, scope: Scope | None) -> Iterator[Exporter]:
        """Give what can leave this memory, as it is now, whatever others write meanwhile.

        Only what is of this scope or of narrower ones; None for all.
        """
        with closing(open_again(self._database)) as database, database.snapshot():
            yield Exporter(database, scope)

    def merge(self, ids: Sequence[str]) -> Record:
        """Make one record of several; see `memkit.ledger.records.merge`.

        Raises:
            RecordNotFoundError: If one is unknown.
            InvalidInputError: If they do not go together.
        """
        with self.transaction():
            records = self.records.get(self.records.existing(ids))
            if len(records) < len(set(ids)):
                self.records.get(ids)  # says which one is missing
            surviving = survivor(records)
            others = [record for record in records if record is not surviving]
            merge(self._database, surviving, others)
            self.log_event("merge", {"records": len(records)})
            return self.records.get([surviving.id])[0]

    def now(self) -> datetime:
        """Tell the time (UTC) by which records expire."""
        return datetime.fromtimestamp(self._database.now(), UTC)

    def get_meta(self, name: str) -> str | None:
        """Give a setting of the memory; None if it was never set. Read once per change."""
        return read_setting(self._database, name)

    def set_meta(self, name: str, value: str | None) -> None:
        """Write a setting of the memory; None removes it."""
        with self.transaction():
            write_setting(self._database, name, value)

    def scopes(self) -> list[Scope]:
        """List the scopes that have records or turns, in the order of their stored forms."""
        keys = self.records.scopes() | self.turns.scopes()
        return [parse_scope_key(key) for key in sorted(keys)]

    def log_event(self, kind: str, detail: Mapping[str, Any] = _NOTHING) -> None:
        """Note that something happened.

        Args:
            kind: What, for example "consolidate".
            detail: JSON values. Counts and random ids only: events outlive what is forgotten.
        """
        with self.transaction():
            self._database.execute(
                "INSERT INTO events (kind, detail, created_at) VALUES (?, ?, ?)",
                *(kind, json.dumps(dict(detail)), self._database.now()),
            )
            stamp(self._database, "events", "seq = (SELECT max(seq) FROM events)")

    def events(self, *, after: int = 0, limit: int = 100) -> list[Event]:
        """List events in order, from behind the one with number ``after``."""
        sql = f"SELECT {checked_columns('events')} FROM events WHERE seq > ? ORDER BY seq LIMIT ?"
        rows = self._database.rows(sql, after, limit)
        return [readable("events", row[0], _event, row) for row in rows]

    def scrub(self) -> bool:
        """Destroy what deleted records left behind in the database.

        Returns:
            Whether that could be done. False if another process has kept it from that, such as
            SQLite's log from being emptied; scrub again later (opening the memory does).
        """
        if self._database.in_transaction:
            raise StorageError("scrub() cannot run inside a transaction", "Call it afterwards.")
        if (
            mark := self.get_meta(SCRUB_PENDING)
        ) is None:  # nothing was deleted, or another process has scrubbed it since
            return True
        if not self._database.destroy_deleted():
            return False
        with self.transaction():  # unless something was deleted meanwhile
            self._database.execute(
                "DELETE FROM meta WHERE name = ? AND value = ?", SCRUB_PENDING, mark
            )
        return True


def _event(row: Row) -> Event:
    verify("events", row)
    seq, kind, text, at, _ = row
    detail = json.loads(text)
    if not isinstance(detail, dict):
        raise TypeError
    return Event(whole_number(seq), as_text(kind), detail, datetime.fromtimestamp(at, UTC))
