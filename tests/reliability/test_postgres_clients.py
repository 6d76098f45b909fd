"""Many clients of one memory on a PostgreSQL server, some of them with clocks that are wrong."""

import json
import subprocess
import sys
import time
from collections import Counter
from datetime import timedelta

import pytest

from memkit.ledger.engine.postgres import server_clock
from memkit.ledger.engine.postgres.server_clock import ServerClock
from memkit.ledger.items import NewItem
from memkit.memory.check import check

CLIENTS, STEPS, SHARED = 8, 20, 5
DAY = 86_400.0


# -- at once

# Importing takes longer than the work: one process does that, and forks the clients.
MIX = """
import sys
place, cache, clients, steps, shared, *sys.path[:0] = sys.argv[1:]
import json, os, random
import memkit.memory.engine, memkit.rag.rag_backend, memkit.rag.vectors.synced_index
from memkit import Memory, RecordNotFoundError
from memkit.testing import HashingEmbedder

def work(client):
    os.environ["XDG_CACHE_HOME"] = f"{cache}/{client % 4}"  # two clients to a machine
    chance = random.Random(client)
    own, gone, doomed = {}, [], 0
    with Memory.open(place, backends=("buffer", "rag"), embedder=HashingEmbedder(),
                     base_model=None, count_tokens=len) as memory:
        for n in range(int(steps)):
            text = f"{client} says c{client}n{n}"
            own[memory.add(text).id] = text
            memory.add([f"all say {n % int(shared)}", f"{client} is in step {n}"])
            memory.update("board", f"{client} wrote {n}")
            id = chance.choice(list(own))
            if n % 2:
                own[id] = memory.update(id, f"{own[id]}, and again").text
            elif n % 4 == 0:
                memory.forget(id)
                gone.append(own.pop(id))
            if n < int(shared):
                try:
                    doomed += len(memory.forget(f"doomed {n}").records)
                except RecordNotFoundError:
                    pass
            id = chance.choice(list(own)) if own else None
            assert id is None or memory.search(own[id], k=1)[0].text == own[id]
    line = json.dumps({"client": client, "own": own, "gone": gone, "doomed": doomed}) + "\\n"
    os.write(1, line.encode())

for client in range(int(clients)):
    if not os.fork():
        try:
            work(client)
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
codes = [os.waitstatus_to_exitcode(os.wait()[1]) for _ in range(int(clients))]
sys.exit(max(codes))
"""


@pytest.mark.engines("postgresql")
def test_eight_clients_lose_nothing_and_double_nothing(place, open_memory, tmp_path):
    memory = open_memory(place, backends=("buffer", "rag"), base_model=None, count_tokens=len)
    memory.add("nobody has written yet", id="board")
    for n in range(SHARED):
        memory.add(f"this will be forgotten: {n}", id=f"doomed {n}")
    numbers = map(str, (CLIENTS, STEPS, SHARED))
    done = subprocess.run(
        [sys.executable, "-c", MIX, place, str(tmp_path), *numbers, *sys.path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert sorted(each["client"] for each in said) == list(range(CLIENTS))

    own = {id: text for each in said for id, text in each["own"].items()}
    steps = [f"{client} is in step {n}" for client in range(CLIENTS) for n in range(STEPS)]
    common = [f"all say {n}" for n in range(SHARED)]
    stored = {record.id: record.text for record in memory}
    board = stored.pop("board")
    assert Counter(stored.values()) == Counter([*own.values(), *steps, *common])
    assert own.items() <= stored.items()
    assert sum(each["doomed"] for each in said) == SHARED  # each was forgotten by one of them

    # Each update became a version, none was written over unseen.
    texts = [version.text for version in memory.history("board")]
    written = [f"{client} wrote {n}" for client in range(CLIENTS) for n in range(STEPS)]
    assert sorted(texts) == sorted([*written, "nobody has written yet"])
    assert board in written

    assert len(memory.search("says again", k=10_000)) == memory.count()
    assert all(memory.search(text, k=1)[0].text == text for text in own.values())
    assert not any(text in stored.values() for each in said for text in each["gone"])
    assert check(place).sound


# -- clocks


@pytest.fixture
def clients(place, open_memory, monkeypatch):
    """Three clients of one memory: one clock is right, one a day ahead, and one a day behind."""
    right = time.time
    memories = []
    for wrong in (0.0, DAY, -DAY):
        with monkeypatch.context() as patch:
            patch.setattr(time, "time", lambda wrong=wrong: right() + wrong)
            memories.append(
                open_memory(place, backends=("buffer", "rag"), base_model=None, count_tokens=len)
            )
    return memories


@pytest.mark.engines("postgresql")
def test_clients_agree_on_what_has_expired_whatever_their_clocks_say(clients):
    for n, memory in enumerate(clients):
        memory.add(f"for an hour {n}", ttl=timedelta(hours=1))
        memory.items.write([NewItem(("a",), str(n), {}, ttl=3600)])
    brief = [memory.add(f"for a moment {n}", ttl=4) for n, memory in enumerate(clients)]
    lasting = {f"for an hour {n}" for n in range(3)}
    for memory in clients:
        assert {record.text for record in memory} == lasting | {record.text for record in brief}
    time.sleep(5.1)  # they agree within a second
    for memory in clients:
        assert {record.text for record in memory} == lasting
        assert {hit.text for hit in memory.search("for an hour", k=9)} == lasting
    ahead = clients[1]
    assert set(ahead.retention.sweep().records) == {record.id for record in brief}
    for memory in clients:
        assert {record.text for record in memory} == lasting
        assert memory.items.count() == 3
    dates = [record.created_at for record in clients[0]]
    assert max(dates) - min(dates) < timedelta(minutes=1)


def test_the_server_decides_where_clocks_disagree(monkeypatch):
    here = [1000.0]
    monkeypatch.setattr(server_clock.time, "time", lambda: here[0])
    clock = ServerClock(1000.4)
    assert clock() == 1000.0  # they agree, and what was stored here is not older than here's time
    clock.told(5000.0)  # they do not
    here[0] += 10
    assert clock() == 5010.0
    clock.told(5009.5)  # an answer that was on its way for a while
    assert clock() == 5010.0
    here[0] += 4000.0  # this machine's clock was put right
    clock.told(5010.1)
    assert clock() == here[0]
