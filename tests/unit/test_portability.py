"""Export and import: the same memory elsewhere; damage is found before anything is written."""

import io
import json
import os
import sqlite3
import tracemalloc
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
import zstandard
from archives import content, forge, header, lines, record, turn
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memkit import Draft, InvalidInputError, Memory
from memkit.errors import (
    CorruptFileError,
    FormatVersionError,
    UnsafePathError,
    UnsupportedOperationError,
)
from memkit.ledger import Ledger
from memkit.ledger.items import NewItem
from memkit.ledger.transfer.export import (
    EXAMPLE_FIELDS,
    ITEM,
    RECORD,
    SYNTHESIS,
    TTL,
    TURN,
    VERSION,
)
from memkit.memory import transfer
from memkit.memory.archive import Archive, write_archive
from memkit.types import Example

ANN, BOB = {"user": "ann"}, {"user": "bob"}
MONDAY = datetime(2024, 5, 6, 12, 30, 15, 123456, UTC)


@pytest.fixture
def rag(open_memory):
    """Opens memories without a language model."""
    return lambda path: open_memory(path, backends=("buffer", "rag"), base_model=None)


@pytest.fixture
def full(rag, tmp_path):
    """A memory with some of everything."""
    memory = rag(tmp_path / "full.mem")
    memory.retention.set_ttl(ANN, timedelta(days=90))
    memory.add("The canteen opens at noon.", metadata={"floor": 1, "tags": ["a", None, 1.5, True]})
    record = memory.add(
        "Ann's locker has the code 8812.", question="Which code?", answer="8812", scope=ANN
    )
    memory.update(record.id, "Ann's locker has the code 9001.", answer="9001", scope=ANN)
    memory.update(record.id, metadata={"seen": 2}, scope=ANN)
    memory.add("Bob likes tea. ☕\n\u2028", scope=BOB, key="drink", pinned=True, at=MONDAY)
    memory.add("Gone tomorrow.", scope=BOB, ttl=86_400)
    memory.add_turn("user", "I move to room 12.", scope=ANN)
    memory.add_turn("system", "Be brief.", scope=ANN, remember=False)
    memory.add_messages([{"role": "user", "content": "Where is the archive?"}], scope=BOB)
    item = NewItem(("a", "b"), "k", {"x": [1, "é"]}, [[0.6, 0.8], [1.0, 0.0]], ttl=60, scope=BOB)
    memory.items.write([item])
    question = Example("Which code has Ann's locker?", "9001", held_out=True, origin="gpt")
    examples = memory._engine.ledger.examples
    examples.put("template 1", {record.id: [Example("Ann's code?", "9001"), question]})
    examples.put("rewriter", {record.id: []})
    return memory


# -- the round trip


def test_everything_arrives_as_it_was(full, rag, tmp_path):
    path = tmp_path / "dump.jsonl.zst"
    written = full.export(path)
    copy = rag(tmp_path / "copy.mem")

    taken = copy.import_(path)

    assert content(copy) == content(full)
    assert (taken.records, taken.versions, taken.turns, taken.items) == (6, 2, 3, 1)
    assert str(written) == str(taken)
    assert (
        copy.search("tea", k=1, scope=BOB)[0].record == full.search("tea", k=1, scope=BOB)[0].record
    )
    assert (
        copy.history(copy.search("locker 9001", k=1, scope=ANN)[0].id, scope=ANN)[0].answer
        == "8812"
    )


def test_a_second_export_is_the_same_but_for_its_first_line(full, rag, tmp_path):
    first, second = tmp_path / "one.zst", tmp_path / "two.zst"
    full.export(first)
    copy = rag(tmp_path / "copy.mem")
    copy.import_(first)
    copy.export(second)

    one, two = lines(first), lines(second)

    assert one[1:-1] == two[1:-1]
    assert one[0]["counts"] == two[0]["counts"]


text = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1
).filter(str.strip)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | text
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(text, inner, max_size=2),
    max_leaves=4,
)  # fmt: skip
drafts = st.builds(
    Draft,
    text,
    scope=st.dictionaries(st.sampled_from(["user", "agent"]), st.sampled_from("ab"), max_size=2),
    metadata=st.dictionaries(text, values, max_size=2),
    key=st.none() | st.sampled_from(["k1", "k2"]),
    pinned=st.booleans(),
    at=st.none() | st.datetimes(datetime(1970, 1, 2), datetime(2100, 1, 1), timezones=st.just(UTC)),
)


@pytest.mark.slow
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(drafts, max_size=5), st.lists(st.tuples(st.integers(0, 4), text), max_size=4))
def test_any_content_makes_the_round_trip(tmp_path_factory, added, changes):
    folder = tmp_path_factory.mktemp("trip")
    options = {"backends": ("buffer",)}
    with Memory.open(folder / "a", **options) as one, Memory.open(folder / "b", **options) as two:
        ids = [record.id for record in one.add(added)] if added else []
        for place, said in changes:
            if place < len(ids):
                with suppress(InvalidInputError):  # another record says so already
                    one.update(ids[place], said, scope="all")
        one.export(folder / "x.zst")
        two.import_(folder / "x.zst")
        two.export(folder / "y.zst")
        assert content(one) == content(two)
    assert lines(folder / "x.zst")[1:-1] == lines(folder / "y.zst")[1:-1]


def test_one_tenant_leaves_alone(full, rag, tmp_path):
    full.export(tmp_path / "ann.zst", scope=ANN)
    said = json.dumps(lines(tmp_path / "ann.zst"))

    assert "locker" in said
    assert "room 12" in said
    for hidden in ("tea", "canteen", "archive?", "é", "bob"):
        assert hidden not in said
    copy = rag(tmp_path / "copy.mem")
    copy.import_(tmp_path / "ann.zst")
    assert copy.stats().records == full.stats(scope=ANN).records


def test_one_tenant_comes_in_alone(full, rag, tmp_path):
    full.export(tmp_path / "all.zst")
    copy = rag(tmp_path / "copy.mem")

    report = copy.import_(tmp_path / "all.zst", scope=BOB)

    assert report.records == copy.stats().records == copy.stats(scope=BOB).records == 3
    assert {row["scope"] for row in content(copy)["turns"]} == {'{"user":"bob"}'}
    assert content(copy)["ttls"] == []


def test_what_has_expired_does_not_travel(full, rag, tmp_path):
    full._engine.ledger._database.clock = lambda: datetime.now(UTC).timestamp() + 2 * 86_400
    full.export(tmp_path / "late.zst")
    assert "Gone tomorrow." not in json.dumps(lines(tmp_path / "late.zst"))
    kinds = [line.get("kind") for line in lines(tmp_path / "late.zst")]
    assert "item" not in kinds


def test_what_expires_on_the_way_is_left_out(full, rag, tmp_path):
    full.export(tmp_path / "all.zst")
    copy = rag(tmp_path / "copy.mem")
    copy._engine.ledger._database.clock = lambda: datetime.now(UTC).timestamp() + 100 * 86_400

    report = copy.import_(tmp_path / "all.zst")

    # Ann's records and turns live for 90 days; an item for a minute, one record for a day.
    assert report.expired == 6
    said = json.dumps(content(copy), default=str)
    assert "locker" not in said
    assert "Gone tomorrow" not in said


def test_an_export_is_of_one_moment(full, tmp_path, monkeypatch):
    def late(path, about, counts, entries):
        full.add("Said while the export ran.")  # nobody has to wait for it
        write_archive(path, about, counts, entries)

    monkeypatch.setattr(transfer, "write_archive", late)
    full.export(tmp_path / "dump.zst")

    assert "while the export ran" not in json.dumps(lines(tmp_path / "dump.zst"))
    Archive(tmp_path / "dump.zst")


