"""Damaged files: noticed, said, rebuilt from the ledger; never silently served or emptied."""

import errno
import json
import os
import re
import shutil

import pytest

from memkit.errors import (
    BusyError,
    CorruptFileError,
    DiskFullError,
    FormatVersionError,
    IncompatibleModelError,
    ReadOnlyError,
)
from memkit.files import file_lock
from memkit.ledger.engine import connect as opening
from memkit.ledger.engine.checksums import stamp
from memkit.rag.vectors.flat import FlatIndex

NORA = "What is the badge number of Nora?"  # held by m0001
LENA = "What is the badge number of Lena?"  # held by m0002


@pytest.fixture
def directory(tmp_path, trained_directory):
    return shutil.copytree(trained_directory, tmp_path / "copy.mem")


def bank(directory):
    (path,) = (directory / "adapters").iterdir()
    return path


def places(directory, module):
    """Where the row of a module begins, and its length: m0001 is in row 0, m0002 in row 1."""
    content = bank(directory).read_bytes()
    size = json.loads(content[20 : content.index(b"\0", 20)])["row_bytes"]
    stride = (size + 4095) // 4096 * 4096
    return 4096 + (module == "m0002") * stride, size


def flip(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 0x40
    path.write_bytes(content)


# -- adapters


@pytest.mark.parametrize(
    "case",
    [
        ("cut", r"expected \d+ bytes in adapters/.*#1, the file ends before", {"m0002"}),
        ("emptied", "expected the header of a file of rows", {"m0001", "m0002"}),
        ("header", "expected the header of a file of rows", {"m0001", "m0002"}),
        ("removed", "expected a file of rows at .*, found none", {"m0001", "m0002"}),
        ("folder removed", "expected a file of rows at .*, found none", {"m0001", "m0002"}),
        ("longer", None, set()),
    ],
)
def test_damage_that_shows_at_opening(directory, open_memory, caplog, case):
    damage, why, lost = case
    path = bank(directory)
    content = path.read_bytes()
    match damage:
        case "cut":
            path.write_bytes(content[:-1])
        case "emptied":
            path.write_bytes(b"")
        case "header":
            flip(path, 30)
        case "longer":
            path.write_bytes(content + bytes(9))
        case "removed":
            path.unlink()
        case "folder removed":
            shutil.rmtree(path.parent)
    memory = open_memory(directory)
    for module in lost:
        assert re.search(f"dropping module {module}: {why}", caplog.text)
    assert {module.name for module in memory.modules.list()} == {"m0001", "m0002"} - lost
    # Its records are demoted: rag answers, and consolidate trains them again.
    for module, question, id, answer in (("m0001", NORA, "Nora", "4471"),
                                         ("m0002", LENA, "Lena", "3141")):  # fmt: skip
        if module in lost:
            assert not memory.ask(question, budget=0).route
            assert memory.search(question)[0].id == id
        else:
            assert memory.ask(question, budget=0).text == answer
    assert len(memory.consolidate().held) == 4 * len(lost)
    assert memory.ask(NORA, budget=0).text == "4471"
    assert memory.ask(LENA, budget=0).text == "3141"


def test_a_file_of_a_newer_memkit_is_refused(directory, open_memory):
    content = bytearray(bank(directory).read_bytes())
    content[8:12] = (2).to_bytes(4, "little")
    bank(directory).write_bytes(content)
    with pytest.raises(FormatVersionError, match=r"expected version 1 or lower in .*, got 2"):
        open_memory(directory)


@pytest.mark.parametrize("place", [0, 100, -1])
def test_a_flipped_byte_is_noticed_when_the_adapter_is_needed(
    directory, open_memory, caplog, place
):
    start, size = places(directory, "m0001")
    flip(bank(directory), start + place % size)
    memory = open_memory(directory)
    assert memory.ask(LENA, budget=0).text == "3141"
    with pytest.raises(CorruptFileError, match=r"SHA-256.*; module m0001 was dropped") as caught:
        memory.ask(NORA, budget=0)
    assert "ask again: rag answers its records now" in caught.value.hint
    assert "dropping module m0001" in caplog.text
    after = memory.ask(NORA)
    assert not after.route
    assert "The badge number of Nora is 4471." in after.recall.text
    assert set(memory.consolidate().held) == {"Nora", "Emil", "Tara", "Owen"}
    assert memory.ask(NORA, budget=0).text == "4471"


def test_a_damaged_adapter_in_a_batch_or_stream_is_an_error_too(directory, open_memory):
    flip(bank(directory), places(directory, "m0001")[0])
    memory = open_memory(directory)
    with pytest.raises(CorruptFileError, match="module m0001 was dropped"):
        memory.ask_batch([LENA, NORA], budget=0)
    assert memory.ask_batch([LENA, NORA], budget=0)[0].text == "3141"
    flip(bank(directory), places(directory, "m0002")[0])
    memory.close()
    stream = open_memory(directory).stream(LENA, budget=0)
    with pytest.raises(CorruptFileError, match="module m0002 was dropped"):
        next(stream)
    assert stream.answer is None


def test_a_damaged_adapter_that_cannot_be_dropped_is_still_refused(
    directory, open_memory, monkeypatch
):
    flip(bank(directory), places(directory, "m0001")[0])
    monkeypatch.setattr(opening, "_can_write", lambda path: False)
    memory = open_memory(directory)
    for _ in range(2):
        with pytest.raises(CorruptFileError, match="expected SHA-256"):
            memory.ask(NORA, budget=0)
    assert memory.ask(LENA, budget=0).text == "3141"
    assert memory.search(NORA)[0].id == "Nora"


def test_an_adapter_of_another_base_model_is_refused(directory, open_memory):
    memory = open_memory(directory)
    ledger = memory._engine.ledger
    ledger._database.execute(
        "UPDATE module_versions SET manifest = json_set(manifest, '$.fingerprint', 'ab12', "
        "'$.base_model', 'another') WHERE module = 'm0001'"
    )
    with ledger.transaction():
        stamp(ledger._database, "module_versions", "TRUE")  # as if it had been trained so
    for _ in range(2):
        with pytest.raises(IncompatibleModelError, match=r"m0001 was trained for 'another'") as e:
            memory.ask(NORA, budget=0)
        assert "base_model='another'" in e.value.hint
    assert memory.search(NORA)[0].id == "Nora"


# -- the index file


@pytest.mark.parametrize("damage", ["cut", "emptied", "flipped", "garbage", "removed", "old"])
def test_a_damaged_index_is_rebuilt_from_the_ledger(tmp_path, open_memory, badges, caplog, damage):
    directory = tmp_path / "m"
    path = directory / "index" / "dense.faiss"
    memory = open_memory(directory)
    memory.add(badges[:4])
    memory.close()
    older = path.read_bytes()
    memory = open_memory(directory)
    memory.add(badges[4:])
    expected = [memory.search(draft.question, k=8) for draft in badges]
    memory.close()
    content = path.read_bytes()
    match damage:
        case "cut":
            path.write_bytes(content[: len(content) // 2])
        case "emptied":
            path.write_bytes(b"")
        case "flipped":
            flip(path, -10)
        case "garbage":
            path.write_bytes(b"garbage " * 1000)
        case "removed":
            path.unlink()
        case "old":
            path.write_bytes(older)
    memory = open_memory(directory)
    assert [memory.search(draft.question, k=8) for draft in badges] == expected
    rebuilt = "rebuilding the index from the ledger" in caplog.text
    assert rebuilt == (damage not in {"removed", "old"})
    memory.close()
    index, _ = FlatIndex.load(path)
    assert len(index) == 16  # a text and a question of each


# -- a full disk, a read-only disk


def fail(code):
    def write(*_, **__):
        raise OSError(code, "simulated")

    return write


def test_a_disk_that_is_full_of_adapters_leaves_the_memory_as_it_was(
    directory, open_memory, monkeypatch, adapters_in
):
    written = []

    def half_of_it(handle, data, offset):
        if not any(data):
            return pwrite(handle, data, offset)
        if written:
            raise OSError(errno.ENOSPC, "simulated")
        written.append(offset)
        return pwrite(handle, data[: len(data) // 2], offset)

    pwrite = os.pwrite
    memory = open_memory(directory)
    memory.forget("Nora", retrain=False)
    before = adapters_in(directory), memory.modules.list(), memory.stats().held
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", half_of_it)
        with pytest.raises(DiskFullError, match=r"no room on the disk to write .*adapters"):
            memory.consolidate()
    assert (adapters_in(directory), memory.modules.list(), memory.stats().held) == before
    assert set(memory.consolidate().held) <= {"Emil", "Tara", "Owen"}


def test_an_index_that_cannot_be_written_is_rebuilt_next_time(
    tmp_path, open_memory, monkeypatch, caplog
):
    memory = open_memory(tmp_path / "m")
    memory.add("Deliveries are unloaded at dock three.")
    with monkeypatch.context() as patch:
        patch.setattr("memkit.rag.vectors.flat.replace_file", fail(errno.ENOSPC))
        memory.close()
    assert "the index file was not written, and is rebuilt next time" in caplog.text
    assert open_memory(tmp_path / "m").search("deliveries")


def test_a_lock_that_cannot_be_taken_is_named(directory, open_memory, monkeypatch):
    memory = open_memory(directory)
    memory.add("The badge number of Zoe is 7070.")
    with monkeypatch.context() as patch:
        patch.setattr("filelock.FileLock.acquire", fail(errno.EROFS))
        with pytest.raises(ReadOnlyError, match="not allowed to access"):
            memory.consolidate()


def test_a_lock_that_another_thread_holds_is_waited_for_in_vain(directory, open_memory):
    memory = open_memory(directory, busy_timeout=0.1)
    memory.add("The badge number of Zoe is 7070.")
    with (
        file_lock(directory / "adapters.lock", timeout=0),
        pytest.raises(BusyError, match=r"training this memory's adapters for 0\.1 s") as e,
    ):
        memory.consolidate()
    assert "answered by rag meanwhile" in e.value.hint
