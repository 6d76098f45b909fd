"""`forget`: what is erased is in no table, no file, no cache and no weight any more."""

import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import timedelta

import pytest

from memkit.errors import (
    CorruptFileError,
    DestructionPendingError,
    DiskFullError,
    InvalidInputError,
    RecordNotFoundError,
    TrainingError,
    UnsafePathError,
)
from memkit.ledger.engine.sqlite import SqliteDatabase
from memkit.lora.store.adapter_files import destroy_file, destroy_folder
from memkit.lora.store.row_file import RowFile
from memkit.lora.training.trainer import Trainer
from memkit.memory.check import check
from memkit.memory.forget import NO_TEXT, NO_VECTOR, NO_WEIGHTS
from memkit.types import Draft

NORA = "What is the badge number of Nora?"
EMIL = "What is the badge number of Emil?"
TRACES = ("Nora", " 4471")  # with its blank: four figures may be part of any checksum


def traces(directory, *texts):
    """Files that hold one of the texts, in any usual encoding, whole or lower-cased."""
    return [
        (path.name, text)
        for path in directory.rglob("*")
        if path.is_file()
        for text in texts
        for spelling in (text, text.lower())
        for encoding in ("utf-8", "utf-16-le", "utf-16-be")
        if spelling.encode(encoding) in path.read_bytes()
    ]


@pytest.fixture
def directory(tmp_path, trained):
    return tmp_path / "trained.mem"


# -- by id, with the weights


@pytest.mark.slow
def test_the_weights_are_trained_anew_without_it(trained, directory, adapters_in):
    before = adapters_in(directory)
    receipt = trained.forget("Nora")
    assert receipt.records == ("Nora",)
    assert (receipt.versions, receipt.turns) == (1, 0)
    assert (receipt.retrained, receipt.dropped, receipt.demoted) == (("m0001 v2",), (), ())
    assert set(receipt.files) == {next(iter(before)), "index/dense.faiss"}
    assert receipt.checks == {
        "no record or version is left": True,
        "no adapter was trained on them": True,
        "no file holds their texts": True,
        "no file holds their vectors": True,
        "no file holds their weights": True,
        "weights know it no better than what they never saw": True,
    }
    for line in ("forgotten records   Nora", "modules retrained   m0001 v2", "texts          yes"):
        assert line in str(receipt)
    assert traces(directory, *TRACES) == []
    after = adapters_in(directory)
    assert len(after) == 2
    assert len(set(before.values()) & set(after.values())) == 1
    with pytest.raises(RecordNotFoundError, match="no record has the id 'Nora'"):
        trained.get("Nora")
    assert "Nora" not in {hit.id for hit in trained.search(NORA, k=10)}
    answer = trained.ask(NORA, budget=0)
    assert "4471" not in answer.text
    assert "Nora" not in {fact.record_id for fact in answer.route.support}
    for question, expected in ((EMIL, "1234"), ("What is the badge number of Hugo?", "2718")):
        assert trained.ask(question, budget=0).text == expected


@pytest.mark.slow
def test_without_retraining_the_module_is_dropped_and_the_rest_left_to_rag(
    trained, directory, adapters_in
):
    receipt = trained.forget("Nora", retrain=False)
    assert (receipt.retrained, receipt.dropped) == ((), ("m0001",))
    assert set(receipt.demoted) == {"Emil", "Tara", "Owen"}
    assert all(receipt.checks.values())
    assert [module.name for module in trained.modules.list()] == ["m0002"]
    assert len(adapters_in(directory)) == 1
    assert not trained.ask(EMIL, budget=0).route
    assert trained.search(EMIL)[0].id == "Emil"
    report = trained.consolidate()
    assert set(report.held + report.missed) == {"Emil", "Tara", "Owen"}
    assert "4471" not in trained.ask(NORA, budget=0).text
    assert traces(directory, *TRACES) == []