def test_a_failed_export_leaves_the_older_one(full, tmp_path, monkeypatch):
    path = tmp_path / "dump.zst"
    full.export(path)
    before = path.read_bytes()
    monkeypatch.setattr("memkit.memory.archive.LONGEST", 300)
    full.add("Too long. " * 100)

    with pytest.raises(InvalidInputError, match="expected entries of at most 300 bytes"):
        full.export(path)

    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir() if "tmp" in one.name] == []


@pytest.mark.slow
def test_memory_stays_flat(tmp_path):
    source = Ledger.open(tmp_path / "big.mem")
    word = "abcdefghij" * 200
    with source.transaction():
        for start in range(0, 4000, 500):
            source.records.add([Draft(f"{n} {word}") for n in range(start, start + 500)])
    source.close()
    with Memory.open(tmp_path / "big.mem", backends=("buffer",)) as big:
        tracemalloc.start()
        big.export(tmp_path / "big.zst")
        assert tracemalloc.get_traced_memory()[1] < 5e6  # of 8 MB of text
        tracemalloc.stop()
    with Memory.open(tmp_path / "copy.mem", backends=("buffer",)) as copy:
        tracemalloc.start()
        assert copy.import_(tmp_path / "big.zst").records == 4000
        assert tracemalloc.get_traced_memory()[1] < 5e6
        tracemalloc.stop()


# -- what is there already


def test_importing_twice_changes_nothing(full, rag, tmp_path):
    path = tmp_path / "dump.zst"
    full.export(path)
    before = content(full)

    report = full.import_(path)

    assert content(full) == before
    assert (report.records, report.skipped) == (0, 6 + 3 + 1 + 1)


@pytest.fixture
def changed(full, rag, tmp_path):
    """An export, and a memory in which each kind of entry differs from it."""
    path = tmp_path / "dump.zst"
    full.export(path)
    copy = rag(tmp_path / "copy.mem")
    copy.import_(path)
    (locker,) = [r for r in copy.records(scope=ANN).records if r.key and "code" in r.key]
    said = "Ann's locker has no code."
    copy.update(locker.id, said, question="Which code?", answer="no code", scope=ANN)
    copy.retention.set_ttl(ANN, 60)
    copy.items.write([NewItem(("a", "b"), "k", {"x": "mine"}, scope=BOB)])
    return path, copy


def test_a_conflict_refuses_the_whole_file(changed):
    path, copy = changed
    before = content(copy)

    with pytest.raises(InvalidInputError, match="is in the memory already") as caught:
        copy.import_(path)

    assert "on_conflict" in caught.value.hint
    assert content(copy) == before


def test_skip_keeps_what_is_here(changed):
    path, copy = changed
    before = content(copy)

    report = copy.import_(path, on_conflict="skip")

    assert content(copy) == before
    assert report.replaced == report.records == 0


def test_replace_takes_what_comes(changed, full):
    path, copy = changed

    report = copy.import_(path, on_conflict="replace")

    assert content(copy) == content(full)
    assert report.replaced == 3
    assert copy.search("locker 9001", k=1, scope=ANN)[0].text == "Ann's locker has the code 9001."
    data = (copy._engine.ledger.directory / "ledger.sqlite3").read_bytes()
    assert b"no code" not in data


@pytest.mark.parametrize("choice", ["skip", "replace"])
def test_another_record_with_the_key_is_a_conflict(full, rag, tmp_path, choice):
    path = tmp_path / "dump.zst"
    full.export(path)
    copy = rag(tmp_path / "copy.mem")
    mine = copy.add("Bob likes rum.", scope=BOB, key="drink")
    turn = copy.add_turn("user", "Where is the archive?", scope=BOB)
    with pytest.raises(InvalidInputError, match="another one in its place"):
        copy.import_(path)

    copy.import_(path, on_conflict=choice)

    drinks = {r.id: r.text for r in copy.records(scope=BOB).records if r.key == "drink"}
    if choice == "skip":
        assert drinks == {mine.id: "Bob likes rum."}
    else:
        assert list(drinks.values()) == ["Bob likes tea. ☕\n\u2028"]
        assert mine.id not in drinks
    # Both turns are there, and belong to the one record that says the same.
    turns = copy.turns(scope=BOB)
    assert len(turns) == 2
    assert turn.id in {one.id for one in turns}
    assert len({one.record_id for one in turns}) == 1


