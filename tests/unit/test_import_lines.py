"""What an import takes could have been added, and comes out again; all else changes nothing."""

import json
import os
import shutil

import pytest
from archives import archive, content, forge, header, item, lines, record, ttl, turn, version
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memkit import InvalidInputError, Memory
from memkit.errors import CorruptFileError, MemkitError, StorageError
from memkit.ledger.items import NewItem
from memkit.memory.archive import Archive
from memkit.types import Example

ANN = {"user": "ann"}
OPTIONS = {"backends": ("buffer",), "base_model": None}


@pytest.fixture
def memory(open_memory, tmp_path):
    return open_memory(tmp_path / "m", **OPTIONS)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The lines of an export with some of everything."""
    folder = tmp_path_factory.mktemp("export")
    with Memory.open(folder / "m", **OPTIONS) as memory:
        memory.retention.set_ttl(ANN, 10_000)
        one = memory.add("The code is 1.", question="Code?", answer="1", metadata={"a": [1, None]})
        memory.update(one.id, "The code is 2.", answer="2")
        memory.add("Ann has a cat.", scope=ANN, key="cat", id="cat")
        memory.add("Pinned.", pinned=True)
        memory.add_turn("user", "I moved.", scope=ANN)
        memory.add_messages([{"role": "user", "content": "Where?"}])
        items = [NewItem(("a", "b"), "k", {"x": [1.5, "é"]}, [[0.6, 0.8]], ttl=500, scope=ANN)]
        memory.items.write(items)
        memory._engine.ledger.examples.put("t", {one.id: [Example("Code?", "2", one.id)]})
        memory.export(folder / "e")
    return lines(folder / "e")[:-1]


def paths(value, here=()):
    """The places in a JSON value, from the whole to its leaves."""
    yield here
    if isinstance(value, dict):
        for key, child in value.items():
            yield from paths(child, (*here, key))
    elif isinstance(value, list):
        for place, child in enumerate(value):
            yield from paths(child, (*here, place))


DROPPED = object()


def changed(value, path, new):
    """A JSON value with another value, or nothing, in one place."""
    if not path:
        return new
    copy = value.copy()
    child = changed(copy[path[0]], path[1:], new)
    if child is DROPPED:
        del copy[path[0]]
    else:
        copy[path[0]] = child
    return copy


odd = st.one_of(
    st.sampled_from([DROPPED, None, True, False, "", " ", "x", "cat", "record", "\0", "\ud800", "é",
                     0, 1, -1, 2, 3, 2**31, 2**63, 2**64, 10**400, 0.5, -0.0, 1e15, 1e308,
                     float("inf"), float("-inf"), float("nan"), [], ["x"], [[]], {},
                     {"user": "ann"}, {"user": "bob"}, {"user": 1}, {"x": {"y": []}},
                     "AACAPw==", "A", "x" * 300]),
    st.integers(), st.floats(), st.text(max_size=5),
)  # fmt: skip


@pytest.mark.slow
@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data(), scope=st.sampled_from([None, ANN]),
       choice=st.sampled_from(["error", "skip", "replace"]))  # fmt: skip
def test_a_mutated_export_comes_in_whole_or_not_at_all(
    tmp_path_factory, exported, data, scope, choice
):
    entries = exported
    for _ in range(data.draw(st.integers(1, 2))):
        at = data.draw(st.integers(0, len(entries) - 1))
        path = data.draw(st.sampled_from(list(paths(entries[at]))))
        new = data.draw(odd)
        line = changed(entries[at], path, new)
        entries = [*entries[:at], *([] if line is DROPPED else [line]), *entries[at + 1 :]]
    folder = tmp_path_factory.mktemp("mutant")
    forge(folder / "mutant", entries)
    with Memory.open(folder / "m", **OPTIONS) as memory:
        memory.add("Here before.", id="before")
        memory.export(folder / "before")
        try:
            memory.import_(folder / "mutant", scope=scope, on_conflict=choice)
        except (InvalidInputError, CorruptFileError, StorageError):
            memory.export(folder / "after")
            assert lines(folder / "after")[1:-1] == lines(folder / "before")[1:-1]
        else:
            memory.export(folder / "one")
            with Memory.open(folder / "copy", **OPTIONS) as copy:
                copy.import_(folder / "one")
                copy.export(folder / "two")
                assert content(copy) == content(memory)
            assert lines(folder / "two")[1:-1] == lines(folder / "one")[1:-1]
            for row in memory.records(scope=scope or {}).records:
                str(row)
    shutil.rmtree(folder)


def unit(*values):
    import base64
    import struct

    return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ({"kind": ["x"]}, "`kind` in line 2 must be a string, got list: \\['x'\\]"),
        (record(version=-1), "line 2 .*`version` must be an integer of at least 1, got int: -1"),
        (ttl(seconds=0), "line 2 .*`ttl` must be at least 1 second"),
        (ttl(seconds=1e12), "line 2 .*at most 1,000 years"),
        (ttl(seconds="60"), "line 2 .*must be seconds"),
        (item(ttl=5), "line 2 .*`ttl` and `expires_at` must both be given or both be null"),
        (item(expires_at=5), "line 2 .*`ttl` and `expires_at` must both be given"),
        (item(vectors=[unit(1, 0), unit(1)]), r"line 2 .*`vectors` must be of one length, got \[1"),
        (item(vectors=[unit(3, 4)]), "line 2 .*must be of length 1 or zeros, got length 5"),
        (turn(record="x" * 300), "line 2 .*`record` must have at most 256 characters"),
        (record(created_at=[1]), "line 2 .*`created_at` must be seconds since 1970, got list"),
    ],
)
def test_the_message_has_the_line_the_field_and_what_came(memory, tmp_path, entry, why):
    entries = [header(counts={str(entry["kind"]): 1}), entry]
    with pytest.raises(CorruptFileError, match=f"(?s){why}"):
        memory.import_(forge(tmp_path / "f", entries))
    assert not any(content(memory).values())


def test_numbers_that_are_none_are_refused(memory, tmp_path, monkeypatch):
    """JSON knows no infinity, but Python reads one from 1e999."""
    path = tmp_path / "f"
    real = json.dumps
    monkeypatch.setattr(json, "dumps", lambda *a, **k: real(*a, **k).replace("777", "1e999"))
    archive(path, item(value={"x": 777}))
    monkeypatch.undo()
    with pytest.raises(CorruptFileError, match="line 2 is not JSON: 1e999 is too large"):
        memory.import_(path)
    assert not any(content(memory).values())


@pytest.mark.parametrize("number", [-1, 0, True, "1", 1.0])
def test_the_version_of_the_format_is_a_positive_integer(memory, tmp_path, number):
    with pytest.raises(CorruptFileError, match=r"first line is not|`version` in line 1 must be"):
        memory.import_(forge(tmp_path / "f", [header(version=number)]))


def test_a_conflict_names_the_line_of_the_record(memory, tmp_path):
    memory.add("Other.", id="r")
    path = archive(tmp_path / "f", record(id="a"), record(id="r", version=2, text="x"), version())
    with pytest.raises(InvalidInputError, match=r"line 3 of .*record 'r' is in the memory already"):
        memory.import_(path)
    assert [r["id"] for r in content(memory)["records"]] == ["r"]


def test_a_module_names_its_own_line(memory, tmp_path):
    memory.add("a", id="a")
    memory.add("b", id="b", scope=ANN)
    about = {"name": "m", "base_model": "b", "sha256": "0"}
    path = archive(tmp_path / "f", {"kind": "module", **about, "records": ["a", "b"]})
    with pytest.raises(InvalidInputError, match=r"line 2 of .* of one scope"):
        memory.import_(path)


# -- what is no file


def piped(path):
    os.mkfifo(path)


SPECIAL = [piped, lambda path: path.symlink_to("/dev/zero")]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("make", SPECIAL)
def test_pipes_and_devices_are_not_waited_for(memory, tmp_path, make):
    make(tmp_path / "f")
    with pytest.raises(StorageError, match=r"no file .* to import: it is no plain file"):
        memory.import_(tmp_path / "f")
    with pytest.raises(StorageError, match="expected a plain file"):
        Archive(tmp_path / "f")


@pytest.fixture
def moved(trained, tmp_path):
    """An export with adapters, and the folder of the first of them."""
    trained.export(tmp_path / "dump", adapters=True)
    return tmp_path / "dump", tmp_path / "dump.adapters" / "m0001"


FILES = ["adapter_model.safetensors", "adapter_config.json", "manifest.json"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("make", SPECIAL)
def test_adapters_are_plain_files(moved, open_memory, tmp_path, name, make):
    path, folder = moved
    (folder / name).unlink()
    make(folder / name)
    copy = open_memory(tmp_path / "copy")
    for load in (
        lambda: copy.import_(path, adapters=True),
        lambda: copy.modules.import_(folder, records=["Nora"]),
    ):
        with pytest.raises((StorageError, LookupError)):
            load()
        copy.add("Nora's.", id="Nora") if "Nora" not in copy else None
    assert copy.count() == 1


def test_an_endless_file_of_weights_is_not_read_to_its_end(moved, open_memory, tmp_path):
    path, folder = moved
    with (folder / FILES[0]).open("r+b") as file:
        file.truncate(2**40)  # a terabyte of zeros that takes no room
    with pytest.raises(CorruptFileError, match="expected at most"):
        open_memory(tmp_path / "copy").import_(path, adapters=True)


@pytest.mark.parametrize(
    "name", ["..", "../m0001", "/etc", "a/b", "a\\b", "C:x", "", ".", 5, "m\0"]
)
def test_modules_have_names_of_folders(memory, tmp_path, name):
    entry = {"kind": "module", "name": name, "base_model": "b", "sha256": "0", "records": []}
    with pytest.raises(CorruptFileError, match=r"line 2 .*`name` must"):
        memory.import_(archive(tmp_path / "f", entry))


def test_adapters_lie_beside_the_file(moved, open_memory, tmp_path):
    path, folder = moved
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    copy = open_memory(tmp_path / "copy")
    with pytest.raises(CorruptFileError, match="got a link to another place"):
        copy.import_(path, adapters=True)
    assert copy.count(scope="all") == 0


def test_an_adapter_that_cannot_be_taken_refuses_the_whole_file(moved, open_memory, tmp_path):
    path, folder = moved
    config = json.loads((folder / FILES[1]).read_text())
    (folder / FILES[1]).write_text(json.dumps(config | {"use_dora": True}))
    copy = open_memory(tmp_path / "copy")
    with pytest.raises(MemkitError, match="plain LoRA"):
        copy.import_(path, adapters=True)
    assert copy.count(scope="all") == 0


def test_adapters_come_for_records_of_the_scope_only(trained, open_memory, tmp_path, badges):
    """Else a tenant's file could put weights in place for the records of another one."""
    trained.export(tmp_path / "dump", adapters=True)
    copy = open_memory(tmp_path / "copy")
    copy.add(badges)
    before = copy.records(scope="all").records
    assert copy.import_(tmp_path / "dump", scope=ANN, adapters=True).modules == 0
    assert list(copy.modules) == []
    assert copy.records(scope="all").records == before