def test_a_module_of_nothing_else_is_gone(trained, directory):
    receipt = trained.forget(["Lena", "Hugo", "Mira", "Anton", "Lena"])
    assert receipt.records == ("Lena", "Hugo", "Mira", "Anton")
    assert (receipt.retrained, receipt.dropped, receipt.demoted) == ((), ("m0002",), ())
    assert [module.name for module in trained.modules.list()] == ["m0001"]
    assert trained.ask(NORA, budget=0).text == "4471"
    assert traces(directory, "Lena", "Hugo", "Mira", "Anton") == []


@pytest.mark.slow
def test_an_older_version_in_the_weights_counts(trained, directory):
    trained.update("Nora", "The badge number of Nora is 7777.", answer="7777")
    assert "Nora" in trained.consolidate().held
    assert traces(directory, " 4471")
    receipt = trained.forget("Nora")
    assert receipt.versions == 2
    assert all(receipt.checks.values())
    # Of m0001, version 1 was trained on the old text and version 2 on the new one.
    assert receipt.retrained == ("m0001 v3",)
    assert trained.modules.list()[0].versions == (3,)
    assert receipt.dropped == ()
    assert traces(directory, *TRACES, " 7777") == []


def test_a_record_that_no_module_was_trained_on_leaves_the_modules_alone(
    trained, directory, adapters_in
):
    record = trained.add("Xylophone lessons are on Thursdays.")
    before = adapters_in(directory)
    receipt = trained.forget(record.id)
    assert (receipt.retrained, receipt.dropped, receipt.demoted) == ((), (), ())
    assert receipt.files == ("index/dense.faiss",)
    assert adapters_in(directory) == before
    assert traces(directory, "Xylophone") == []


def test_if_retraining_fails_the_record_is_forgotten_all_the_same(
    trained, directory, monkeypatch, caplog
):
    def diverge(*_, **__):
        raise TrainingError("the loss became nan")

    monkeypatch.setattr(Trainer, "fit", diverge)
    receipt = trained.forget("Nora")
    assert (receipt.retrained, receipt.dropped) == ((), ("m0001",))
    assert set(receipt.demoted) == {"Emil", "Tara", "Owen"}
    assert all(receipt.checks.values())
    assert "module m0001 is dropped, as it cannot be trained anew: the loss became nan" in (
        caplog.text
    )
    assert traces(directory, *TRACES) == []


# -- by scope, by filter


def test_a_tenant_is_forgotten_with_all_that_is_narrower(memory, tmp_path):
    scope = {"user": "u1"}
    memory.add("The quibblefax is blue.")
    memory.add("The wobbletron is red.", scope=scope)
    memory.add("The snorkelbert is green.", scope=scope | {"session": "s1"})
    memory.add("The zanzibrick is grey.", scope={"user": "u2"})
    memory.add_turn("user", "My flimflarn is lost.", scope=scope | {"session": "s1"})
    memory.add_turn("assistant", "Which grumbledee?", scope=scope, remember=False)
    memory.add_turn("user", "Any jabberwonk?", scope={"user": "u2"}, remember=False)
    receipt = memory.forget(scope=scope)
    assert (len(receipt.records), receipt.versions, receipt.turns) == (3, 3, 2)
    assert all(receipt.checks.values())
    assert traces(tmp_path, "wobbletron", "snorkelbert", "flimflarn", "grumbledee") == []
    assert memory.turns(scope=scope) == []
    assert [r.text for r in memory.records(scope="all").records] == [
        "The quibblefax is blue.",
        "The zanzibrick is grey.",
    ]
    assert [turn.content for turn in memory.turns(scope={"user": "u2"})] == ["Any jabberwonk?"]
    again = memory.forget(scope=scope)
    assert (again.records, again.versions, again.turns) == ((), 0, 0)