def test_a_choice_that_is_none(full, tmp_path):
    with pytest.raises(InvalidInputError, match="`on_conflict` must be one of"):
        full.import_(tmp_path / "x", on_conflict="merge")


# -- damage


@pytest.fixture
def dump(full, tmp_path):
    full.export(tmp_path / "dump.zst")
    return tmp_path / "dump.zst"


def unpacked(data):
    try:
        return zstandard.ZstdDecompressor().decompressobj().decompress(data)
    except zstandard.ZstdError:
        return None


def test_every_cut_and_many_flips_are_found(dump, rag, tmp_path):
    memory, whole = rag(tmp_path / "empty.mem"), dump.read_bytes()
    places = range(0, len(whole), max(1, len(whole) // 60))
    damaged = [whole[:end] for end in [*places, len(whole) - 1, len(whole) - 4]]
    flipped = [whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :] for at in places]
    # zstd (RFC 8878) has bits that say nothing, such as one in the header of every frame.
    damaged += [data for data in flipped if unpacked(data) != unpacked(whole)]
    damaged += [whole + b"x", whole + whole]
    for data in damaged:
        dump.write_bytes(data)
        with pytest.raises(CorruptFileError, match="expected a whole archive"):
            memory.import_(dump)
    assert content(memory)["records"] == content(memory)["turns"] == []


def test_a_file_that_changes_between_the_passes_is_refused(full, dump, rag, tmp_path, monkeypatch):
    def checked_and_changed(engine, archive, **options):
        check(engine, archive, **options)
        full.add("Added since.")
        full.export(dump)

    check = transfer._check
    monkeypatch.setattr(transfer, "_check", checked_and_changed)
    memory = rag(tmp_path / "m")

    with pytest.raises(CorruptFileError, match=r"more than it says|changed while it was read"):
        memory.import_(dump)

    assert memory.stats().records == 0


def synthesis(**changes):
    one = {"kind": "synthesis", "content_hash": "0", "synthesizer": "s", "examples": []}
    return one | changes


def example(**changes):
    return {"question": "q", "answer": "a", "held_out": False, "origin": "template"} | changes


def test_what_was_forged_well_is_taken(rag, tmp_path):
    path = forge(tmp_path / "f", [header(counts={"record": 1, "turn": 1}), record(), turn()])
    assert rag(tmp_path / "m").import_(path).records == 1


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        (turn(added_at="now"), "`added_at` must be seconds"),
        (synthesis(examples={}), "`examples` must be a list"),
        (synthesis(examples=["q"]), "expected an example to have"),
        (synthesis(examples=[example(more=1)]), "expected an example to have"),
        (synthesis(examples=[example(question=" ")]), "`question` must not be empty"),
        (synthesis(examples=[example(answer=7)]), "`answer` must be a string"),
        (synthesis(examples=[example(origin="a\0")]), "NUL"),
        (synthesis(examples=[example(held_out=1)]), "`held_out` must be true or false"),
        (synthesis(synthesizer=None), "`synthesizer` must be a string"),
        (record(text=" "), "`text` must not be empty"),
        (record(text="a\0b"), "NUL"),
        (record(text="\ud800"), "lone surrogate"),
        (record(text=5), "`text` must be a string"),
        (record(question="Why?"), "without `answer`"),
        (record(question="Why?", answer="Said."), "`key` must be a string, as .*Why"),
        (record(id=""), "`id` must not be empty"),
        (record(scope={"user": 1}), "scope"),
        (record(scope=[]), "`scope` must be a mapping"),
        (record(metadata=[]), "`metadata` must be a mapping"),
        (record(metadata={"n": 2**64}), "must be a JSON value"),
        (record(version=0), "`version` must be an integer"),
        (record(version=True), "`version` must be an integer"),
        (record(created_at="now"), "`created_at` must be seconds"),
        (record(updated_at=1e300), "`updated_at` must be seconds"),
        (record(pinned=1), "`pinned` must be true or false"),
        (record(pinned=True, expires_at=9e9), "what is pinned does not expire"),
        (record(more=1), "has also"),
        (turn(role="root"), "`role` must be one of"),
        (turn(record=7), "`record` must be a string"),
        ({"kind": "spell"}, "`kind` must be one of"),
        ({"kind": "module", "name": "../x"}, "expected a module"),
        ({"kind": "module", "name": "../x", "base_model": "b", "sha256": "0", "records": []},
         "`name` must be that of a folder"),
    ],
)  # fmt: skip
def test_what_could_not_be_added_is_refused(rag, tmp_path, entry, why):
    memory = rag(tmp_path / "m")
    first = {"record": 1, entry["kind"]: 1 + (entry["kind"] == "record")}
    path = forge(tmp_path / "f", [header(counts=first), record(id="fine", text="Fine."), entry])

    with pytest.raises(CorruptFileError, match=rf"line 3 of (?s:.*){why}"):
        memory.import_(path)

    assert memory.stats().records == 0


