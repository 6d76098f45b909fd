"""Files of rows, and the rows that a memory's adapters take in them."""

import hashlib
import json
import os
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memkit.errors import (
    CorruptFileError,
    FormatVersionError,
    InvalidInputError,
    MemkitError,
    StorageError,
)
from memkit.lora.store.adapter_files import destroy, faults, settle, stored, tidy
from memkit.lora.store.row_file import RowFile
from memkit.types import Draft


def octets(text, length=5000):
    """A row that is recognised in a file."""
    return np.frombuffer((text * length)[:length].encode(), np.uint8)


@pytest.fixture
def rows(tmp_path):
    return RowFile.create(tmp_path / "x.bank", 5000, {"rank": 4})


# -- one file


def test_the_format_is_a_page_of_header_and_rows_on_page_boundaries(rows):
    rows.write(0, octets("a"))
    rows.write(2, octets("c"))

    content = rows.path.read_bytes()
    text = json.dumps({"row_bytes": 5000, "about": {"rank": 4}}).encode()
    head = struct.pack("<8sIII", b"memkrows", 1, len(text), zlib.crc32(text)) + text
    assert content[:4096] == head.ljust(4096, b"\0")
    assert content[4096:9096] == b"a" * 5000
    assert not any(content[9096 : 4096 + 2 * 8192])
    assert content[4096 + 2 * 8192 :] == b"c" * 5000


def test_what_is_written_is_read_by_whoever_opens_the_file(rows):
    rows.write(1, octets("b"))

    again = RowFile.open(rows.path)
    assert (again.row_bytes, again.about, again.stride, len(again)) == (5000, {"rank": 4}, 8192, 2)
    assert bytes(again.read(1)) == b"b" * 5000
    assert bytes(again.read(0)) == bytes(5000)
    assert [again.holds(row) for row in (-1, 0, 1, 2)] == [False, True, True, False]


def test_a_row_is_mapped_and_what_its_reader_does_to_it_stays_with_him(rows):
    rows.write(0, octets("a"))
    row = rows.read(0)
    assert isinstance(row, np.memmap)
    row[:] = 0

    assert bytes(rows.read(0)) == b"a" * 5000


def test_a_wiped_row_is_zeros_and_its_neighbours_stay(rows):
    for number, text in enumerate("abc"):
        rows.write(number, octets(text))
    rows.wipe(1)
    rows.wipe(7)  # was never there

    assert [bytes(rows.read(number))[:1] for number in range(3)] == [b"a", b"\0", b"c"]
    assert b"b" not in rows.path.read_bytes()[4096:]
    assert len(rows) == 3


def test_a_row_that_was_cut_off_is_wiped_as_far_as_it_goes(rows):
    rows.write(0, octets("a"))
    os.truncate(rows.path, 4096 + 100)
    assert len(rows) == 1
    with pytest.raises(CorruptFileError, match=r"expected 5000 bytes in row 0 .* after 4196"):
        rows.read(0)

    rows.wipe(0)
    assert rows.path.read_bytes()[4096:] == bytes(100)


@settings(max_examples=30, deadline=None)
@given(
    row_bytes=st.integers(1, 20_000),
    steps=st.lists(st.tuples(st.sampled_from(["write", "wipe"]), st.integers(0, 4)), max_size=12),
)
def test_rows_do_not_touch_each_other(tmp_path_factory, row_bytes, steps):
    file = RowFile.create(tmp_path_factory.mktemp("rows") / "x", row_bytes, {})
    expected = {}
    for number, (act, row) in enumerate(steps, start=1):
        data = np.full(row_bytes, number, np.uint8)
        if act == "write":
            file.write(row, data)
            expected[row] = number
        else:
            file.wipe(row)
            expected = {known: 0 if known == row else value for known, value in expected.items()}

    for row, value in expected.items():
        assert (file.read(row) == value).all()


@pytest.mark.parametrize("damage", [b"", b"memkrows", b"x" * 5000])
def test_something_else_is_no_file_of_rows(rows, damage):
    rows.path.write_bytes(damage)
    with pytest.raises(CorruptFileError, match=r"expected the header of a file of rows in .*bank"):
        RowFile.open(rows.path)