def test_forgetting_by_filter_leaves_the_rest(memory, tmp_path):
    memory.add("The quibblefax is blue.", metadata={"source": "hr"})
    memory.add("The wobbletron is red.", metadata={"source": "it"})
    memory.add("The snorkelbert is green.", metadata={"source": "hr"}, scope={"user": "u1"})
    memory.add_turn("user", "My flimflarn is lost.", scope={"user": "u1"}, remember=False)
    receipt = memory.forget(where={"source": "hr"}, scope={"user": "u1"})
    assert (len(receipt.records), receipt.turns) == (1, 0)
    receipt = memory.forget(where={"source": {"$in": ["hr"]}})
    assert len(receipt.records) == 1
    assert [r.text for r in memory.records().records] == ["The wobbletron is red."]
    assert traces(tmp_path, "quibblefax", "snorkelbert") == []
    assert traces(tmp_path, "flimflarn")


def test_an_id_of_both_is_that_of_the_record(memory):
    """No verb makes such a turn; a ledger that was changed by hand may have it."""
    record, quiet = memory.add("Code 77 opens the door."), memory.add_turn("user", "OK")
    memory._engine.ledger._database.execute(
        "UPDATE turns SET id = ? WHERE id = ?", record.id, quiet.id
    )
    receipt = memory.forget(record.id)
    assert (receipt.records, receipt.turns, memory.count()) == ((record.id,), 0, 0)
    assert memory.forget(record.id).turns == 1


def test_the_turns_of_a_record_go_with_it(memory, tmp_path):
    turn = memory.add_turn("user", "My flimflarn is lost.")
    assert memory.forget(turn.record_id).turns == 1
    assert memory.turns() == []
    assert traces(tmp_path, "flimflarn") == []


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({}, InvalidInputError, "expected an id, a `scope` or a `where` to forget by"),
        ({"scope": {}}, InvalidInputError, "expected an id, a `scope` or a `where`"),
        ({"where": {}}, InvalidInputError, "expected an id, a `scope` or a `where`"),
        ({"scope": "all"}, InvalidInputError, "expected an id, a `scope` or a `where`"),
        ({"id": "a"}, RecordNotFoundError, "no record has the id 'a'"),
        ({"where": {"a": {"$near": 1}}}, InvalidInputError, r"'\$near'"),
        ({"scope": {"user": 1}}, InvalidInputError, "keys and values of `scope` must be"),
        ({"id": "a", "scope": {"user": 1}}, InvalidInputError, "keys and values of `scope`"),
        ({"id": "nobody"}, RecordNotFoundError, "no record has the id 'nobody'"),
        ({"id": ["b", "nobody"]}, RecordNotFoundError, "no record has the id 'nobody'"),
        ({"id": ["a", "b"], "scope": {"user": "u1"}}, RecordNotFoundError, "has the id 'b'"),
    ],
)
def test_a_selection_that_is_none_erases_nothing(memory, arguments, error, message):
    memory.add([Draft("one", id="a", scope={"user": "u1"}), Draft("two", id="b")])
    with pytest.raises(error, match=message):
        memory.forget(**arguments)
    assert memory.stats().records == 2
    assert memory.forget("a", scope={"user": "u1"}).records == ("a",)
    assert memory.forget([]).records == ()
    assert memory.forget("b", where={"kind": "other"}).records == ()
    assert memory.stats().records == 1


# -- every byte


def test_a_turn_without_a_record_is_forgotten_by_its_id(memory, tmp_path):
    quiet = memory.add_turn("user", "The quibblefax is wobbletron.", remember=False)
    memory.add_turn("user", "Thanks!", scope={"user": "ann"})
    record = memory.add("The zibberflux is kept elsewhere.")
    with pytest.raises(RecordNotFoundError, match="no record has the id 'x', nor 'y'"):
        memory.forget([quiet.id, "x", record.id, "y"])
    with pytest.raises(RecordNotFoundError, match="no record has the id"):
        memory.forget(quiet.id, scope={"user": "ann"})
    assert (memory.turns(), memory.get(record.id)) == ([quiet], record)
    receipt = memory.forget([quiet.id, record.id])
    assert (receipt.records, receipt.turns) == ((record.id,), 1)
    assert all(receipt.checks.values())
    assert traces(tmp_path, "quibblefax", "zibberflux") == []
    (thanks,) = memory.turns(scope={"user": "ann"})
    with pytest.raises(RecordNotFoundError, match="no record has the id"):
        memory.forget(thanks.id)
    assert memory.forget(thanks.id, scope={"user": "ann"}).turns == 1
    assert memory.stats().turns == 0


