"""Jobs: records that are to be trained in the background, and what became of that."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from memkit.errors import NotFoundError
from memkit.ledger.engine.database import Database, Row
from memkit.ledger.engine.dialect import SHARED_NOW, in_list, list_parameter
from memkit.ledger.engine.ids import new_id
from memkit.ledger.engine.readable import readable
from memkit.types import JobState, JobStatus, Progress, Record
from memkit.types.scope import scope_key
from memkit.types.validate import check_limit

KEPT = 1_000  # jobs that are over and remembered, the newest
OPEN = "state IN ('queued', 'running')"  # of parts
_COUNTED = ", ".join(
    f"CAST(coalesce(sum({what}), 0) AS BIGINT)"
    for what in (
        *("part.records", "part.held", "part.missed", "part.modules"),
        *(
            f"CASE WHEN part.state = '{state}' THEN 1 ELSE 0 END"
            for state in ("queued", "running", "failed", "cancelled", "forgotten")
        ),
    )
)
_STATUS = f"""
    SELECT jobs.id, jobs.priority, jobs.created_at, count(part.number), {_COUNTED},
        coalesce(max(part.attempts), 0), min(part.started_at), max(part.ended_at),
        (SELECT progress FROM job_parts AS busy WHERE busy.job = jobs.number
            AND busy.state = 'running' AND busy.progress IS NOT NULL ORDER BY busy.number LIMIT 1),
        (SELECT error FROM job_parts AS wrong WHERE wrong.job = jobs.number
            AND wrong.error IS NOT NULL ORDER BY wrong.number DESC LIMIT 1)
    FROM jobs LEFT JOIN job_parts AS part ON part.job = jobs.number
