"""Who is at which part of a job: a lease, that its worker renews until it is done.

A worker that is killed renews nothing, and its part is taken by another one when the lease has
run out. Whoever comes back after that finds that the lease is another's, and changes nothing.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass

from memkit.ledger.engine.database import Database
from memkit.ledger.engine.dialect import SHARED_NOW, UNLESS_LOCKED
from memkit.ledger.jobs.job_table import ENDING, OPEN
from memkit.types import Progress
from memkit.types.value import shortened

LEASE = 60.0  # seconds until a worker that says nothing is taken for lost
MOST_ATTEMPTS = 5
_FIRST_PAUSE, _LONGEST_PAUSE = 10.0, 3600.0  # seconds from a failure to the next attempt
_ERROR = 500  # characters of an error that are kept
_LOST = f"its worker ended without a word, {MOST_ATTEMPTS} times"

# Two parts of one scope are not trained at once: both might train the same module.
_DUE = f"""
    FROM job_parts AS part JOIN jobs ON jobs.number = part.job
    WHERE part.{OPEN} AND part.due_at <= {SHARED_NOW} AND jobs.trainer = ? AND NOT EXISTS (
        SELECT 1 FROM job_parts AS other WHERE other.scope = part.scope
        AND other.state = 'running' AND other.due_at > {SHARED_NOW}
    )
"""
_MINE = "number = ? AND holder = ? AND state = 'running'"


@dataclass(frozen=True)
class Lease:
    """A part of a job that one worker trains.

    Attributes:
        part: Its number.
        holder: Tells this lease from all others of the part.
        job: Id of the job.
        records: Ids of the records, in the order of training.
        attempt: How often it was begun, this time included.
        retry_missed: As for `Memory.consolidate`.
    """

    part: int
    holder: str
    job: str
    records: tuple[str, ...]
    attempt: int
    retry_missed: bool


class LeaseTable:
    """Gives parts of jobs to workers. Times are the database's, so that all clients agree."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def take(self, trainer: str) -> Lease | None:
        """Take the next part that this trainer can train and nobody is at; None if there is none.

        Those of a higher priority come first, then the older ones.
        """
        if self._database.row(f"SELECT 1 {_DUE} LIMIT 1", trainer) is None:
            return None  # a read, which waits for nobody
        with self._database.transaction():
            while True:
                row = self._database.row(
                    f"SELECT part.number, part.attempts, jobs.id, jobs.retry_missed {_DUE} "
                    f"ORDER BY jobs.priority DESC, part.number LIMIT 1 {UNLESS_LOCKED}",
                    trainer,
                )
                if row is None:
                    return None
                part, attempts, job, retry_missed = row
                records = self._database.column(
                    "SELECT records.id FROM job_records AS noted "
                    "JOIN records ON records.number = noted.record "
                    "WHERE noted.part = ? ORDER BY noted.position",
                    part,
                )
                if attempts >= MOST_ATTEMPTS:
                    self._end(part, "failed", "error = coalesce(error, ?)", _LOST)
                elif not records:
                    self._end(part, "forgotten", "error = NULL")
                else:
                    holder = secrets.token_hex(8)
                    self._database.execute(
                        "UPDATE job_parts SET state = 'running', holder = ?, "
                        f"attempts = attempts + 1, due_at = {SHARED_NOW} + ?, "
                        f"started_at = coalesce(started_at, {SHARED_NOW}) WHERE number = ?",
                        *(holder, LEASE, part),
                    )
                    return Lease(
                        part, holder, job, tuple(records), attempts + 1, bool(retry_missed)
                    )

    def renew(self, lease: Lease, progress: Progress | None = None) -> bool:
        """Say that a worker is still at it, and how far; False if the lease is lost by now.

        It is if the part was cancelled, if all of its records were forgotten, or if it ran out and
        another worker has taken the part.
        """
        said = None if progress is None else json.dumps(progress.to_dict())
        return self._update(
            lease, f"due_at = {SHARED_NOW} + ?, progress = coalesce(?, progress)", LEASE, said
        )

    def finish(self, lease: Lease, *, held: int, missed: int, modules: int) -> bool:
        """Note that a part is done, with these counts; False as for `renew`."""
        with self._database.transaction():
            return self._update(
                lease,
                f"state = 'done', held = ?, missed = ?, modules = ?, error = NULL, {ENDING}",
                *(held, missed, modules),
            ) and self._drop_records(lease.part)

    def give_back(self, lease: Lease) -> bool:
        """Let another worker have it at once, as if it had not been begun; False as for `renew`."""
        return self._update(
            lease,
            "state = 'queued', holder = NULL, progress = NULL, attempts = attempts - 1, "
            f"due_at = {SHARED_NOW}",
        )

    def fail(self, lease: Lease, error: str) -> bool:
        """Note what went wrong; it is tried again after a while, but not for ever.

        The pause doubles with every attempt. False as for `renew`.
        """
        error = shortened(error, _ERROR)
        if lease.attempt >= MOST_ATTEMPTS:
            with self._database.transaction():
                return self._update(
                    lease, f"state = 'failed', error = ?, {ENDING}", error
                ) and self._drop_records(lease.part)
        pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** (lease.attempt - 1))
        return self._update(
            lease,
            "state = 'queued', holder = NULL, progress = NULL, error = ?, "
            f"due_at = {SHARED_NOW} + ?",
            *(error, pause),
        )

    def waiting(self, trainer: str) -> bool:
        """Whether anything is left to do for this trainer, now or later."""
        return self._database.row(f"SELECT 1 {_LEFT} AND jobs.trainer = ?", trainer) is not None

    def others(self, trainer: str) -> list[str]:
        """List the other trainers that have something to do."""
        return self._database.column(
            f"SELECT DISTINCT jobs.trainer {_LEFT} AND jobs.trainer <> ?", trainer
        )

    def _update(self, lease: Lease, changes: str, *values: object) -> bool:
        return bool(
            self._database.execute(
                f"UPDATE job_parts SET {changes} WHERE {_MINE}",
                *(*values, lease.part, lease.holder),
            )
        )

    def _end(self, part: int, state: str, and_also: str, *values: object) -> None:
        self._database.execute(
            f"UPDATE job_parts SET state = ?, {and_also}, {ENDING} WHERE number = ?",
            *(state, *values, part),
        )
        self._drop_records(part)

    def _drop_records(self, part: int) -> bool:
        self._database.execute("DELETE FROM job_records WHERE part = ?", part)
        return True


_LEFT = f"FROM job_parts AS part JOIN jobs ON jobs.number = part.job WHERE part.{OPEN}"
