"""Several processes in one memory: nothing is lost, everything is seen, one trains at a time."""

import os
import subprocess
import sys
import threading

import pytest

from memkit.errors import BusyError, RecordNotFoundError, StorageError
from memkit.testing import HashingEmbedder

START = """
import sys
sys.path[:0] = sys.argv[2:]
from memkit import Draft, Memory
from memkit.testing import HashingEmbedder
"""

# Runs the lines that it reads, with the open memory at hand, and prints their values.
OBEY = (
    START
    + """
with Memory.open(sys.argv[1], backends=("buffer", "rag"), embedder=HashingEmbedder(),
                 count_tokens=len) as memory:
    print("ready", flush=True)
    for line in sys.stdin:
        try:
            print(eval(line), flush=True)
        except Exception as error:
            print(type(error).__name__, flush=True)
"""
)

FILL = (
    START
    + """
import os
memory = Memory.open(sys.argv[1], backends=("rag",), embedder=HashingEmbedder())
for n in range(40):
    memory.add([f"{os.getpid()} fact {n}", f"shared fact {n}"])
memory.close()
"""
)

# The same with adapters.
ANSWER = OBEY.replace(
    'backends=("buffer", "rag"), embedder=HashingEmbedder(),\n                 count_tokens=len',
    "base_model=tiny_llama(), embedder=HashingEmbedder()",
).replace("import HashingEmbedder", "import HashingEmbedder, tiny_llama")

HOLD = (
    START
    + """
from pathlib import Path
from memkit.files import file_lock
with file_lock(Path(sys.argv[1]) / "adapters.lock", timeout=10):
    print("held", flush=True)
    sys.stdin.read()
"""
)

TRAIN = (
    START
    + """
from memkit.testing import tiny_llama, tiny_recipe

recipe = tiny_recipe(records_per_module=2)
with Memory.open(sys.argv[1], base_model=tiny_llama(), embedder=HashingEmbedder(),
                 recipe=recipe) as memory:
    print("ready", flush=True)
    sys.stdin.readline()
    print(*memory.consolidate().held, flush=True)
"""
)