@pytest.mark.parametrize("place", [0, 12, 16, 21, 40])
def test_a_flipped_byte_in_the_header_is_noticed(rows, place):
    content = bytearray(rows.path.read_bytes())
    content[place] ^= 1
    rows.path.write_bytes(content)
    with pytest.raises(CorruptFileError, match="it is damaged"):
        RowFile.open(rows.path)


def test_a_newer_format_is_refused(rows):
    content = bytearray(rows.path.read_bytes())
    content[8] = 2
    rows.path.write_bytes(content)
    with pytest.raises(FormatVersionError, match=r"expected version 1 or lower in .*, got 2"):
        RowFile.open(rows.path)


def test_misuse_is_refused(rows, tmp_path):
    with pytest.raises(InvalidInputError, match=r"expected 5000 bytes for a row .*, got 4999"):
        rows.write(0, octets("a", 4999))
    with pytest.raises(InvalidInputError, match="`about` must fit into 4076 bytes of JSON"):
        RowFile.create(tmp_path / "y", 1, {"long": "x" * 4096})
    with pytest.raises(StorageError, match=r"x\.bank"):
        RowFile.create(rows.path, 1, {})
    with pytest.raises(CorruptFileError, match=r"expected a file of rows at .*, found none"):
        RowFile.open(tmp_path / "nothing")


# -- the rows of a memory


def keep(ledger, text, *, name=None, kind="k", commit=True):
    """Store a row and commit it as a module of a record of its own."""
    (record,) = ledger.records.add([Draft(f"{text} {name}")])
    with stored(ledger, kind, {"rank": 4}, octets(text)) as file:
        if not commit:
            raise MemkitError("on purpose")
        return ledger.modules.commit(
            name or ledger.modules.next_name(), {}, {}, file=file.path, digest=file.digest,
            size=file.size, members=[record], held={record.id: 1.0},
        )  # fmt: skip


def paths(ledger):
    return [file.path for file in ledger.modules.files()]


def erase(ledger, *names):
    for name in names:
        ledger.modules.drop(name)


def test_rows_are_named_by_file_and_number_and_checksummed(ledger, adapters_in):
    keep(ledger, "a")
    keep(ledger, "b")
    keep(ledger, "c", kind="other")

    assert paths(ledger) == ["adapters/k.bank#0", "adapters/k.bank#1", "adapters/other.bank#0"]
    for file, text in zip(ledger.modules.files(), "abc", strict=True):
        assert (file.digest, file.size) == (hashlib.sha256(text.encode() * 5000).hexdigest(), 5000)
    assert {row[:1] for row in adapters_in(ledger.directory).values()} == {b"a", b"b", b"c"}


def test_the_smallest_free_row_is_taken_once_it_is_wiped(ledger, adapters_in):
    for text in "abc":
        keep(ledger, text)
    erase(ledger, "m0001", "m0002")
    keep(ledger, "d")  # rows 0 and 1 are still to be destroyed
    assert paths(ledger) == ["adapters/k.bank#2", "adapters/k.bank#3"]
    assert b"a" * 5000 in adapters_in(ledger.directory).values()

    assert tidy(ledger) == ["adapters/k.bank#0", "adapters/k.bank#1"]
    assert ledger.erasures.pending() == []
    keep(ledger, "e")
    assert paths(ledger) == ["adapters/k.bank#2", "adapters/k.bank#3", "adapters/k.bank#0"]
    assert {row[:1] for row in adapters_in(ledger.directory).values()} == {b"c", b"d", b"e"}


def test_what_is_not_committed_is_wiped(ledger, adapters_in):
    keep(ledger, "a")
    with pytest.raises(MemkitError, match="on purpose"):
        keep(ledger, "b", commit=False)

    assert list(adapters_in(ledger.directory).values()) == [b"a" * 5000]
    keep(ledger, "c")
    assert paths(ledger)[1] == "adapters/k.bank#1"


def test_a_file_without_modules_goes(ledger):
    keep(ledger, "a")
    erase(ledger, "m0001")
    tidy(ledger)

    assert list((ledger.directory / "adapters").iterdir()) == []
    keep(ledger, "b")
    assert paths(ledger) == ["adapters/k.bank#0"]


