"""One running batch for all threads that ask a model something.

A thread that wants an answer puts its rows into the queue. One of the threads that wait holds the
model and decodes the batch, a step after the other, until its own rows are finished; then another
one goes on. New rows join between two steps, finished ones leave. Who needs the model for
something else gets it between two steps as well, in the order in which they come.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext

from memkit.models.answer_row import Row
from memkit.models.decode_batch import Batch, Reader
from memkit.models.model_lock import ModelLock
from memkit.types.giving_up import giving_up
from memkit.types.timings import Step, Stopwatch, credit

MOST_ROWS = 64  # at a step; more wait for their turn
SHARE = 0.5  # of the memory that is left for computing, keys and values of rows may take

# Returns once what it is given is true; raises what keeps it from becoming true.
Waiting = Callable[[Callable[[], bool]], None]


class GivenUpError(Exception):
    """Nobody waits for the answer any more: whoever did has gone, and so nobody sees this."""


class _Ticket:
    """What one caller has asked for.

    Attributes:
        rows: Its rows.
        queue: Those that have not been read yet.
        ready: Whether it need not wait any longer; None while it does not.
        turn: Set when it should look again.
        spent: Its share of the time of the steps during which it waited, in seconds.
    """

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows
        self.queue = deque(rows)
        self.ready: Callable[[], bool] | None = None
        self.turn = threading.Event()
        self.spent: dict[Step, float] = {}


class SharedDecoding:
    """Decodes the rows of all callers of a model in one batch.

    Args:
        base: The model; its rows can join each other (`Reader.shares_passes`).
        lock: Its own.
    """

    def __init__(self, base: Reader, lock: ModelLock) -> None:
        self._base = base
        self._lock = lock
        self._mutex = threading.Lock()  # for the queues, and for who decodes
        self._tickets: deque[_Ticket] = deque()  # with rows that have not been read, in turn
        self._waiting: list[_Ticket] = []  # the longest first
        self._decoding = False
        self._batch = Batch(base)  # of the thread that decodes
        self._suspects: deque[Row] = deque()  # were in what has failed: each goes on by itself
        self._joined = False  # whether rows have joined since the last step
        self._by_itself = False  # whether the row in the batch is such a one

    @contextmanager
    def answering(self, rows: Sequence[Row]) -> Iterator[Waiting]:
        """Have rows decoded in the enclosed block; what is not finished then is dropped."""
        ticket = _Ticket(rows)
        with self._mutex:
            self._tickets.append(ticket)

        def wait(ready: Callable[[], bool]) -> None:
            gone = giving_up()
            with gone.waking(ticket.turn.set) if gone else nullcontext():
                self._wait(ticket, lambda: ready() or (gone is not None and gone.given_up))
            credit(ticket.spent)
            ticket.spent = {}
            if not ready():
                raise GivenUpError

        try:
            yield wait
        finally:
            self._withdraw(ticket)

    def _wait(self, ticket: _Ticket, ready: Callable[[], bool]) -> None:
        """Decode, or let others decode, until a caller has what it needs."""
        ticket.ready = ready
        with self._mutex:
            self._waiting.append(ticket)
        try:
            while not ready():
                ticket.turn.clear()
                if self._take_seat():
                    try:
                        self._decode_until(ready)
                    finally:
                        self._decoding = False
                elif not ready():
                    ticket.turn.wait()
        finally:
            ticket.ready = None
            with self._mutex:
                self._waiting.remove(ticket)
                if not self._decoding and self._waiting:
                    self._waiting[0].turn.set()  # to go on

    def _take_seat(self) -> bool:
        """Become the one who decodes, unless somebody is."""
        with self._mutex:
            taken, self._decoding = self._decoding, True
        return not taken

    def _decode_until(self, ready: Callable[[], bool]) -> None:
        """Decode until a caller has what it needs, or others want the model."""
        with self._lock.hold():
            try:
                while not ready():
                    self._advance()
                    if self._lock.wanted:
                        break
            finally:
                self._batch.leave()

    def _advance(self) -> None:
        """Let rows join, or decode a token of each row; in turn where there is both to do."""
        stopwatch = Stopwatch()
        with stopwatch.running():
            self._batch.drop_finished()  # what has been withdrawn
            joining = [] if self._joined else self._next_rows()
            working = joining or list(self._batch.rows)
            try:
                if joining:
                    self._batch.admit(joining)
                else:
                    self._batch.step()
            except BaseException as error:
                self._set_apart(joining or self._batch.clear(), error)
                if not isinstance(error, Exception):
                    raise
        self._joined = bool(joining)
        self._tell(working, stopwatch)

    def _next_rows(self) -> list[Row]:
        """Rows that may join now: one of each caller in turn, as long as there is room."""
        running = self._batch.rows
        while self._suspects and self._suspects[0].finished:  # its caller has gone
            self._suspects.popleft()
        if running and (self._suspects or self._by_itself):
            return []
        self._by_itself = bool(self._suspects)
        if self._by_itself:
            return [self._suspects.popleft()]
        joining: list[Row] = []
        # Where a layer counts columns, rows that are read together would have holes in them.
        most = MOST_ROWS if self._base.splits else 1
        with self._mutex:
            while (
                len(joining) < most
                and self._tickets
                and self._has_room([*running, *joining, self._tickets[0].queue[0]])
            ):
                ticket = self._tickets.popleft()
                joining.append(ticket.queue.popleft())
                if ticket.queue:
                    self._tickets.append(ticket)
        return [row for row in joining if not row.finished]

    def _has_room(self, rows: Sequence[Row]) -> bool:
        """Whether so many rows may be decoded at once; one always may."""
        size = len(rows) * max(row.most_tokens for row in rows) * self._base.token_bytes
        return len(rows) == 1 or (len(rows) <= MOST_ROWS and size <= self._base.room * SHARE)

    def _set_apart(self, rows: Sequence[Row], error: BaseException) -> None:
        """Find out whose fault an error is: rows go on one by one, and what fails alone has."""
        going = [row for row in rows if not row.finished]
        if len(going) == 1 and isinstance(error, Exception):
            going[0].error = error
        else:
            self._suspects.extend(going)

    def _tell(self, working: Sequence[Row], stopwatch: Stopwatch) -> None:
        """Wake those who have what they need, and note what each has had of a step."""
        with self._mutex:
            for ticket in self._waiting:
                share = sum(row in working for row in ticket.rows) / max(1, len(working))
                for name, seconds in stopwatch.steps.items():
                    ticket.spent[name] = ticket.spent.get(name, 0.0) + share * seconds
                if ticket.ready is not None and ticket.ready():
                    ticket.turn.set()

    def _withdraw(self, ticket: _Ticket) -> None:
        """Let go of a caller's rows: at once, or before the next step if one is under way."""
        for row in ticket.rows:
            row.withdrawn = True
        # Not waiting for it: the garbage collector may call this in the midst of anything.
        if self._mutex.acquire(blocking=False):
            try:
                if ticket in self._tickets:
                    self._tickets.remove(ticket)
                if not self._decoding:
                    self._batch.drop_finished()
            finally:
                self._mutex.release()