@pytest.mark.slow
def test_a_text_of_a_megabyte_leaves_no_piece(memory, tmp_path):
    text = " ".join(f"word{number:06}zq" for number in range(80_000))
    record = memory.add(text)
    probes = [f"word{number:06}zq" for number in range(0, 80_000, 4_000)]
    assert {text for _, text in traces(tmp_path, *probes)} == set(probes)
    receipt = memory.forget(record.id)
    assert all(receipt.checks.values())
    assert traces(tmp_path, *probes) == []


def test_all_parts_of_all_versions_go(memory, tmp_path):
    words = ("Qafzeh", "Wrixum", "Tjolk", "Hvepsid", "Kqmetakey", "Jzmetavalue", "Bnscopekey",
             "Pgscopevalue", "Mnorpf", "Dlurgh")  # fmt: skip
    record = memory.add(
        "Qafzeh text", question="Wrixum question?", answer="Tjolk answer", id="Hvepsid",
        metadata={"Kqmetakey": "Jzmetavalue"}, scope={"Bnscopekey": "Pgscopevalue"},
    )  # fmt: skip
    memory.update(record.id, "Mnorpf text", answer="Dlurgh answer", scope=record.scope)
    assert {word for _, word in traces(tmp_path, *words)} == set(words)
    receipt = memory.forget(record.id, scope=record.scope)
    assert (receipt.versions, all(receipt.checks.values())) == (2, True)
    assert traces(tmp_path, *words) == []
    memory.close()
    assert traces(tmp_path, *words) == []


def test_words_that_others_keep_are_no_alarm(memory):
    """The same text of another tenant, a turn, words of the schema, words that are too short."""
    keep = "The canteen opens at noon."
    memory.add(keep, scope={"user": "u2"})
    memory.add_turn("user", "A remark about placements", remember=False)
    for text in (keep, "A remark about placements", "placements", "ok", "0 1"):
        record = memory.add(text)
        assert all(memory.forget(record.id).checks.values()), text
    assert memory.search("canteen", scope={"user": "u2"})[0].text == keep


def test_a_text_that_stays_somewhere_is_an_alarm(memory, tmp_path):
    record = memory.add("The quibblefax is blue.")
    (tmp_path / "agent.mem" / "notes.txt").write_text("copied: The quibblefax is blue.")
    receipt = memory.forget(record.id)
    assert receipt.checks["no file holds their texts"] is False
    assert "texts          NO" in str(receipt)


@pytest.mark.parametrize("role", ["user", "system", "tool"])
def test_a_turn_that_stays_somewhere_is_an_alarm(memory, tmp_path, role):
    memory.add_turn(role, "The quibblefax is red.", scope={"user": "u1"}, remember=False)
    (tmp_path / "agent.mem" / "notes.txt").write_text("copied: The quibblefax is red.")
    receipt = memory.forget(scope={"user": "u1"})
    assert receipt.turns == 1
    assert receipt.checks["no file holds their texts"] is False


@pytest.mark.slow
def test_no_cache_in_memory_remembers(trained, tiny):
    trained.add_turn("user", "Nora is my friend.", remember=False)
    trained.ask(NORA, modules=[])  # with its passage in the prompt, which is cached
    trained.ask(NORA)
    caches = trained._engine.index._current.space._cache, tiny._prefixes
    assert NORA in caches[0]
    assert any("4471" in tiny.decode(prefix) for prefix in caches[1])
    bank, arena = trained._engine.lora.bank, trained._engine.lora.bank._idle
    before = list(bank._held)
    assert arena._flat.any()
    trained.forget("Nora")
    assert not any("Nora" in query for query in caches[0])
    assert not any("4471" in tiny.decode(prefix) for prefix in caches[1])
    assert not any(key in bank for key in before)
    assert bank._idle is not arena