def test_a_damaged_file_takes_no_rows_and_is_destroyed_with_what_is_forgotten(ledger, adapters_in):
    keep(ledger, "a")
    path = ledger.directory / "adapters" / "k.bank"
    path.write_bytes(b"x" + path.read_bytes()[1:])
    assert list(faults(ledger.directory, ledger.modules.files())) == ["adapters/k.bank#0"]
    keep(ledger, "b")
    assert paths(ledger) == ["adapters/k.bank#0", "adapters/k.1.bank#0"]

    erase(ledger, "m0001")
    tidy(ledger)
    assert list(adapters_in(ledger.directory).values()) == [b"b" * 5000]
    assert not path.exists()


def test_destroying_what_is_gone_is_no_error(ledger):
    destroy(ledger.directory, "adapters/nothing.bank#3")
    destroy(ledger.directory, "adapters/nothing")
    assert settle(ledger) == []
    assert tidy(ledger) == []


# -- compaction


def fill(ledger, count, drop):
    """Modules m0001 … with rows of their own letters; those numbered in ``drop`` go again."""
    for number in range(count):
        keep(ledger, chr(ord("A") + number))
    erase(ledger, *(f"m{number:04}" for number in drop))


def test_a_file_that_is_mostly_free_is_compacted(ledger, adapters_in):
    fill(ledger, 20, drop=range(1, 13))
    tidy(ledger)

    assert paths(ledger) == [f"adapters/k.1.bank#{row}" for row in range(8)]
    found = adapters_in(ledger.directory)
    assert list(found.values()) == [chr(ord("A") + n).encode() * 5000 for n in range(12, 20)]
    assert [p.name for p in (ledger.directory / "adapters").iterdir()] == ["k.1.bank"]
    assert faults(ledger.directory, ledger.modules.files()) == {}
    assert ledger.erasures.pending() == []
    keep(ledger, "z")
    assert paths(ledger)[-1] == "adapters/k.1.bank#8"


@pytest.mark.parametrize(
    ("count", "drop"), [(16, range(1, 9)), (9, range(1, 8)), (40, range(1, 9))]
)
def test_a_few_free_rows_stay(ledger, count, drop):
    fill(ledger, count, drop)
    tidy(ledger)

    assert {path.partition("#")[0] for path in paths(ledger)} == {"adapters/k.bank"}


def test_a_module_that_is_forgotten_during_the_copying_is_not_in_the_new_file(
    ledger, adapters_in, monkeypatch
):
    fill(ledger, 20, drop=range(1, 13))
    write = RowFile.write

    def forget_meanwhile(file, row, data):
        write(file, row, data)
        if row == 7:
            erase(ledger, "m0015")

    monkeypatch.setattr(RowFile, "write", forget_meanwhile)
    tidy(ledger)

    assert len(paths(ledger)) == 7
    assert b"O" * 5000 not in adapters_in(ledger.directory).values()
    assert len(adapters_in(ledger.directory)) == 7


def test_a_compaction_that_fails_changes_nothing(ledger, adapters_in, monkeypatch, caplog):
    fill(ledger, 20, drop=range(1, 13))

    def full(*_):
        raise StorageError("no room on the disk")

    monkeypatch.setattr(RowFile, "write", full)
    tidy(ledger)

    assert "adapters/k.bank is not compacted: no room on the disk" in caplog.text
    assert paths(ledger) == [f"adapters/k.bank#{row}" for row in range(12, 20)]
    assert len(adapters_in(ledger.directory)) == 8
    assert len(list((ledger.directory / "adapters").iterdir())) == 1


@pytest.mark.parametrize(
    "content",
    ["{{{", "[1]", "[" * 3000, "{}", '{"row_bytes": 8}', '{"row_bytes": 8, "about": []}']
    + [f'{{"row_bytes": {value}, "about": {{}}}}' for value in ("0", "-5", '"x"', "8.0", "true")]
    + [f'{{"row_bytes": {2**70}, "about": {{}}}}'],
)
def test_a_senseless_header_with_a_right_checksum_is_refused(tmp_path, content):
    octets = content.encode()
    head = struct.pack("<8sIII", b"memkrows", 1, len(octets), zlib.crc32(octets)) + octets
    (tmp_path / "x.bank").write_bytes(head.ljust(4096, b"\0"))
    with pytest.raises(CorruptFileError, match=r"x\.bank"):
        RowFile.open(tmp_path / "x.bank")
