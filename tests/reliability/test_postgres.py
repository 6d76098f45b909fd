"""A memory on a PostgreSQL server: the same finds, moves, kills, restarts and other clients."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing
from datetime import timedelta

import pytest
from archives import lines
from postgres_server import PostgresServer

from memkit import Draft, Memory
from memkit.errors import (
    BackendError,
    BusyError,
    ConnectionLostError,
    DirectoryChangedError,
    FormatVersionError,
    IncompatibleModelError,
    InvalidInputError,
    NotAMemoryError,
    ReadOnlyError,
    StorageError,
)
from memkit.ledger import Ledger
from memkit.ledger.engine.checksums import CHECKED
from memkit.ledger.engine.schema import current_version
from memkit.ledger.items import NewItem
from memkit.memory.check import check
from memkit.testing import HashingEmbedder
from memkit.types import ALWAYS, Query

ANN, BOB = {"user": "ann"}, {"user": "bob"}
WORDS = (
    "analogy analogies archive badge badges canteen closing door floor flexibly library lies "
    "locker locking meeting Mühle noon opens porter 東京 running the Ёлка"
).split()


@pytest.fixture
def server(postgres, tmp_path, monkeypatch):
    """The server; what is derived from its memories lies in a folder of this test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return postgres


@pytest.fixture
def opened(open_memory):
    """Opens memories without a language model."""
    return lambda place, **options: open_memory(
        place, backends=("buffer", "rag"), base_model=None, count_tokens=len, **options
    )


def texts():
    """Texts of a few words, some of them long, some the same but for an ending."""
    for n in range(120):
        yield " ".join(WORDS[(n * step) % len(WORDS)] for step in range(1, 2 + n % 9)) + f" {n}"


# -- both engines find the same


@pytest.fixture
def both(server, opened, tmp_path):
    """The same memory in a directory and on the server, id for id."""
    local, remote = opened(tmp_path / "m"), opened(server.empty())
    drafts = [
        Draft(text, scope=[{}, ANN, BOB][n % 3], metadata={"n": n, "tags": [n % 5]}, id=f"r{n}")
        for n, text in enumerate(texts())
    ]
    for memory in (local, remote):
        memory.add(drafts)
    return local, remote


@pytest.mark.parametrize("scope", [{}, ANN, BOB])
@pytest.mark.parametrize("where", [None, {"n": {"$lt": 60}}, {"tags": 3}])
def test_both_engines_rank_alike_with_the_same_scores(both, scope, where):
    found = 0
    for query in (*WORDS, "closed doors of libraries", "Which badge?", "meetings at noon"):
        local, remote = (memory.search(query, k=30, scope=scope, where=where) for memory in both)
        assert [hit.id for hit in remote] == [hit.id for hit in local]
        for one, other in zip(local, remote, strict=True):
            assert other.parts == pytest.approx(one.parts, rel=1e-6)
        found += len(local)
    assert found


def test_words_alone_are_scored_alike(both):
    for query in WORDS:
        local, remote = (
            memory._engine.ledger.passages.lexical(query, k=99, visible_to=ANN, where=None)
            for memory in both
        )
        assert [key for key, _ in remote] == [key for key, _ in local]
        assert [score for _, score in remote] == pytest.approx([score for _, score in local])


def test_the_lexicon_counts_alike(both):
    bounds = {"limit": 20, "visible_to": ANN, "where": None, "period": ALWAYS}
    local, remote = (memory._engine.ledger.lexicon.having(WORDS, **bounds) for memory in both)
    assert remote == local
    assert any(local.values())


# -- moving


@pytest.fixture
def full(request, opened):
    """Fills a memory with some of everything."""

    def fill(place):
        memory = opened(place)
        memory.retention.set_ttl(ANN, timedelta(days=90))
        memory.add("The canteen opens at noon.", metadata={"floor": 1, "tags": ["a", None, 1.5]})
        record = memory.add("Ann's code is 8812.", question="Which?", answer="8812", scope=ANN)
        memory.update(record.id, "Ann's code is 9001.", answer="9001", scope=ANN)
        memory.add("Bob likes tea. ☕\n\u2028", scope=BOB, key="drink", pinned=True)
        memory.add("Gone tomorrow.", scope=BOB, ttl=86_400)
        memory.add_turn("user", "I move to room 12.", scope=ANN)
        memory.add_turn("system", "Be brief.", scope=ANN, remember=False)
        memory.items.write([NewItem(("a", "b"), "k", {"x": [1, "é"]}, [[0.6, 0.8]], scope=BOB)])
        return memory

    return fill


