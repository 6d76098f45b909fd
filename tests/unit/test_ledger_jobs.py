"""The queue of jobs, on both engines: who gets what, when, and what is kept of it."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from memkit.errors import InvalidInputError, NotFoundError
from memkit.ledger import Ledger
from memkit.ledger.jobs import job_table
from memkit.ledger.jobs.lease_table import LEASE, MOST_ATTEMPTS
from memkit.types import Draft, Progress

pytestmark = pytest.mark.engines

OURS = "model, recipe"
ANN, BOB = {"user": "ann"}, {"user": "bob"}


@pytest.fixture
def add(ledger):
    def add(*texts, scope=None):
        return ledger.records.add([Draft(text, scope=scope or {}) for text in texts])

    return add


@pytest.fixture
def put(ledger):
    def put(records, trainer=OURS, priority=0, retry_missed=False):
        return ledger.jobs.put(
            records, trainer=trainer, priority=priority, retry_missed=retry_missed
        )

    return put


def take(ledger, trainer=OURS):
    return ledger.leases.take(trainer)


def pass_time(ledger, seconds):
    """Everything that is due at some time is due so much earlier."""
    ledger._database.execute("UPDATE job_parts SET due_at = due_at - ?", seconds)


def rows(ledger, table):
    return ledger._database.count(table)


def test_a_job_is_taken_by_one_worker_and_done(ledger, add, put):
    one, two = add("one", "two")
    id = put([two, one])
    assert (ledger.jobs.get(id).state, ledger.jobs.get(id).records) == ("queued", 2)
    lease = take(ledger)
    assert (lease.job, lease.records, lease.attempt) == (id, (two.id, one.id), 1)
    assert take(ledger) is None
    status = ledger.jobs.get(id)
    assert (status.state, status.attempts, status.ended_at) == ("running", 1, None)
    assert ledger.leases.finish(lease, held=1, missed=1, modules=1)
    status = ledger.jobs.get(id)
    assert (status.state, status.held, status.missed, status.modules) == ("done", 1, 1, 1)
    assert status.created_at <= status.started_at <= status.ended_at or ledger.shared
    assert status.is_over
    assert rows(ledger, "job_records") == 0
    assert not ledger.leases.waiting(OURS)


def test_a_job_of_nothing_is_done(ledger, put):
    status = ledger.jobs.get(put([]))
    assert (status.state, status.parts, status.records) == ("done", 0, 0)
    assert take(ledger) is None


def test_a_job_is_made_with_its_transaction_or_not_at_all(ledger, add, put, undone):
    records = add("one")
    with undone(ledger):
        put(records)
    assert ledger.jobs.newest() == []
    assert take(ledger) is None


def test_scopes_are_parts_of_their_own_and_trained_side_by_side(ledger, add, put):
    first, ann, bob = add("shared"), add("hers", scope=ANN), add("his", scope=BOB)
    id = put([*ann, *first, *bob])
    assert ledger.jobs.get(id).parts == 3
    taken = [take(ledger).records for _ in range(3)]
    assert taken == [(ann[0].id,), (first[0].id,), (bob[0].id,)]
    assert sorted(ledger.jobs.in_work()) == sorted(id for (id,) in taken)


def test_two_jobs_of_one_scope_come_one_after_the_other(ledger, add, put):
    earlier, later = put(add("one")), put(add("two"))
    first = take(ledger)
    assert first.job == earlier
    assert take(ledger) is None
    assert ledger.leases.waiting(OURS)
    ledger.leases.finish(first, held=1, missed=0, modules=1)
    assert take(ledger).job == later


def test_a_higher_priority_comes_first(ledger, add, put):
    low = put(add("one"), priority=-1)
    usual = put(add("two", scope=ANN))
    high = put(add("three", scope=BOB), priority=5)
    assert [take(ledger).job for _ in range(3)] == [high, usual, low]


def test_what_waits_already_is_left_to_its_job(ledger, add, put):
    old = add("one", "two")
    first = put(old)
    assert put(old) == first
    assert put(old[:1], priority=7) == first
    assert ledger.jobs.get(first).priority == 7
    new = add("three")
    second = put([*old, *new])
    assert second != first
    assert ledger.jobs.get(second).records == 1
    assert put([*old, *new]) == second


def test_what_would_be_trained_otherwise_does_not_wait_there(ledger, add, put):
    records = add("one")
    first = put(records)
    assert put(records, trainer="another model") != first
    assert put(records, retry_missed=True) != first
    take(ledger)  # it is at the text as it is now
    assert put(records) != first


def test_a_trainer_gets_what_is_for_it(ledger, add, put):
    put(add("one"), trainer="another model")
    assert take(ledger) is None
    assert not ledger.leases.waiting(OURS)
    assert ledger.leases.others(OURS) == ["another model"]
    assert take(ledger, "another model") is not None


def test_a_lease_runs_out_unless_it_is_renewed(ledger, add, put):
    id = put(add("one"))
    lost = take(ledger)
    pass_time(ledger, LEASE - 1)
    assert take(ledger) is None
    progress = Progress(1, 2, 3, 40, 0.5)
    assert ledger.leases.renew(lost, progress)
    assert ledger.leases.renew(lost)
    assert ledger.jobs.get(id).progress == progress
    pass_time(ledger, LEASE - 1)
    assert take(ledger) is None
    pass_time(ledger, 2)
    taken = take(ledger)
    assert (taken.job, taken.records, taken.attempt) == (id, lost.records, 2)
    # Whoever comes back from the dead changes nothing.
    assert not ledger.leases.renew(lost, progress)
    assert not ledger.leases.finish(lost, held=1, missed=0, modules=1)
    assert not ledger.leases.fail(lost, "what")
    assert not ledger.leases.give_back(lost)
    status = ledger.jobs.get(id)
    assert (status.state, status.held, status.error) == ("running", 0, None)
    assert ledger.leases.finish(taken, held=1, missed=0, modules=1)


def test_what_is_given_back_can_be_taken_at_once_and_was_no_attempt(ledger, add, put):
    id = put(add("one"))
    lease = take(ledger)
    assert ledger.leases.give_back(lease)
    assert ledger.jobs.get(id).attempts == 0
    assert not ledger.leases.renew(lease)
    assert take(ledger).attempt == 1


def test_a_failure_is_tried_again_after_pauses_that_grow_and_not_for_ever(ledger, add, put):
    id = put(add("one"))
    for attempt, pause in enumerate([10, 20, 40, 80], start=1):
        lease = take(ledger)
        assert lease.attempt == attempt
        assert ledger.leases.fail(lease, f"went wrong {attempt}")
        status = ledger.jobs.get(id)
        assert (status.state, status.error) == ("queued", f"went wrong {attempt}")
        assert take(ledger) is None
        pass_time(ledger, pause - 5)
        assert take(ledger) is None
        pass_time(ledger, 5)
    assert ledger.leases.fail(take(ledger), "for good " * 1000)
    status = ledger.jobs.get(id)
    assert (status.state, status.attempts) == ("failed", MOST_ATTEMPTS)
    assert status.error.startswith("for good for good")
    assert len(status.error) == 500
    assert take(ledger) is None
    assert rows(ledger, "job_records") == 0


def test_what_kills_its_workers_is_given_up(ledger, add, put):
    id = put(add("one"))
    for _ in range(MOST_ATTEMPTS):
        assert take(ledger) is not None
        pass_time(ledger, LEASE + 1)
    assert take(ledger) is None
    status = ledger.jobs.get(id)
    assert (status.state, status.error) == ("failed", "its worker ended without a word, 5 times")


def test_a_job_is_cancelled(ledger, add, put):
    records = [*add("one"), *add("two", scope=ANN), *add("three", scope=BOB)]
    id = put(records)
    done, running = take(ledger), take(ledger)
    ledger.leases.finish(done, held=1, missed=0, modules=1)
    status = ledger.jobs.cancel(id)
    assert (status.state, status.held, status.ended) == ("cancelled", 1, 3)
    assert not ledger.leases.renew(running)
    assert take(ledger) is None
    assert rows(ledger, "job_records") == 0
    assert ledger.jobs.cancel(id) == status  # it was over


def test_forgetting_all_of_a_job_ends_it(ledger, add, put):
    one, two = add("one", "two", scope=ANN)
    id = put([one, two])
    lease = take(ledger)

    def forget(record):
        with ledger.transaction():
            ledger.records.delete([record.id])
            ledger.jobs.end_forgotten()

    forget(one)
    assert ledger.leases.renew(lease)
    forget(two)
    assert not ledger.leases.renew(lease)
    assert ledger.jobs.get(id).state == "cancelled"
    assert take(ledger) is None
    assert "ann" not in str(ledger._database.rows("SELECT * FROM job_parts"))


def test_what_was_forgotten_without_notice_is_found_out(ledger, add, put):
    kept, gone = add("one"), add("two", scope=ANN)
    id = put([*gone, *kept])
    ledger.records.delete([gone[0].id])
    assert take(ledger).records == (kept[0].id,)
    assert (ledger.jobs.get(id).ended, ledger.jobs.get(id).parts) == (1, 2)


def test_jobs_that_are_over_are_let_go_in_the_end(ledger, add, put, monkeypatch):
    monkeypatch.setattr(job_table, "KEPT", 3)
    open_one = put(add("waits"))
    over = [put([]) for _ in range(5)]
    assert [status.id for status in ledger.jobs.newest()] == [*over[:1:-1], open_one]
    assert [status.id for status in ledger.jobs.newest(limit=1)] == over[-1:]
    with pytest.raises(NotFoundError, match="no job has the id"):
        ledger.jobs.get(over[0])
    with pytest.raises(NotFoundError, match="no job has the id"):
        ledger.jobs.cancel("nothing")
    with pytest.raises(InvalidInputError, match="`limit`"):
        ledger.jobs.newest(limit=0)


def test_many_workers_never_get_the_same(place, ledger, add, put):
    """Eight clients with connections of their own take forty parts."""
    records = [add(f"fact {n}", scope={"user": f"u{n}"})[0] for n in range(40)]
    put(records)

    def work(_):
        with_own = Ledger.open(place)
        taken = []
        while (lease := with_own.leases.take(OURS)) is not None:
            taken += lease.records
            assert with_own.leases.finish(lease, held=1, missed=0, modules=1)
        with_own.close()
        return taken

    with ThreadPoolExecutor(8) as threads:
        taken = [id for ids in threads.map(work, range(8)) for id in ids]
    assert sorted(taken) == sorted(record.id for record in records)
    assert ledger.jobs.newest()[0].held == 40


@pytest.mark.engines("postgresql")
def test_a_row_that_another_client_has_locked_is_passed_over(ledger, add, put, postgres):
    import psycopg

    first, second = put(add("one", scope=ANN)), put(add("two", scope=BOB))
    with psycopg.connect(postgres.url) as other:
        other.execute("SET search_path = memkit")
        other.execute("SELECT 1 FROM job_parts ORDER BY number LIMIT 1 FOR UPDATE")
        assert take(ledger).job == second
        assert take(ledger) is None
    assert take(ledger).job == first


@pytest.mark.engines("postgresql")
def test_leases_go_by_the_clock_of_the_server(ledger, add, put):
    put(add("one"))
    lease = take(ledger)
    ledger._database.clock = lambda: 4e9  # a client's clock that is far ahead
    assert take(ledger) is None
    assert ledger.leases.renew(lease)
