"""Adapters of a memory on a PostgreSQL server: rows there, copies on each machine that uses them.

A machine is a cache folder: two of them never share a file.
"""

import hashlib
import shutil
import signal
import subprocess
import sys
from contextlib import closing

import pytest

from memkit.errors import BusyError, CorruptFileError, StorageError
from memkit.ledger.engine.locks import adapters_lock

NORA = "What is the badge number of Nora?"  # held by m0001
LENA = "What is the badge number of Lena?"  # held by m0002

pytestmark = pytest.mark.engines("postgresql")


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Goes to another machine, which keeps what it had; gives the copies of weights there."""

    def go(name):
        folder = tmp_path / name
        monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
        return lambda: sorted(folder.rglob("adapters/*.bank"))

    return go


@pytest.fixture
def weights(postgres):
    """Reads the weights that the server has: bytes by path, without memkit's help."""

    def read():
        files = {}
        for path, data in postgres.execute(
            "SELECT path, data FROM weights ORDER BY path, piece", "memkit"
        ):
            files[path] = files.get(path, b"") + bytes(data)
        return files

    return read


def test_weights_are_rows_with_the_checksum_that_the_ledger_has(trained, weights, postgres):
    digests = dict(postgres.execute("SELECT file, digest FROM module_versions", "memkit"))
    stored = weights()
    assert len(digests) == 2
    assert stored.keys() == digests.keys()
    for path, content in stored.items():
        assert hashlib.sha256(content[4096:]).hexdigest() == digests[path]  # behind a page of head


def test_another_machine_answers_from_the_same_weights_and_keeps_a_copy(
    trained_place, open_memory, machine
):
    here = machine("here")
    assert open_memory(trained_place).ask(NORA, budget=0).text == "4471"
    there = machine("there")
    memory = open_memory(trained_place)
    assert there() == []
    assert memory.ask(NORA, budget=0).text == "4471"
    (copy,) = there()
    assert copy.name == here()[0].name
    assert copy.read_bytes() == here()[0].read_bytes()
    assert copy.stat().st_mode & 0o077 == 0


def test_both_machines_train_and_see_what_the_other_has_trained(
    memory, place, open_memory, machine, badges
):
    memory.add(badges[:4])
    assert len(memory.consolidate().held) == 4
    machine("there")
    other = open_memory(place)
    assert other.consolidate().modules == ()
    other.add(badges[4:])
    assert len(other.consolidate().held) == 4
    assert [module.name for module in memory.modules.list()] == ["m0001", "m0002"]
    assert memory.ask(LENA, budget=0).text == "3141"


def test_two_machines_do_not_train_at_once(trained, place, open_memory, machine):
    machine("there")
    other = open_memory(place, busy_timeout=0.1)
    other.add("The badge number of Zoe is 7070.")
    with (
        adapters_lock(trained._engine.ledger, timeout=0),
        pytest.raises(BusyError, match=r"training this memory's adapters for 0\.1 s"),
    ):
        other.consolidate()
    with adapters_lock(other._engine.ledger, timeout=0):  # it is free again
        pass


def test_a_run_that_has_lost_its_lock_stores_nothing(memory, postgres, badges, monkeypatch):
    memory.add(badges[:1])
    lora = memory._engine.lora
    row = lora.row

    def cut(*arguments):
        postgres.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
        )
        return row(*arguments)

    monkeypatch.setattr(lora, "row", cut)
    with pytest.raises(StorageError, match="connection that held the lock 'adapters'"):
        memory.consolidate()
    assert memory.modules.list() == []
    monkeypatch.undo()
    assert memory.consolidate().held == ("Nora",)


# -- forgetting


def test_what_is_forgotten_is_gone_from_the_server_and_from_this_machine(
    trained, weights, machine, place, open_memory
):
    here = machine("here")
    memory = open_memory(place)
    memory.ask(NORA, budget=0)
    (copy,) = here()
    (gone,) = (name for name in weights() if copy.stem in name)
    lost = weights()[gone]
    receipt = memory.forget("Nora")
    assert all(receipt.checks.values())
    assert receipt.retrained == ("m0001 v2",)
    assert gone in receipt.files
    assert "index and adapter files of other machines, until they open or close it" in (
        receipt.remains
    )
    assert copy not in here()
    assert gone not in weights()
    assert lost not in weights().values()
    assert "4471" not in memory.ask(NORA, budget=0).text