@pytest.mark.parametrize("to_server", [True, False])
def test_a_memory_moves_from_one_engine_to_the_other_and_nothing_changes(
    server, full, opened, tmp_path, to_server
):
    places = [tmp_path / "m", server.empty()]
    first, second = places if to_server else places[::-1]
    source = full(first)
    source.export(tmp_path / "one.zst")
    target = opened(second)
    report = target.import_(tmp_path / "one.zst")
    assert (report.records, report.versions, report.turns, report.items) == (5, 1, 2, 1)
    target.export(tmp_path / "two.zst")
    assert lines(tmp_path / "two.zst")[1:-1] == lines(tmp_path / "one.zst")[1:-1]
    assert target.search("tea", scope=BOB)[0].record == source.search("tea", scope=BOB)[0].record


# -- forgetting


def test_what_is_forgotten_is_in_no_row_and_no_file_and_the_receipt_says_what_may_be_left(
    server, opened, tmp_path
):
    place = server.empty()
    memory = opened(place)
    secret = memory.add("Xqzvrk is the password.", question="Which?", answer="Xqzvrk")
    memory.update(secret.id, "Xqzvrk was the password.", answer="Xqzvrk")
    memory.add("Something else.")
    memory.close()  # writes the index file
    memory = opened(place)
    receipt = memory.forget(secret.id)
    assert all(receipt.checks.values())
    assert "no file holds their texts here" in receipt.checks
    assert len(receipt.remains) == 4
    assert "may be left in      the server's write-ahead log, until it is recycled" in str(receipt)
    dumped = {
        name: server.execute(f"SELECT * FROM {name}", "memkit")
        for (name,) in server.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'memkit'")
    }
    assert "xqzvrk" not in repr(dumped).lower()
    assert len(dumped["vectors"]) == 1
    assert memory.search("password") == [] or memory.search("password")[0].id != secret.id


def test_a_machine_that_was_away_destroys_its_copies_when_it_opens_the_memory(
    server, opened, tmp_path, monkeypatch
):
    place = server.empty()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "away"))
    memory = opened(place)
    gone, _ = memory.add(["the first text", "the second text"])
    piece = memory.vectors.get([gone.id])[gone.id][0].astype("<f4").tobytes()
    memory.close()

    def copies():
        files = (tmp_path / "away").rglob("*.faiss")
        return [path for path in files if piece in path.read_bytes()]

    assert copies()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "here"))
    opened(place).forget(gone.id)
    assert copies()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "away"))
    assert [hit.text for hit in opened(place).search("text")] == ["the second text"]
    assert not copies()


# -- kills, restarts and lost connections

START = """
import sys
sys.path[:0] = sys.argv[3:]
from memkit import Memory
from memkit.testing import HashingEmbedder

memory = Memory.open(sys.argv[1], backends=("buffer", "rag"), embedder=HashingEmbedder(),
                     count_tokens=len)
"""
ADD = (
    START
    + """
for n in range(10**9):
    ids = [r.id for r in memory.add([f"{sys.argv[2]} fact {n} part {part}" for part in range(3)])]
    print(n, *ids, flush=True)
"""
)
SOME = (
    START
    + """
print("ready", flush=True)
sys.stdin.readline()
for n in range(20):
    memory.add([f"{sys.argv[2]} {n}", f"common {n}"])
    assert memory.search(f"{sys.argv[2]} {n}", k=1)[0].text == f"{sys.argv[2]} {n}"
memory.close()
"""
)