@pytest.mark.parametrize(
    ("entries", "error", "why"),
    [
        ([{"format": "zip"}], CorruptFileError, "not that of an archive"),
        ([header(version=2, memkit="9.9")], FormatVersionError, "version 2 of the archive format"),
        ([header(counts=None)], CorruptFileError, "does not say what follows"),
        ([header(), record()], CorruptFileError, "line 2 is more than it says"),
        ([header(counts={"record": 2}), record()], CorruptFileError, "its checksum is wrong"),
        ([[1, 2]], CorruptFileError, "line 1 is not a JSON object"),
        ([header(counts={"record": 1}), record(metadata={"x": float("nan")})],
         CorruptFileError, "line 2 is not JSON: NaN"),
        ([header(counts={"turn": 1}), turn(record="nobody")], InvalidInputError,
         "line 2 of .*`record` of turn 't' must be .*'nobody'"),
    ],
)  # fmt: skip
def test_what_is_no_export_is_refused(rag, tmp_path, entries, error, why):
    memory = rag(tmp_path / "m")
    with pytest.raises(error, match=why):
        memory.import_(forge(tmp_path / "f", entries))
    assert content(memory)["turns"] == []


def test_deep_json_is_refused(rag, tmp_path):
    path = tmp_path / "deep"
    path.write_bytes(zstandard.compress(b"[" * 10**6 + b"\n"))
    with pytest.raises(CorruptFileError, match="line 1 is not JSON"):
        rag(tmp_path / "m").import_(path)


def test_a_bomb_is_refused_before_it_fills_the_memory(rag, tmp_path, monkeypatch):
    monkeypatch.setattr("memkit.memory.archive.LONGEST", 2**22)
    out = io.BytesIO()
    with zstandard.ZstdCompressor().stream_writer(out, closefd=False) as writer:
        for _ in range(200):
            writer.write(bytes(2**20))  # 200 MB of zeros in a few kilobytes
    (tmp_path / "bomb").write_bytes(out.getvalue())
    memory = rag(tmp_path / "m")

    with pytest.raises(CorruptFileError, match="has a line of more than 4,194,304 bytes"):
        memory.import_(tmp_path / "bomb")


def test_no_file(full, tmp_path):
    with pytest.raises(OSError, match=r"there is no file .*nothing.*: it does not exist"):
        full.import_(tmp_path / "nothing")


