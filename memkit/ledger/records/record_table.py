"""Records and their versions: storing, changing and deleting them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from memkit.errors import InvalidInputError
from memkit.ledger.engine.checksums import amended, checksum, stamp
from memkit.ledger.engine.database import Database
from memkit.ledger.engine.dialect import in_list, list_parameter
from memkit.ledger.engine.ids import new_id
from memkit.ledger.records.question_key import is_made
from memkit.ledger.records.record_reads import RecordReads
from memkit.ledger.records.record_rows import Entry, dump_metadata, entries_of, entry_of
from memkit.ledger.records.ttls import TtlTable
from memkit.ledger.records.upsert import Known, Stored
from memkit.ledger.records.where import EXPIRED
from memkit.types import Draft, Metadata, Record
from memkit.types.scope import scope_key
from memkit.types.validate import check_id


class RecordTable(RecordReads):
    """What is known, verbatim.

    Within a scope no two records have the same key, and no two without a key the same text,
    question and answer.
    """

    def __init__(self, database: Database, ttls: TtlTable) -> None:
        super().__init__(database)
        self._ttls = ttls

    def unsaid(self, drafts: Sequence[Draft], *, enrich: bool = True) -> list[Draft]:
        """List the drafts of which `put` would write something, as far as is known before it.

        Raises:
            InvalidInputError: If one cannot be stored.
        """
        entries = entries_of(drafts)
        known = Known.of(self._database, entries)
        unsaid = []
        for entry in entries:
            match = known.match(entry)
            after = entry if match is None else match.restated(entry, enrich=enrich) or entry
            if match is None or not match.says(after):
                unsaid.append(after.draft)
        return unsaid

    def conflicting(self, drafts: Sequence[Draft]) -> list[str]:
        """List expired records that wait for their destruction where drafts want to be.

        Whoever adds the drafts deletes these first, and what was trained on them.
        """
        if self._database.value(f"SELECT 1 FROM records WHERE {EXPIRED} LIMIT 1") is None:
            return []
        entries = entries_of(drafts)
        ids = [entry.draft.id for entry in entries if entry.draft.id is not None]
        taken = self.existing(ids, expired=True)
        known = Known.of(self._database, entries, condition=EXPIRED)
        unexpired = set(self.existing(taken))
        return list(dict.fromkeys([*known.ids, *(id for id in taken if id not in unexpired)]))

    def add(self, drafts: Sequence[Draft]) -> list[Record]:
        """Store drafts as by `put`, and give the record of each."""
        return self.put(drafts)[0]

    def put(
        self, drafts: Sequence[Draft], *, enrich: bool = True
    ) -> tuple[list[Record], frozenset[str]]:
        """Store drafts one after the other; all of them or, if one is invalid, none.

        - A draft whose key is there in the same scope becomes the next version of that record.
        - A draft whose text is already there in the same scope, with the same question and
          answer or, on either side, without any, gives the record that is there. It gets the
          question and answer that it lacks, and the draft's metadata and time beside its own, as
          its next version. It may get the draft's key, if it had none but its question; it may
          be pinned, and live longer.
        - Any other draft becomes a record; so does one with another id and no key of its own.

        Args:
            drafts: What is to be stored.
            enrich: Whether a record that is there gets metadata and time.

        Returns:
            One record per draft, in order, as it is in the end; and the ids of those of which
            something was written, new or as the next version.

        Raises:
            InvalidInputError: If a draft cannot be stored, or its id is taken by other content.
        """
        entries = entries_of(drafts)
        with self._database.transaction():
            known = Known.of(self._database, entries)
            lives = self._lives(entries)
            taken = self._taken([id for e in entries if (id := e.draft.id)])
            ids, written = [], set()
            for entry, ends in zip(entries, lives, strict=True):
                id, changed = self._store(entry, ends, known, taken, enrich=enrich)
                ids.append(id)
                written |= {id} if changed else set()
            # The shortest life may be over already.
            return self.get(ids, expired=True), frozenset(written)

    def update(
        self, id: str, *, text: str, question: str | None, answer: str | None, metadata: Metadata
    ) -> Record:
        """Write a new version of a record; the older one stays in its history.

        Its passages are deleted. If nothing differs, nothing changes. A key that was made of
        the question follows the question.

        Raises:
            RecordNotFoundError: If there is no such record.
            InvalidInputError: If the content cannot be stored, or another record of the scope
                has it or the key already.
        """
        id = check_id("id", id)
        entry = entry_of(Draft(text, question, answer, metadata=metadata))
        with self._database.transaction():
            record = self.get([id])[0]
            reworded = entry.content_hash != record.content_hash
            if not reworded and entry.metadata == dump_metadata(record.metadata):
                return record
            entry = replace(entry, scope=scope_key(record.scope))
            key = self._key_after(record, entry)
            self._archive(id)
            self._database.execute(
                "UPDATE records SET text = ?, question = ?, answer = ?, metadata = ?, "
                "content_hash = ?, key = ?, said_at = CASE WHEN ? THEN NULL ELSE said_at END, "
                "updated_at = ?, version = version + 1 WHERE id = ?",
                *(entry.draft.text, entry.draft.question, entry.draft.answer, entry.metadata),
                *(entry.content_hash, key, reworded, self._database.now(), id),
            )
            stamp(self._database, "records", "id = ?", id)
            return self.get([id])[0]

    def pin(self, id: str) -> Record:
        """Pin a record; it does not expire any more. `RecordNotFoundError` as for `get`."""
        return self._live_on(id, pinned=True, seconds=None)

    def unpin(self, id: str) -> Record:
        """Undo `pin`; the default of the scope holds again, counted from now."""
        with self._database.transaction():
            record = self.get([id])[0]
            if not record.pinned:
                return record
            return self._live_on(id, pinned=False, seconds=self._ttls.of(record.scope))

    def expire(self, id: str, seconds: float | None) -> Record:
        """Let a record expire so many seconds from now; None lets it live.

        Raises:
            RecordNotFoundError: If there is no such record.
            InvalidInputError: If it is pinned.
        """
        with self._database.transaction():
            if self.get([id])[0].pinned and seconds is not None:
                raise InvalidInputError(
                    f"record {id!r} is pinned, and what is pinned does not expire", "Unpin it."
                )
            return self._live_on(id, pinned=None, seconds=seconds)

    def delete(self, ids: Sequence[str]) -> tuple[int, int, int]:
        """Delete records, expired or not, with all that hangs on them; ignores unknown ids.

        What remains of them in the file's free space goes with `Ledger.scrub`. Returns how many
        records, versions (the current ones included) and turns are gone.
        """
        wanted = list_parameter("ids", ids)
        theirs = f"record IN (SELECT number FROM records WHERE {in_list('id')})"
        with self._database.transaction():
            older, turns = (self._database.count(t, theirs, wanted) for t in ("versions", "turns"))
            records = len(self._database.erase("records", in_list("id"), wanted, giving="number"))
        return records, records + older, turns

    def _taken(self, ids: Sequence[str]) -> set[str]:
        """Those of the ids that records or turns have: by either verbs find a record."""
        if not ids:
            return set()
        theirs = f"SELECT id FROM turns WHERE {in_list('id')}"
        turns = self._database.column(theirs, list_parameter("ids", ids))
        return {*self.existing(ids, expired=True), *turns}

    def _lives(self, entries: Sequence[Entry]) -> list[float | None]:
        """When each entry will expire, in seconds since 1970."""
        silent = [entry for entry in entries if entry.ttl is None and not entry.draft.pinned]
        defaults = self._ttls.of_each({e.scope: e.draft.scope for e in silent}.values())
        ends: list[float | None] = []
        for entry in entries:
            seconds = entry.ttl
            if seconds is None and not entry.draft.pinned:
                seconds = defaults[entry.scope]
            ends.append(None if seconds is None else self._database.now() + seconds)
        return ends

    def _store(
        self, entry: Entry, ends: float | None, known: Known, taken: set[str], *, enrich: bool
    ) -> tuple[str, bool]:
        """Store one entry; returns the id of its record, and whether that says more than before."""
        match = known.match(entry)
        id = entry.draft.id or new_id()
        if id in taken and (match is None or match.id != id):
            raise InvalidInputError(
                f"`id` {id!r} is in use",
                "To change a record of yours, use update(). Ids are unique over all scopes: "
                "leave it out, or put what tells your scope apart before it.",
            )
        if match is None:
            taken.add(id)
            key = entry.draft.key or known.free_key(entry.scope, Stored.of(id, None, entry))
            self._insert(id, replace(entry, key=key), ends)
            known.note(Stored.of(id, key, entry))
            return id, True
        known.forget(match)
        after, pinned = match.restated(entry, enrich=enrich), entry.draft.pinned
        key = entry.draft.key or known.key_after(match, after or entry)
        changed = after is None or not match.says(after)
        with amended(self._database, "records", "id = ?", match.id):
            if changed:
                self._rewrite(match.id, after or entry)
            if after is None:
                self._live_as(match.id, ends, pinned=pinned)
            else:
                self._renew(match.id, key, ends, pinned=pinned)
        known.note(Stored.of(match.id, key, after or entry))
        return match.id, changed

    def _insert(self, id: str, entry: Entry, ends: float | None) -> None:
        draft, now = entry.draft, self._database.now()
        about = (
            *(id, entry.scope, entry.metadata, now, now),
            *(1, entry.key, ends, draft.pinned, entry.said_at),
        )
        self._database.execute(
            "INSERT INTO records (id, scope, metadata, created_at, updated_at, version, key, "
            "expires_at, pinned, said_at, text, question, answer, content_hash, checksum) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            *(*about, draft.text, draft.question, draft.answer, entry.content_hash),
            checksum(about),
        )

    def _renew(self, id: str, key: str | None, ends: float | None, *, pinned: bool) -> None:
        """Let a record live on: never shorter than before."""
        self._database.execute(
            "UPDATE records SET key = ?, pinned = pinned OR ?, "
            "expires_at = CASE WHEN expires_at > ? THEN expires_at "
            "WHEN expires_at IS NOT NULL THEN ? END WHERE id = ?",
            *(key, pinned, ends, ends, id),
        )

    def _rewrite(self, id: str, entry: Entry) -> None:
        """Make an entry the next version of a record."""
        self._archive(id)
        draft = entry.draft
        self._database.execute(
            "UPDATE records SET text = ?, question = ?, answer = ?, metadata = ?, "
            "content_hash = ?, said_at = ?, updated_at = ?, version = version + 1 WHERE id = ?",
            *(draft.text, draft.question, draft.answer, entry.metadata, entry.content_hash),
            *(entry.said_at, self._database.now(), id),
        )

    def _live_as(self, id: str, ends: float | None, *, pinned: bool) -> None:
        """Let a record live as long as what has taken its place; what is pinned stays so."""
        self._database.execute(
            # PostgreSQL would take None for a text.
            "UPDATE records SET expires_at = "
            "CASE WHEN pinned THEN NULL ELSE CAST(? AS DOUBLE PRECISION) END, "
            "pinned = pinned OR ? WHERE id = ?",
            *(ends, pinned, id),
        )

    def _live_on(self, id: str, *, pinned: bool | None, seconds: float | None) -> Record:
        with self._database.transaction():
            ends = None if seconds is None else self._database.now() + seconds
            self._database.execute(
                "UPDATE records SET pinned = coalesce(?, pinned), expires_at = ? WHERE id = ?",
                *(pinned, ends, id := self.get([id])[0].id),
            )
            stamp(self._database, "records", "id = ?", id)
            return self.get([id])[0]

    def _key_after(self, record: Record, entry: Entry) -> str | None:
        """The key, as it is stored, of a record that says what an entry says from now on.

        Raises:
            InvalidInputError: If that is what another record says, or answers.
        """
        sql = "SELECT key FROM records WHERE id = ?"
        key: str | None = self._database.value(sql, record.id)
        if not is_made(key, record.question, record.id):
            return key
        known = Known.of(self._database, [entry], condition="TRUE")
        same_question = is_made(key, entry.draft.question, record.id)
        twin = known.twin(entry, record, same_question=same_question)
        if twin is not None:
            raise InvalidInputError(
                f"record {record.id!r} would become identical to record {twin.id!r} of its scope, "
                "or an answer to the same question",
                "Forget one of the two.",
            )
        return key if same_question else entry.key

    def _archive(self, id: str) -> None:
        """Copy the current version into the history and delete its passages."""
        self._database.execute(
            "INSERT INTO versions "
            "(record, version, text, question, answer, metadata, created_at, said_at) "
            "SELECT number, version, text, question, answer, metadata, updated_at, said_at "
            "FROM records WHERE id = ?",
            id,
        )
        latest = "(record, version) IN (SELECT number, version FROM records WHERE id = ?)"
        stamp(self._database, "versions", latest, id)
        self._database.execute(
            "DELETE FROM passages WHERE record = (SELECT number FROM records WHERE id = ?)", id
        )