"""
_OF_EACH = "GROUP BY jobs.number, jobs.id, jobs.priority, jobs.created_at"
# Nothing is kept of what a part was about once it has ended, least of all a scope's labels.
ENDING = f"scope = NULL, holder = NULL, progress = NULL, ended_at = {SHARED_NOW}"


class JobTable:
    """What is to be trained, and how far that is; `LeaseTable` says who is at it.

    A job is about records that are noted one by one, in the transaction that makes it. It has a
    part for each of their scopes: that is what a worker takes.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(
        self, records: Sequence[Record], *, trainer: str, priority: int, retry_missed: bool
    ) -> str:
        """Make a job of records, within the transaction that has chosen them; gives its id.

        Records that wait in another job already are left to it; if all do, the newest such job is
        given instead of a new one. Those jobs get the priority, if theirs is lower.

        Args:
            records: In the order of training.
            trainer: Who can train them: names base model and recipe.
            priority: Jobs of a higher one come first.
            retry_missed: Also try records on which the same training has failed already.
        """
        with self._database.transaction():
            waiting = self._waiting(records, trainer, retry_missed=retry_missed)
            self._database.execute(
                f"UPDATE jobs SET priority = ? WHERE priority < ? AND {in_list('id')}",
                *(priority, priority, list_parameter("jobs", sorted(set(waiting.values())))),
            )
            fresh = [record for record in records if record.id not in waiting]
            if records and not fresh:
                return max(waiting.values())  # ids sort by the time they were made
            self._prune()
            id = new_id()
            self._database.execute(
                "INSERT INTO jobs (id, trainer, retry_missed, priority, created_at) "
                "VALUES (?, ?, ?, ?, ?)",
                *(id, trainer, int(retry_missed), priority, self._database.now()),
            )
            self._put_parts(id, fresh)
            return id

    def _waiting(
        self, records: Sequence[Record], trainer: str, *, retry_missed: bool
    ) -> dict[str, str]:
        """Those of the records that nobody has begun to train, and the job that they wait in."""
        rows = self._database.rows(
            "SELECT records.id, jobs.id FROM jobs JOIN job_parts AS part ON part.job = jobs.number "
            "JOIN job_records AS noted ON noted.part = part.number "
            "JOIN records ON records.number = noted.record "
            "WHERE part.state = 'queued' AND jobs.trainer = ? AND jobs.retry_missed >= ? "
            f"AND {in_list('records.id')}",
            *(trainer, int(retry_missed), list_parameter("records", [r.id for r in records])),
        )
        return dict(rows)

    def _put_parts(self, id: str, records: Sequence[Record]) -> None:
        by_scope: dict[str, list[Record]] = {}
        for record in records:
            by_scope.setdefault(scope_key(record.scope), []).append(record)
        job = self._database.value("SELECT number FROM jobs WHERE id = ?", id)
        first = self._database.take_numbers("job_parts", len(by_scope))
        parts = dict(enumerate(by_scope.items(), start=first))
        self._database.execute_many(
            "INSERT INTO job_parts (number, job, scope, state, records, due_at) "
            f"VALUES (?, ?, ?, 'queued', ?, {SHARED_NOW})",
            [(number, job, scope, len(own)) for number, (scope, own) in parts.items()],
        )
        self._database.execute_many(
            "INSERT INTO job_records (part, position, record) "
            "SELECT CAST(? AS BIGINT), CAST(? AS BIGINT), number FROM records WHERE id = ?",
            [
                (number, position, record.id)
                for number, (_, own) in parts.items()
                for position, record in enumerate(own)
            ],
        )

    def get(self, id: str) -> JobStatus:
        """Tell how far a job is.

        Raises:
            NotFoundError: If there is none, or it ended so long ago that it was let go.
        """
        row = self._database.row(f"{_STATUS} WHERE jobs.id = ? {_OF_EACH}", id)
        if row is None:
            raise NotFoundError(
                f"no job has the id {id!r:.60}",
                f"memory.jobs.list() lists them; the last {KEPT} that are over are kept.",
            )
        return _status(row)

    def newest(self, *, limit: int = 100) -> list[JobStatus]:
        """List the latest jobs, the newest first."""
        check_limit("limit", limit)
        rows = self._database.rows(f"{_STATUS} {_OF_EACH} ORDER BY jobs.number DESC LIMIT ?", limit)
        return [_status(row) for row in rows]

    def cancel(self, id: str) -> JobStatus:
        """End those parts of a job that have not ended; a worker at one stops within an epoch.

        Raises:
            NotFoundError: As for `get`.
        """
        with self._database.transaction():
            self.get(id)
            of_job = f"job = (SELECT number FROM jobs WHERE id = ?) AND {OPEN}"
            self._database.execute(
                "DELETE FROM job_records WHERE part IN "
                f"(SELECT number FROM job_parts WHERE {of_job})",
                id,
            )
            self._database.execute(
                f"UPDATE job_parts SET state = 'cancelled', {ENDING} WHERE {of_job}", id
            )
            return self.get(id)

    def end_forgotten(self) -> None:
        """End the parts none of whose records is left, in the transaction that deleted these."""
        self._database.execute(
            f"UPDATE job_parts SET state = 'forgotten', {ENDING} WHERE {OPEN} "
            "AND NOT EXISTS (SELECT 1 FROM job_records WHERE part = job_parts.number)"
        )

    def in_work(self) -> list[str]:
        """Ids of the records that some worker is training now."""
        return self._database.column(
            "SELECT records.id FROM job_parts AS part "
            "JOIN job_records AS noted ON noted.part = part.number "
            "JOIN records ON records.number = noted.record "
            f"WHERE part.state = 'running' AND part.due_at > {SHARED_NOW}"
        )

    def _prune(self) -> None:
        over = f"NOT EXISTS (SELECT 1 FROM job_parts WHERE job = jobs.number AND {OPEN})"
        self._database.execute(
            f"DELETE FROM jobs WHERE {over} AND number <= (SELECT number FROM jobs AS older "
            f"WHERE {over.replace('jobs.', 'older.')} ORDER BY number DESC LIMIT 1 OFFSET ?)",
            KEPT - 1,
        )


def _status(row: Row) -> JobStatus:
    return readable("jobs", row[0], _readable_status, row)


def _readable_status(row: Row) -> JobStatus:
    id, priority, created_at, parts, records, held, missed, modules, *rest = row
    queued, running, failed, cancelled, forgotten, attempts, started, ended, at, error = rest
    counts = {"queued": queued, "running": running, "failed": failed, "cancelled": cancelled}
    state = _state(counts, all_forgotten=0 < parts == forgotten, begun=parts > queued)
    over = not queued + running
    return JobStatus(
        id=id,
        state=state,
        records=records,
        held=held,
        missed=missed,
        modules=modules,
        parts=parts,
        ended=parts - queued - running,
        progress=None if at is None else Progress(**json.loads(at)),
        priority=priority,
        attempts=attempts,
        error=error,
        created_at=datetime.fromtimestamp(created_at, UTC),
        started_at=None if started is None else datetime.fromtimestamp(started, UTC),
        ended_at=datetime.fromtimestamp(ended or created_at, UTC) if over else None,
    )


def _state(counts: Mapping[str, int], *, all_forgotten: bool, begun: bool) -> JobState:
    if counts["running"] or (counts["queued"] and begun):
        return "running"
    if counts["queued"]:
        return "queued"
    if counts["failed"]:
        return "failed"
    return "cancelled" if counts["cancelled"] or all_forgotten else "done"