@pytest.mark.parametrize("kind", ["pipe", "link", "dangling link", "folder", "/"])
def test_an_export_replaces_files_alone(full, tmp_path, kind):
    path = tmp_path / "out"
    (tmp_path / "other").write_text("other")
    {
        "pipe": lambda: os.mkfifo(path),
        "link": lambda: path.symlink_to(tmp_path / "other"),
        "dangling link": lambda: path.symlink_to(tmp_path / "nowhere"),
        "folder": path.mkdir,
        "/": lambda: None,
    }[kind]()
    before = {entry.name: entry.lstat() for entry in tmp_path.iterdir()}
    with pytest.raises(UnsafePathError, match="expected a plain file at"):
        full.export("/" if kind == "/" else path)
    after = {entry.name: entry.lstat() for entry in tmp_path.iterdir()}
    assert {name: (s.st_ino, s.st_mode) for name, s in after.items()} == {
        name: (s.st_ino, s.st_mode) for name, s in before.items()
    }
    assert (tmp_path / "other").read_text() == "other"


# -- adapters


def test_modules_travel_as_peft_folders(trained, open_memory, tmp_path):
    report = trained.export(tmp_path / "dump.zst", adapters=True)
    folders = sorted(path.name for path in (tmp_path / "dump.zst.adapters").iterdir())
    assert folders == [module.name for module in trained.modules.list()]
    assert report.modules == len(folders)
    with pytest.raises(InvalidInputError, match="which is where the adapters go"):
        trained.export(tmp_path / "dump.zst", adapters=True)
    copy = open_memory(tmp_path / "copy.mem")

    taken = copy.import_(tmp_path / "dump.zst", adapters=True)

    assert taken.modules == len(folders)
    assert copy.stats().held == trained.stats().held
    answer = copy.ask("What is the badge number of Nora?", budget=0)
    assert answer.text == trained.ask("What is the badge number of Nora?", budget=0).text == "4471"
    assert copy.import_(tmp_path / "dump.zst", adapters=True).modules == 0  # they are there


def test_changed_weights_are_refused_before_anything_is_written(trained, open_memory, tmp_path):
    trained.export(tmp_path / "dump.zst", adapters=True)
    weights = tmp_path / "dump.zst.adapters" / "m0001" / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    copy = open_memory(tmp_path / "copy.mem")

    with pytest.raises(CorruptFileError, match=r"'m0001' in .* have another checksum"):
        copy.import_(tmp_path / "dump.zst", adapters=True)

    assert copy.stats().records == 0
    assert copy.import_(tmp_path / "dump.zst").modules == 0  # the records do not need them
    assert copy.stats().records == 8


def test_adapters_need_the_backend(full, tmp_path):
    with pytest.raises(UnsupportedOperationError, match="'lora' backend"):
        full.export(tmp_path / "x", adapters=True)
    with pytest.raises(UnsupportedOperationError, match="'lora' backend"):
        full.import_(tmp_path / "x", adapters=True)
    assert not (tmp_path / "x").exists()


# -- nothing is left behind


DERIVED = {
    "number",
    "content_hash",
    "checksum",
    "record",
}  # numbers of rows; what is computed from the rest


def test_every_column_travels(full):
    with sqlite3.connect(full._engine.ledger.directory / "ledger.sqlite3") as connection:
        for kind in (ITEM, RECORD, SYNTHESIS, TTL, TURN, VERSION):
            columns = {row[1] for row in connection.execute(f"PRAGMA table_info({kind.table})")}
            stored = {"content_hash"} if kind is SYNTHESIS else set()
            assert columns - DERIVED | stored == set(kind.columns), kind.table
        columns = {row[1] for row in connection.execute("PRAGMA table_info(examples)")}
        assert columns - {"synthesis", "position", "checksum"} == set(EXAMPLE_FIELDS)
    connection.close()