def start(script, place, name):
    return subprocess.Popen(
        [sys.executable, "-c", script, place, name, *sys.path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("after", [0.0, 0.05, 0.2])
def test_what_add_acknowledged_is_found_after_the_client_was_killed(server, opened, after):
    place = server.empty()
    with start(ADD, place, "one") as process:
        first = process.stdout.readline()
        time.sleep(after)
        process.send_signal(signal.SIGKILL)
        output = first + process.stdout.read()
    acknowledged = [line.split() for line in output.splitlines(keepends=True) if line[-1] == "\n"]
    memory = opened(place)
    for n, *ids in acknowledged:
        for part, record in enumerate(map(memory.get, ids)):
            assert record.text == f"one fact {n} part {part}"
            assert record.id in {hit.id for hit in memory.search(record.text, k=10)}
    assert memory.count() - 3 * len(acknowledged) in {0, 3}  # what was in work: whole or not at all
    assert len(memory.search("fact", k=10_000)) == memory.count()


def test_two_clients_write_into_one_memory_and_find_what_they_wrote(server, opened):
    place = server.empty()
    clients = [start(SOME, place, name) for name in ("left", "right")]
    for client in clients:
        assert client.stdout.readline() == "ready\n"
    for client in clients:
        client.stdin.write("go\n")
        client.stdin.flush()
    for client in clients:
        with client:
            assert client.wait() == 0
    memory = opened(place)
    assert memory.count() == 60  # what both say is there once
    assert sorted(hit.text for hit in memory.search("left", k=20)) == sorted(
        f"left {n}" for n in range(20)
    )


def test_a_client_goes_on_after_the_server_was_killed_and_started_again(server, opened):
    memory = opened(server.empty())
    before = memory.add("The server runs.")
    server.restart()
    assert memory.get(before.id) == before  # read again on another connection
    server.restart()
    after = memory.add("The server runs again.")
    assert {hit.id for hit in memory.search("server runs")} == {before.id, after.id}


def test_a_connection_that_is_lost_in_a_transaction_stores_nothing_of_it(server):
    with closing(Ledger.open(server.empty())) as ledger:
        ledger.records.add([Draft("kept")])
        with pytest.raises(ConnectionLostError, match="nothing of this transaction was stored"):  # noqa: PT012, SIM117
            with ledger.transaction():
                ledger.records.add([Draft("lost")])
                server.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE state = 'idle in transaction'"
                )
                ledger.records.add([Draft("lost, too")])
        assert [record.text for record in ledger.records.page().records] == ["kept"]


def test_a_statement_that_is_cancelled_is_no_lost_connection(server, opened):
    memory = opened(server.empty())
    memory.add("The server runs.")
    database = memory._engine.ledger.records._database
    with pytest.raises(BackendError, match=r"a statement was cancelled on .*statement timeout"):  # noqa: PT012, SIM117
        with database.transaction():
            memory.add("Not stored.")
            database.execute("SET LOCAL statement_timeout = 20")
            database.value("SELECT 1 FROM pg_sleep(5)")
    assert [record.text for record in memory] == ["The server runs."]


def test_writers_wait_for_each_other_no_longer_than_they_were_told(server):
    place = server.empty()
    with (
        closing(Ledger.open(place)) as one,
        closing(Ledger.open(place, busy_timeout=0.1)) as other,
        one.transaction(),
    ):
        one.set_meta("colour", "red")
        with pytest.raises(BusyError, match=r"waited 0\.1 s"):
            other.set_meta("colour", "blue")
        assert other.get_meta("colour") is None  # who reads waits for nobody


def test_a_pool_without_a_free_connection_is_waited_for_no_longer_than_told(server):
    ledger = Ledger.open(server.empty())
    held, done = threading.Barrier(9), threading.Event()

    def hold():
        with ledger._database.snapshot():
            held.wait(10)
            done.wait(10)

    threads = [threading.Thread(target=hold) for _ in range(8)]
    for thread in threads:
        thread.start()
    held.wait(10)
    ledger._database.wait = 0.2
    with pytest.raises(BusyError, match="connection"):
        ledger.records.page()
    done.set()
    for thread in threads:
        thread.join()
    assert ledger.records.page().records == ()
    ledger.close()


# -- what it is opened with


def test_other_schemas_are_other_memories_and_other_tables_are_not_touched(server, opened):
    one, other = opened(server.empty("one")), opened(server.empty("other"))
    one.add("of one")
    assert other.count() == 0
    server.execute("CREATE SCHEMA IF NOT EXISTS foreigners")
    server.execute("CREATE TABLE IF NOT EXISTS foreigners.orders (id int)")
    with pytest.raises(NotAMemoryError, match=r"has the tables \['orders'\]"):
        Memory.open(server.place("foreigners"), backends=["buffer"])
    with pytest.raises(NotAMemoryError, match="there is no memory"):
        Memory.open(server.place("nothing_here"), backends=["buffer"], create=False)


def test_several_clients_may_make_a_memory_at_once(server):
    server.execute("DROP SCHEMA IF EXISTS fresh CASCADE")
    made, failed = [], []

    def make():
        try:
            made.append(Ledger.open(server.place("fresh")))
        except Exception as exc:  # noqa: BLE001 - whatever it is, the test tells
            failed.append(exc)

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert len({ledger.directory for ledger in made}) == 1
    for ledger in made:
        ledger.close()


def test_what_is_too_long_for_an_index_is_refused_by_name(server, opened):
    memory = opened(server.empty())
    key = "".join(chr(0x4E00 + (n * 7919) % 20_000) for n in range(1024))
    with pytest.raises(InvalidInputError, match="too long, with its key"):
        memory.items.write([NewItem(("a",), key, {})])
    memory.items.write([NewItem(("a",), "k" * 1024, {})])
    assert memory.items.count() == 1


def test_a_role_that_does_not_own_the_tables_forgets_and_says_what_is_pending(server, opened):
    place = server.empty()
    server.execute("DROP ROLE IF EXISTS guest")
    server.execute("CREATE ROLE guest LOGIN")
    server.execute("GRANT USAGE ON SCHEMA memkit TO guest")
    for kind in ("TABLES", "SEQUENCES"):
        server.execute(f"GRANT ALL ON ALL {kind} IN SCHEMA memkit TO guest")
    guest = opened(place.replace("//postgres:@", "//guest@"))
    receipt = guest.forget(guest.add("to be forgotten").id)
    assert receipt.checks["no record or version is left"]
    assert not receipt.checks["no file holds their texts here"]
    owner = opened(place)  # finishes it
    assert not owner._engine.ledger.destruction_pending
    server.execute("DROP OWNED BY guest")


def test_a_role_makes_a_memory_in_a_schema_that_it_was_given(server, opened):
    """It may make no schemas of its own."""
    server.execute("CREATE ROLE tenant LOGIN")
    server.execute("CREATE SCHEMA given AUTHORIZATION tenant")
    place = server.place("given").replace("//postgres:@", "//tenant@")
    with closing(opened(place)) as memory:
        assert memory.get(memory.add("kept where there was room").id)
    server.execute("DROP OWNED BY tenant")
    server.execute("DROP ROLE tenant")


def test_a_copy_on_another_server_is_not_searched_with_the_index_of_the_first(server, opened):
    """The copy has the same name, database and schema, and has had as many changes since."""
    other = PostgresServer()
    try:
        places = [server.empty(), other.empty()]
        ((same,),) = server.execute("SELECT memory FROM memory_state", "memkit")
        other.execute(f"UPDATE memory_state SET memory = '{same}'", "memkit")
        texts = ["cats purr", "dogs bark"]
        for place, said in zip(places, (texts, texts[::-1]), strict=True):
            with closing(opened(place)) as memory:
                memory.add(said)
                memory.search("cats")
        for place in places:
            with closing(opened(place)) as memory:
                facts = memory._engine.parts.indexing.facts
                ((nearest, *_),) = facts.nearest([Query("cats purr")])
                assert memory.get(nearest.record_id).text == "cats purr"
    finally:
        other.stop()


def test_a_forked_process_opens_the_memory_itself(server, opened):
    memory = opened(server.empty())
    memory.add("before the fork")
    pid = os.fork()
    if not pid:
        try:
            memory.count()
        except StorageError:
            memory.close()
            os._exit(7)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    assert memory.count() == 1


def test_a_newer_format_is_refused(server):
    place = server.place("newer")
    Ledger.open(place).close()
    server.execute("UPDATE memory_state SET format = 99", "newer")
    with pytest.raises(FormatVersionError, match="has format 99"):
        Ledger.open(place)
    server.execute("DROP SCHEMA newer CASCADE")


def test_an_older_format_is_brought_up_to_date(server, opened):
    place = server.empty("older")
    with closing(opened(place)) as memory:
        record = memory.add("written before rows had a checksum")
    for table in CHECKED:
        server.execute(f"ALTER TABLE {table} DROP COLUMN checksum", "older")
    server.execute("DROP TABLE job_records, job_parts, jobs, weights", "older")
    server.execute("DROP FUNCTION weights_released CASCADE", "older")
    server.execute("UPDATE memory_state SET format = 1", "older")
    assert opened(place).get(record.id) == record
    assert server.execute("SELECT format FROM memory_state", "older") == [(current_version(),)]
    assert check(place).sound


def test_where_only_reading_is_allowed_nothing_is_written(server, opened):
    place = server.empty()
    opened(place).add("to be read")
    reader = opened(f"{place}&options=-c%20default_transaction_read_only%3Don")
    assert reader.search("read")[0].text == "to be read"
    with pytest.raises(ReadOnlyError, match="cannot be written to"):
        reader.add("more")


@pytest.mark.parametrize(("given", "used"), [("4", "1.1"), ("1", "1")])
def test_the_planner_is_told_that_an_index_is_cheap_unless_it_knows(server, given, used):
    place = f"{server.empty()}&options=-c%20random_page_cost%3D{given}"
    with closing(Ledger.open(place)) as ledger:
        assert ledger._database.value("SELECT current_setting('random_page_cost')") == used


def test_a_schema_that_is_dropped_meanwhile_is_told(server, opened):
    memory = opened(server.place("dropped"))
    server.execute("DROP SCHEMA dropped CASCADE")
    with pytest.raises(DirectoryChangedError, match="its tables are gone"):
        memory.count()


def test_a_server_that_is_not_there_is_told_without_the_password(tmp_path):
    url = f"postgresql://ann:secret@/db?host={tmp_path}&schema=notes"
    with pytest.raises(StorageError) as caught:
        Memory.open(url, backends=["buffer"], busy_timeout=0.2)
    assert "secret" not in str(caught.value)
    assert "postgresql:///db?schema=notes" in str(caught.value)


def test_another_machine_goes_on_with_the_new_embedder(server, opened, tmp_path, monkeypatch):
    """It has an index of the vectors of the old one, with as many dimensions."""

    class Turned(HashingEmbedder):
        def __init__(self):
            super().__init__()
            self.name = "turned"

        def encode_document(self, texts):
            return -super().encode_document(texts)

    place = server.empty()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "there"))
    there = opened(place)
    there.add(["cats purr", "dogs bark"])
    there.search("cats")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "here"))
    here = opened(place)
    here.vectors.reembed(Turned())
    assert here.search("cats purr")[0].similarity == pytest.approx(1)
    with pytest.raises(IncompatibleModelError, match="made with the embedder 'turned'"):
        there.search("cats")
    there.close()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "there"))
    again = opened(place, embedder=Turned())
    assert again.search("dogs bark")[0].similarity == pytest.approx(1)
    assert again.search("dogs bark")[0].text == "dogs bark"


# -- round trips


def round_trips(memory, act):
    """How often the client waited for the server, as the protocol has it."""
    connections = list(memory._engine.ledger._database._pool._pool)
    with tempfile.TemporaryFile() as log:
        for connection in connections:
            connection.pgconn.trace(log.fileno())
        act()
        for connection in connections:
            connection.pgconn.untrace()
        log.seek(0)
        return len(re.findall(rb"\tF\t\d+\t(?:Query|Sync|Flush)\b", log.read()))


@pytest.mark.skipif(sys.platform != "linux", reason="libpq traces on Linux only")
def test_an_add_and_a_search_wait_for_the_server_no_more_often_than_needed(server, opened):
    """Each statement is a wait: an add with a fresh text has 18 of them, a search 5."""
    memory = opened(server.empty())
    for n in range(8):  # psycopg prepares a statement when it comes for the sixth time
        memory.add(f"Badge {n} opens the door.")
        memory.search(f"badge {n}")

    assert 0 < round_trips(memory, lambda: memory.add("The badge of Ann is blue.")) <= 18
    memory.search("badge of Ann")  # takes in what was added
    assert 0 < round_trips(memory, lambda: memory.search("badge of Bob")) <= 5