# -- races and crashes


@pytest.mark.slow
def test_a_module_that_was_being_trained_on_it_is_not_committed(
    memory, tmp_path, badges, adapters_in
):
    memory.add(badges[:4])
    fit = Trainer.fit

    def forget_meanwhile(trainer, *arguments):
        trained = fit(trainer, *arguments)
        memory.forget("Nora", retrain=False)
        return trained

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "fit", forget_meanwhile)
        report = memory.consolidate()
    assert report.modules == ()
    assert memory.modules.list() == []
    assert adapters_in(tmp_path / "agent.mem") == {}
    report = memory.consolidate()
    assert set(report.held + report.missed) == {"Emil", "Tara", "Owen"}
    assert "4471" not in memory.ask(NORA, budget=0).text
    assert traces(tmp_path, *TRACES) == []


CRASH = """
import os, signal, sys
sys.path[:0] = sys.argv[3:]
from memkit import Memory
from memkit.memory import erasure
from memkit.testing import HashingEmbedder

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

memory = Memory.open(sys.argv[1], backends=("buffer", "rag"), embedder=HashingEmbedder())
memory.update("Nora", "The badge number of Nora is 7777.", answer="7777")
setattr(*{"finish": (erasure, "finish", die), "destroy": (erasure, "destroy", die),
          "scrub": (type(memory._engine.ledger), "scrub", die)}[sys.argv[2]])
memory.forget("Nora")
"""


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["finish", "scrub", "destroy"])
def test_a_crash_after_the_deletion_is_finished_by_the_next_opening(
    trained, directory, open_memory, moment, adapters_in
):
    trained.close()
    before = adapters_in(directory)
    died = subprocess.run(
        [sys.executable, "-c", CRASH, str(directory), moment, *sys.path], check=False
    )
    assert died.returncode == -signal.SIGKILL
    assert adapters_in(directory) == before
    if moment == "finish":
        assert traces(directory, " 4471", " 7777")
    memory = open_memory(directory)
    assert traces(directory, *TRACES, " 7777") == []
    assert adapters_in(directory) == dict(list(before.items())[1:])
    assert memory._engine.ledger.erasures.pending() == []
    assert [module.name for module in memory.modules.list()] == ["m0002"]
    assert len(memory.search("badge number", k=10)) == 7
    memory.consolidate()
    assert traces(directory, *TRACES, " 7777") == []