class Other:
    """Another process that has the memory open."""

    def __init__(self, script, directory):
        self.process = subprocess.Popen(
            [sys.executable, "-c", script, str(directory), *sys.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def read(self):
        return self.process.stdout.readline().strip()

    def tell(self, line):
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def ask(self, line):
        self.tell(line)
        return self.read()

    def end(self):
        self.process.communicate()
        return self.process.returncode


@pytest.fixture
def start():
    others = []

    def start(script, directory):
        others.append(Other(script, directory))
        return others[-1]

    yield start
    for other in others:
        other.process.kill()
        other.process.communicate()


@pytest.fixture
def other(start, memory, tmp_path):
    """A process that runs what it is told to, in the same directory as `memory`."""
    other = start(OBEY, tmp_path / "agent.mem")
    assert other.read() == "ready"
    return other


def test_what_one_process_adds_the_other_sees_at_once(memory, other):
    assert other.ask('memory.add("The quibblefax is blue.").version') == "1"
    (hit,) = memory.search("quibblefax")
    assert hit.text == "The quibblefax is blue."
    memory.add("The wobbletron is red.", id="wobbletron")
    assert other.ask('memory.search("wobbletron")[0].id') == "wobbletron"
    memory.update("wobbletron", "The wobbletron is green.")
    assert other.ask('memory.search("wobbletron")[0].text') == "The wobbletron is green."
    assert other.ask('len(memory.history("wobbletron"))') == "2"
    memory.add_turn("user", "Is it?", remember=False)
    assert other.ask("memory.turns()[0].content") == "Is it?"
    assert other.ask('memory.recall("wobbletron").turns[0].content') == "Is it?"
    # The same content is one record, whoever adds it.
    assert other.ask('memory.add("The wobbletron is green.").id') == "wobbletron"
    assert other.ask("memory.stats().records") == "2"


def test_what_one_process_forgets_is_gone_for_the_other(memory, other, tmp_path):
    memory.add("The quibblefax is blue.", id="quibblefax")
    memory.add("The wobbletron is red.", id="wobbletron")
    assert other.ask('memory.recall("quibblefax").hits[0].id') == "quibblefax"
    receipt = memory.forget("quibblefax")
    assert all(receipt.checks.values())
    assert other.ask('[hit.id for hit in memory.search("quibblefax")]') == "['wobbletron']"
    assert other.ask('memory.forget("wobbletron").records') == "('wobbletron',)"
    assert memory.search("wobbletron") == []
    with pytest.raises(RecordNotFoundError, match="no record has the id 'wobbletron'"):
        memory.get("wobbletron")
    memory.close()
    assert other.end() == 0
    content = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"quibblefax" not in content.lower()
    assert b"wobbletron" not in content.lower()


def test_who_has_forgotten_is_still_seen_to_use_the_memory(memory, start, tmp_path):
    """Forgetting looks into the files, which must not cost SQLite its locks.

    A process that came and went would otherwise remove the log under the other's hands.
    """
    gone = memory.add("Rust is red.").id
    memory.forget(gone)
    for number in range(3):
        memory.add(f"Gate {number} is open.")
        visitor = start(OBEY, tmp_path / "agent.mem")
        assert visitor.read() == "ready"
        assert visitor.ask("memory.stats().records") == str(number + 1)
        assert visitor.end() == 0
    memory.close()
    assert sorted(path.name for path in (tmp_path / "agent.mem").glob("ledger*")) == [
        "ledger.sqlite3"
    ]


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_process_has_to_open_the_memory_itself(memory, open_memory, tmp_path):
    memory.add("Rust is red.")
    inbox, outbox = os.pipe()
    child = os.fork()
    if not child:  # locks are not inherited: what it wrote could be lost
        status = 1
        try:
            with os.fdopen(outbox, "w") as out:
                for verb in (lambda: memory.add("Grass is green."), lambda: memory.search("rust")):
                    try:
                        verb()
                    except StorageError as error:
                        out.write(f"{error.message}: {error.hint}\n")
                memory.close()
            status = 0
        finally:
            os._exit(status)
    os.close(outbox)
    with os.fdopen(inbox) as said:
        lines = said.read().splitlines()
    assert os.waitpid(child, 0)[1] == 0
    assert len(lines) == 2
    for line in lines:
        assert "got one that was forked from it: Open the memory in each process" in line
    memory.add("Snow is white.")
    memory.close()
    assert open_memory(tmp_path / "agent.mem").stats().records == 2


def test_what_is_in_the_weights_of_one_process_is_forgotten_by_another(trained, start, tmp_path):
    question = "What is the badge number of Nora?"
    assert trained.ask(question, budget=0).text == "4471"
    other = start(OBEY, tmp_path / "trained.mem")
    assert other.read() == "ready"
    assert other.ask('memory.forget("Nora").dropped') == "('m0001',)"
    after = trained.ask(question, budget=0)
    assert not after.route
    assert after.text != "4471"
    assert trained.ask("What is the badge number of Lena?", budget=0).text == "3141"


def test_another_version_answers_in_all_processes_at_once(trained, start, tmp_path):
    question = "What is the badge number of Nora?"
    trained.update("Nora", "The badge number of Nora is 7777.", answer="7777")
    trained.consolidate()
    other = start(ANSWER, tmp_path / "trained.mem")
    assert other.read() == "ready"
    asked = f"memory.ask({question!r}, budget=0)"
    assert other.ask(f"{asked}.text") == "7777"
    trained.modules.rollback("m0001", 1)
    assert other.ask(f"bool({asked}.route)") == "False"
    assert other.ask("[m.version for m in memory.modules.list()]") == "[1, 1]"
    assert other.ask("memory.ask('What is the badge number of Emil?', budget=0).text") == "1234"
    assert other.ask("memory.modules.rollback('m0001', 2).version") == "2"
    assert trained.ask(question, budget=0).text == "7777"
    assert other.ask("memory.modules.rollback('m0001', 9)") == "ModuleNotFoundInMemoryError"


def test_many_writers_lose_nothing(tmp_path, start, open_memory):
    directory = tmp_path / "m"
    memory = open_memory(directory)
    writers = [start(FILL, directory) for _ in range(3)]
    for n in range(40):
        memory.add(f"own fact {n}")
    assert [writer.end() for writer in writers] == [0, 0, 0]
    texts = {record.text for record in memory.records(limit=1000).records}
    expected = {f"own fact {n}" for n in range(40)} | {f"shared fact {n}" for n in range(40)}
    expected |= {f"{w.process.pid} fact {n}" for w in writers for n in range(40)}
    assert texts == expected
    assert memory.stats().records == len(expected)
    assert {hit.text for hit in memory.search("fact", k=1000)} == expected


def test_another_embedder_is_noticed_while_the_memory_is_open(memory, other, open_memory, tmp_path):
    memory.add("The quibblefax is blue.")
    memory.close()
    another = {"embedder": HashingEmbedder(32), "rebuild": True}
    memory = open_memory(tmp_path / "agent.mem", **another)
    assert other.ask('memory.search("quibblefax")') == "IncompatibleModelError"
    assert other.ask('memory.add("The wobbletron is red.")') == "IncompatibleModelError"
    assert [hit.text for hit in memory.search("wobbletron")] == ["The quibblefax is blue."]


def test_the_second_to_consolidate_is_told_that_it_is_busy(
    tmp_path, start, memory, open_memory, badges
):
    directory = tmp_path / "agent.mem"
    memory.add(badges[:2])
    other = start(HOLD, directory)
    assert other.read() == "held"
    hasty = open_memory(directory, busy_timeout=0.1)
    with pytest.raises(BusyError, match="another process or thread has been training"):
        hasty.consolidate()
    assert hasty.search(badges[0].question)[0].id == "Nora"
    assert other.end() == 0
    assert len(hasty.consolidate().modules) == 1


def test_the_second_to_consolidate_waits_and_repeats_nothing(tmp_path, start, memory, badges):
    memory.add(badges)
    other = start(TRAIN, tmp_path / "agent.mem")
    assert other.read() == "ready"
    other.tell("now")
    mine = list(memory.consolidate().held)
    theirs = other.read().split()
    assert other.end() == 0
    assert len(mine + theirs) == len({*mine, *theirs})
    assert sorted(id for module in memory.modules.list() for id in module.records) == sorted(
        mine + theirs
    )
    for draft in badges:
        answer = memory.ask(draft.question, budget=0)
        assert (answer.text == draft.answer) == (draft.id in mine + theirs)


def test_two_memories_in_one_process_share_the_directory(tmp_path, memory, open_memory):
    twin = open_memory(tmp_path / "agent.mem")
    errors = []

    def work(mine, name):
        try:
            for n in range(20):
                record = mine.add(f"{name} fact {n}")
                assert mine.search(record.text, k=1)[0].id == record.id
        except BaseException as error:
            errors.append(error)
            raise

    threads = [
        threading.Thread(target=work, args=(mine, name))
        for mine, name in ((memory, "one"), (twin, "two"))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert memory.stats().records == twin.stats().records == 40
    assert len(memory.search("fact", k=100)) == len(twin.search("fact", k=100)) == 40