@pytest.mark.parametrize("moment", ["open", "close", "ask"])
def test_a_machine_that_was_away_destroys_its_copy(trained_place, open_memory, machine, moment):
    there = machine("there")
    away = open_memory(trained_place)
    away.ask(NORA, budget=0)
    (copy,) = there()
    if moment == "open":
        away.close()
    machine("here")
    open_memory(trained_place).forget("Nora", retrain=False)
    assert copy.exists()
    machine("there")
    if moment == "open":
        open_memory(trained_place)
    elif moment == "close":
        away.close()
    else:
        away.ask(LENA, budget=0)
    assert not copy.exists()


def test_an_update_and_a_rollback_work_as_in_a_directory(trained, weights):
    trained.update("Nora", "The badge number of Nora is 7777.", answer="7777")
    assert "Nora" in trained.consolidate().held
    assert trained.ask(NORA, budget=0).text == "7777"
    assert len(weights()) == 3
    assert trained.modules.rollback("m0001", 1).version == 1
    assert not trained.ask(NORA, budget=0).route  # the old text is not hers any more
    trained.modules.rollback("m0001", 2)
    assert trained.ask(NORA, budget=0).text == "7777"
    trained.forget_all()
    assert weights() == {}
    assert not trained._engine.ledger.destruction_pending


# -- damage


def test_a_damaged_copy_is_made_again(trained_place, open_memory, machine):
    here = machine("here")
    with closing(open_memory(trained_place)) as memory:
        memory.ask(NORA, budget=0)
    (copy,) = here()
    whole = copy.read_bytes()
    copy.write_bytes(whole[:5000] + bytes(len(whole) - 5000))
    assert open_memory(trained_place).ask(NORA, budget=0).text == "4471"
    assert copy.read_bytes() == whole


def test_weights_that_are_damaged_on_the_server_are_dropped_and_trained_again(trained, postgres):
    postgres.execute(
        "UPDATE weights SET data = set_byte(data, 9, 255 - get_byte(data, 9)) WHERE piece = 1",
        "memkit",
    )
    with pytest.raises(CorruptFileError, match="m0001 was dropped"):
        trained.ask(NORA, budget=0)
    assert "4471" in trained.recall(NORA).text  # rag answers
    assert "Nora" in trained.consolidate().held
    assert trained.ask(NORA, budget=0).text == "4471"


def test_weights_that_are_missing_are_noticed_when_it_is_opened(
    trained_place, open_memory, postgres
):
    postgres.execute("DELETE FROM weights", "memkit")
    memory = open_memory(trained_place)
    assert memory.modules.list() == []
    assert memory.search(NORA)[0].id == "Nora"


# -- moving


def check_moved(source, target, path):
    """Move all of a memory with modules m0001 and m0002 into an empty one."""
    source.export(path, adapters=True)
    report = target.import_(path, adapters=True)
    assert (report.records, report.modules) == (8, 2)
    assert target.stats().held == 8
    assert target.ask(NORA, budget=0).text == "4471"
    for module in source.modules.list():
        files = [memory._engine.ledger.modules.file(module.name) for memory in (source, target)]
        assert files[1].digest == files[0].digest  # the same weights to the last byte


def test_adapters_move_from_a_server_into_a_directory(trained, tmp_path, open_memory):
    check_moved(trained, open_memory(tmp_path / "new.mem"), tmp_path / "all.zst")


def test_adapters_move_from_a_directory_to_a_server(
    trained_directory, tmp_path, place, open_memory
):
    shutil.copytree(trained_directory, tmp_path / "local.mem")
    check_moved(open_memory(tmp_path / "local.mem"), open_memory(place), tmp_path / "all.zst")


# -- kills

TRAIN = """
import sys
sys.path[:0] = sys.argv[2:]
from memkit import Memory
from memkit.testing import HashingEmbedder, tiny_llama, tiny_recipe

memory = Memory.open(sys.argv[1], base_model=tiny_llama(), embedder=HashingEmbedder(),
                     recipe=tiny_recipe(records_per_module=1))
print("open", flush=True)
memory.consolidate()
"""


def test_a_client_that_is_killed_while_it_trains_leaves_what_was_done_and_no_lock(
    memory, place, badges, weights, postgres
):
    memory.add(badges[:3])
    with subprocess.Popen(
        [sys.executable, "-c", TRAIN, place, *sys.path], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "open\n"
        while not weights():  # the first of three modules is committed
            assert process.poll() is None
        process.send_signal(signal.SIGKILL)
    named = {path for (path,) in postgres.execute("SELECT file FROM module_versions", "memkit")}
    assert weights().keys() == named
    assert 1 <= len(named) < 3
    held = set(memory.consolidate().held)  # nobody holds the lock
    assert len(held) == 3 - len(named)
    assert memory.stats().held == 3
    assert memory.ask(NORA, budget=0).text == "4471"