def test_an_orphan_that_was_trained_on_it_goes_too(trained, directory, adapters_in):
    """A run that was killed before its commit leaves weights that no version names."""
    (bank,) = (directory / "adapters").iterdir()
    (one, two) = adapters_in(directory)
    with bank.open("ab") as file:  # as far as a run came with writing the next row
        file.truncate(-(-bank.stat().st_size // 4096) * 4096)
        file.seek(0, 2)
        file.write(b"half a row")
    trained._engine.ledger.set_meta("adapter_being_written", one[:-1] + "2")
    shutil.copy(bank, bank.with_name("whole.bank"))
    receipt = trained.forget("Nora", retrain=False)
    assert {one, one[:-1] + "2", "adapters/whole.bank"} < set(receipt.files)
    assert list(adapters_in(directory)) == [two]
    assert b"half a row" not in bank.read_bytes()
    assert trained.ask("What is the badge number of Hugo?", budget=0).text == "2718"


# -- destroying files


def test_files_are_overwritten_before_they_are_removed(tmp_path):
    path = tmp_path / "secret"
    path.write_bytes(b"secret" * 500_000)
    with path.open("rb") as still_open:  # keeps the content within reach
        destroy_file(path)
        assert not path.exists()
        assert still_open.read() == bytes(3_000_000)


def test_a_file_with_another_name_is_not_destroyed(tmp_path):
    path = tmp_path / "secret"
    path.write_bytes(b"secret")
    (tmp_path / "backup").hardlink_to(path)
    with pytest.raises(UnsafePathError, match=r"only name, it has 2 names.*\n.*Put a copy"):
        destroy_file(path)
    assert (tmp_path / "backup").read_bytes() == b"secret"


def test_directories_go_whole_and_links_are_not_followed(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "mine").write_text("mine")
    folder = tmp_path / "folder"
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "deep" / "er" / "file").write_text("x")
    (folder / "link").symlink_to(outside)
    (folder / "file-link").symlink_to(outside / "mine")
    destroy_folder(folder)
    destroy_folder(folder)  # gone already
    assert not folder.exists()
    assert (outside / "mine").read_text() == "mine"


# -- what a receipt has looked at


@pytest.fixture
def nothing_destroyed(monkeypatch):
    """A destruction that does nothing and says so to nobody, as with a faulty file system."""
    monkeypatch.setattr(RowFile, "wipe", lambda *_: None)


def test_the_receipt_says_that_weights_are_left(trained, nothing_destroyed):
    checks = trained.forget("Nora", retrain=False).checks
    assert [what for what, passed in checks.items() if not passed] == [NO_WEIGHTS]


def test_the_receipt_does_not_vouch_for_a_file_that_is_missing(trained, directory):
    [bank] = (directory / "adapters").glob("*.bank")
    moved = bank.rename(directory.parent / "moved.bank")
    checks = trained.forget("Nora", retrain=False).checks
    assert [what for what, passed in checks.items() if not passed] == [NO_WEIGHTS]
    assert moved.exists()


def test_the_receipt_says_that_a_vector_is_left(trained, directory):
    [vector] = trained._engine.ledger.passages.vectors_of(["Nora"])["Nora"][:1]
    copy = directory / "index" / "copy.faiss"  # not of memkit's making, so it stays
    copy.write_bytes(b"xyz" + vector.astype("<f4").tobytes())
    checks = trained.forget("Nora", retrain=False).checks
    assert [what for what, passed in checks.items() if not passed] == [NO_VECTOR]
    assert copy.exists()


def test_the_vector_of_a_text_that_others_have_as_well_may_stay(memory):
    for user in ("u1", "u2"):
        memory.add("The archive is on the second floor.", scope={"user": user}, id=user)
    assert all(memory.forget("u1", scope={"user": "u1"}).checks.values())
    assert memory.search("archive", scope={"user": "u2"})[0].id == "u2"


# -- a disk without room


@pytest.fixture
def full(monkeypatch):
    """A disk that is full from when it is asked to be, for what rewrites the ledger."""
    rewrite = SqliteDatabase.rewrite
    state = {"full": True}

    def no_room(database):
        if state["full"]:
            raise DiskFullError("no room left to write to the ledger", "Free some space.")
        rewrite(database)

    monkeypatch.setattr(SqliteDatabase, "rewrite", no_room)
    return state


def on_disk(directory, text):
    return any(text in path.read_bytes() for path in directory.rglob("*") if path.is_file())


@pytest.mark.parametrize("again", ["forget", "sweep", "open"])
def test_what_cannot_be_destroyed_now_is_said_and_done_later(
    trained, directory, open_memory, full, again
):
    with pytest.raises(DestructionPendingError) as caught:
        trained.forget("Nora", retrain=False)
    message = str(caught.value)
    assert "is out of the memory and is found by nobody" in message
    assert "could not be destroyed: no room left" in message
    assert "intact" not in message
    assert "Free some space. The next opening, `forget` or `retention.sweep()` goes on." in message
    assert "Nora" not in trained
    assert "Nora" not in {hit.id for hit in trained.search("badge number of Nora", k=50)}
    trained.close()
    with open_memory(directory) as memory:  # still full: reading must work
        assert memory.get("Tara").answer == "9876"
        full["full"] = False
        if again == "forget":
            with pytest.raises(RecordNotFoundError):
                memory.forget("Nora")
        elif again == "sweep":
            memory.retention.sweep()
    with open_memory(directory) as memory:
        assert not memory._engine.ledger.destruction_pending
    assert not on_disk(directory, b"badge number of Nora")


DESTROYED = [NO_TEXT, NO_VECTOR, NO_WEIGHTS]
WHILE_READ = {
    "forget": (lambda memory: memory.forget("a"), DESTROYED),
    "forget_all": (lambda memory: memory.forget_all(), DESTROYED),
    "sweep": (lambda memory: memory.retention.sweep(), DESTROYED),
    "clear": (lambda memory: memory.clear({"session": "s"}), [NO_TEXT]),
}


@pytest.mark.parametrize("verb", WHILE_READ)
def test_while_somebody_reads_no_receipt_says_that_all_is_destroyed(
    tmp_path, open_memory, monkeypatch, verb
):
    monkeypatch.setattr("memkit.ledger.engine.sqlite._SCRUB_WAIT", 0.0)
    memory = open_memory(tmp_path / "m", backends=("rag",))
    memory.add("The code of the locker is 8812.", id="a")
    memory.add("The lift is out of order.", ttl=timedelta(hours=1))
    memory.add_turn("user", "I am moving to room 12 tomorrow.", scope={"session": "s"})
    act, unproven = WHILE_READ[verb]
    if verb == "sweep":
        now = memory._engine.ledger._database.now()
        memory._engine.ledger._database.clock = lambda: now + 7200
    with closing(sqlite3.connect(tmp_path / "m" / "ledger.sqlite3")) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM records").fetchone()
        checks = act(memory).checks
    assert [what for what, passed in checks.items() if not passed] == unproven
    memory.retention.sweep()
    assert not memory._engine.ledger.destruction_pending


def test_a_sweep_looks_for_what_expired_turns_and_items_said(tmp_path, open_memory):
    from memkit.ledger.items import NewItem

    memory = open_memory(tmp_path / "m", backends=("rag",))
    memory.retention.set_ttl({"session": "s"}, timedelta(hours=1))
    memory.add_turn("user", "I am moving to room 12 tomorrow.", scope={"session": "s"})
    memory.items.write([NewItem(("a",), "k", {"text": "Dear all, good bye"}, ttl=60)])
    now = memory._engine.ledger._database.now()
    memory._engine.ledger._database.clock = lambda: now + 7200
    (tmp_path / "m" / "copy.txt").write_text("I am moving to room 12 tomorrow.")
    receipt = memory.retention.sweep()
    assert (receipt.turns, receipt.items) == (1, 1)
    assert receipt.checks[NO_TEXT] is False


@pytest.mark.parametrize("column", ["text", "question", "answer"])
def test_a_record_whose_text_is_no_text_any_more_is_named_and_can_be_forgotten(
    tmp_path, open_memory, column
):
    path = tmp_path / "m"
    memory = open_memory(path, backends=("rag",))
    memory.add("The archive is on floor 2.", question="Where is it?", answer="floor 2", id="a")
    memory.close()
    with closing(sqlite3.connect(path / "ledger.sqlite3")) as database, database:
        database.create_function("now", 0, lambda: 0.0)
        database.execute(
            f"UPDATE records SET {column} = CAST(CAST({column} AS BLOB) || x'ff' AS TEXT)"
        )
    assert any("'a'" in problem for problem in check(path).left)
    memory = open_memory(path, backends=("rag",))
    with pytest.raises(CorruptFileError, match="'a'") as caught:
        memory.get("a")
    assert "floor" not in str(caught.value)
    assert all(memory.forget("a").checks.values())
    assert "a" not in memory
    assert check(path).sound
