"""`memkit check`: each kind of damage is found; what is derived is made anew, nothing else."""

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing, suppress

import numpy as np
import pytest

from memkit.cli import main as cli
from memkit.errors import (
    CorruptFileError,
    FormatVersionError,
    MemkitError,
    NotAMemoryError,
)
from memkit.ledger import Ledger
from memkit.ledger.engine import schema
from memkit.ledger.engine.checksums import checksum, stamp
from memkit.ledger.engine.connect import FILE, inspect
from memkit.memory.check import check
from memkit.rag.vectors.flat import FlatIndex

TEXTS = [f"Parcel {n} is at gate {n * 7}." for n in range(40)]


@pytest.fixture(scope="session")
def whole(tmp_path_factory, trained_directory, opener):
    """A memory with modules, versions, turns and an index file; to be copied."""
    directory = tmp_path_factory.mktemp("whole") / "m"
    shutil.copytree(trained_directory, directory)
    with opener(directory) as memory:
        ids = [record.id for record in memory.add(TEXTS)]
        memory.update(ids[0], "Parcel 0 is lost.")
        memory.add_turn("user", "Where is parcel 9?", scope={"user": "ann"})
    with opener(directory):
        pass
    return directory


@pytest.fixture
def directory(tmp_path, whole):
    return shutil.copytree(whole, tmp_path / "m")


def sql(directory, *statements, signed=None):
    """Run statements; a table may be signed, as if memkit itself had written it."""
    with closing(sqlite3.connect(directory / FILE, isolation_level=None)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        for statement in statements:
            found = connection.execute(statement).fetchall()
    if signed is not None:
        with closing(inspect(directory / FILE, 5.0)) as database:
            stamp(database, signed, "TRUE")
    return found


def said(directory):
    """What users have written."""
    texts = "SELECT id, text, metadata FROM records ORDER BY number"
    return sql(directory, texts), sql(directory, "SELECT content FROM turns ORDER BY number")


def flip(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 0x40
    path.write_bytes(content)


def bank(directory):
    (path,) = (directory / "adapters").iterdir()
    return path


def test_a_whole_memory_is_sound(directory, capsys):
    report = check(directory)
    assert report.sound
    assert report.problems == []
    assert "notes" not in str(report)
    assert str(report).endswith("is sound")
    before = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    assert cli.main(["check", str(directory), "--repair"]) == 0
    assert "sound     the index files are the ledger's" in capsys.readouterr().out
    after = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    assert after == before


def nan(directory):
    bad = np.full(64, np.nan, "<f4").tobytes().hex()
    sql(directory, f"UPDATE vectors SET vector = x'{bad}' WHERE passage = 20")


def write_vector(directory, vector):
    """As memkit would."""
    right = checksum((20, vector.tobytes()))
    sql(
        directory,
        f"UPDATE vectors SET vector = x'{vector.tobytes().hex()}', checksum = '{right}' "
        "WHERE passage = 20",
    )


def longer(directory):
    write_vector(directory, np.full(64, 1.0, "<f4"))


def manifest(directory):
    bare = "UPDATE module_versions SET manifest = '{}' WHERE module = 'm0001'"
    sql(directory, bare, signed="module_versions")


def cut_bank(directory):
    path = bank(directory)
    path.write_bytes(path.read_bytes()[:-5000])


def future(directory):
    path = directory / "index" / "dense.faiss"
    index, stamp = FlatIndex.load(path)
    index.save(path, stamp + 99)


DAMAGE = {
    "word index": (
        lambda d: sql(d, "INSERT INTO passages_fts (passages_fts, rowid, words) "
                         "VALUES ('delete', 20, (SELECT words FROM passages WHERE key = 20))"),
        "the word index is not that of the passages",
    ),
    "words emptied": (
        lambda d: sql(d, "INSERT INTO passages_fts (passages_fts) VALUES ('delete-all')"),
        "the word index is not that of the passages",
    ),
    "trigger": (
        lambda d: sql(d, "DROP TRIGGER passage_added"), "the trigger 'passage_added' is missing",
    ),
    "index of a table": (
        lambda d: sql(d, "DROP INDEX turns_by_scope"), "the index 'turns_by_scope' is missing",
    ),
    "vector gone": (lambda d: sql(d, "DELETE FROM vectors WHERE passage = 20"),
                    "1 passage has no vector"),
    "vector cut": (lambda d: sql(d, "UPDATE vectors SET vector = x'00' WHERE passage = 20"),
                   "1 row of 'vectors' is not as written"),
    "vector not finite": (nan, "1 row of 'vectors' is not as written"),
    "vector too long": (longer, "1 passage has no vector"),
    "record gone": (lambda d: sql(d, "DELETE FROM records WHERE text LIKE 'Parcel 0 %'"),
                    "1 rows of 'versions' refer to what is not there"),
    "turn's record gone": (lambda d: sql(d, "DELETE FROM records WHERE text LIKE 'Where%'"),
                           "1 rows of 'turns' refer to what is not there"),
    "checksum": (lambda d: sql(d, "UPDATE records SET content_hash = 'x' WHERE id = 'Nora'"),
                 "1 record has another checksum than the text, such as ['Nora']"),
    "bank flipped": (lambda d: flip(bank(d), 4096 + 1000), "module m0001 v1: expected SHA-256"),
    "bank cut": (cut_bank, "the file ends before"),
    "bank gone": (lambda d: bank(d).unlink(), "found none"),
    "manifest": (manifest, "its manifest lacks"),
    "manifest flipped": (
        lambda d: sql(d, "UPDATE module_versions SET manifest = '{}' WHERE module = 'm0001'"),
        "1 row of 'module_versions' is not as written",
    ),
    "active version flipped": (
        lambda d: sql(d, "UPDATE modules SET versions = 3 WHERE name = 'm0001'"),
        "1 row of 'modules' is not as written",
    ),
    "member flipped": (
        lambda d: sql(d, "UPDATE members SET record = 'Other' WHERE record = 'Nora'"),
        "1 row of 'members' is not as written",
    ),
    "member gone": (lambda d: sql(d, "PRAGMA foreign_keys = ON",
                                  "DELETE FROM records WHERE id = 'Nora'"),
                    "its weights were trained on a record that is gone"),
    "index flipped": (lambda d: flip(d / "index" / "dense.faiss", 2000), "is damaged"),
    "index cut": (lambda d: (d / "index" / "dense.faiss").write_bytes(b"x"), "got 1 bytes"),
    "index of the future": (future, "the ledger has only had"),
    "feed": (lambda d: sql(d, "DELETE FROM changes WHERE seq > 5"), "not in the feed of changes"),
    "former vectors": (
        lambda d: sql(d, schema.vectors_sql("old_vectors")),
        "vectors of the former embedder are left",
    ),
    "stray adapter": (lambda d: (d / "adapters" / "x.bank").write_bytes(b"x"),
                      "no module names adapters/x.bank"),
    "leftover of the index": (lambda d: (d / "index" / "0d.lists").write_bytes(b"x"),
                              "no index uses index/0d.lists"),
    "terms gone": (lambda d: sql(d, "DELETE FROM metadata_terms WHERE key = 'role'"),
                   "the index of metadata lacks 1 entries, and has 0"),
    "terms of nobody": (
        lambda d: sql(d, "INSERT INTO metadata_terms VALUES ('a', 1, 1), ('a', 'b', 99)"),
        "the index of metadata lacks 0 entries, and has 2 that no record has",
    ),
    "terms of another value": (
        lambda d: sql(d, "UPDATE metadata_terms SET value = 'x' WHERE key = 'role'"),
        "the index of metadata lacks 1 entries, and has 1 that no record has",
    ),
    "table of terms": (
        lambda d: sql(d, "DROP TRIGGER terms_added", "DROP TABLE metadata_terms"),
        "the table 'metadata_terms' is missing",
    ),
    "no passages, it says": (lambda d: sql(d, "INSERT INTO unindexed VALUES (3)"),
                             "of 1 record it is not right whether there are passages"),
    "not embedded, and unknown": (
        lambda d: sql(d, "DELETE FROM passages WHERE record = 3", "DELETE FROM unindexed"),
        "of 1 record it is not right whether there are passages",
    ),
    "passage of another text": (
        lambda d: sql(d, "UPDATE passages SET text = 'x' WHERE key = 20"),
        "1 record has passages that are no slices of the text",
    ),
    "passage elsewhere": (
        lambda d: sql(d, "UPDATE passages SET start = 1 WHERE key = 20"),
        "1 record has passages that are no slices of the text",
    ),
    "question changed": (
        lambda d: sql(d, "UPDATE passages SET kind = 'question' WHERE key = 20"),
        "1 record has passages that are no slices of the text",
    ),
    "digest": (lambda d: sql(d, "UPDATE passages SET digest = 7 WHERE key = 20"),
               "1 passage has other words or another digest than the text"),
    "words of another text": (
        lambda d: sql(d, "UPDATE passages SET words = 'gate' WHERE key = 20",
                         "INSERT INTO passages_fts (passages_fts) VALUES ('rebuild')"),
        "1 passage has other words or another digest than the text",
    ),
    # SQLite keeps the number of passages and of their words, which BM25 goes by, in row 1: here
    # 127 and 127.
    "counts of words": (lambda d: sql(d, "UPDATE passages_fts_data SET block = x'7f7f' "
                                         "WHERE id = 1"),
                        "the word index is not that of the passages"),
    "counter lost": (lambda d: sql(d, "DELETE FROM sqlite_sequence WHERE name = 'passages'"),
                     "the counter of 'passages' is behind"),
    "counter back": (lambda d: sql(d, "UPDATE sqlite_sequence SET seq = 1 WHERE name = 'turns'",
                                   "INSERT INTO turns SELECT 2, 't', scope, role, content, "
                                   "NULL, created_at, added_at, NULL, NULL, NULL, '' FROM turns",
                                   "UPDATE sqlite_sequence SET seq = 1 WHERE name = 'turns'",
                                   signed="turns"),
                     "the counter of 'turns' is behind"),
    "version back": (
        lambda d: sql(d, "UPDATE records SET version = 1 WHERE version = 2"),
        "1 record has a lower version than the history says",
    ),
    "active version": (lambda d: sql(d, "UPDATE modules SET active = 9 WHERE name = 'm0001'"),
                       "the active versions of modules ['m0001'] are not there"),
    "versions of a module": (
        lambda d: sql(d, "UPDATE modules SET versions = 0 WHERE name = 'm0001'"),
        "modules have had more versions than they say",
    ),
    "placement": (
        lambda d: sql(d, "UPDATE placements SET content_hash = 'x' WHERE record = 1"),
        "1 record is placed in modules without a test of recall",
    ),
    "dimension": (lambda d: sql(d, "UPDATE meta SET value = 'x' WHERE name = 'embedder_dim'"),
                  "1 row of 'meta' is not as written, such as ['embedder_dim']"),
    "embedder": (lambda d: sql(d, "DELETE FROM meta WHERE name = 'embedder'"),
                 "nothing says which embedder the vectors are of"),
    "number of modules": (lambda d: sql(d, "DELETE FROM meta WHERE name = 'last_module'"),
                          "the setting 'last_module' cannot be None"),
    "calibration": (
        lambda d: sql(d, "UPDATE meta SET value = '{' WHERE name = 'router_calibration'"),
        "1 row of 'meta' is not as written, such as ['router_calibration']",
    ),
    "heads": (lambda d: flip(bank(d), 3), "m0001"),
    "column": (lambda d: sql(d, "ALTER TABLE failed_attempts RENAME COLUMN recipe TO other"),
               "the table 'failed_attempts' is another one"),
    "erasure": (lambda d: sql(d, "INSERT INTO erasures VALUES ('adapters/gone.bank')"),
                "is not yet destroyed"),
    "scrub": (lambda d: sql(d, "INSERT INTO meta (name, value) VALUES ('scrub_pending', 'x')"),
              "is not yet destroyed"),
}  # fmt: skip


@pytest.mark.parametrize("case", DAMAGE)
def test_damage_is_found_and_cured(directory, open_memory, case):
    harm, words = DAMAGE[case]
    harm(directory)
    before = said(directory)

    found = check(directory)
    assert any(words in problem for problem in found.problems), str(found)
    assert found.problems == found.left
    assert said(directory) == before
    assert check(directory).problems == found.problems  # looking changes nothing

    mended = check(directory, repair=True)
    assert any(words in problem for problem in mended.problems), str(mended)
    assert mended.left == [], str(mended)
    assert "repaired" in str(mended)

    assert check(directory).sound, str(check(directory))
    assert said(directory) == before
    memory = open_memory(directory)
    assert memory.search("parcel 20 gate 140", k=1)[0].text == TEXTS[20]
    memory.close()
    assert check(directory).sound, str(check(directory))


def test_vectors_of_another_time_in_the_index_file(directory):
    other = np.zeros(64, "<f4")
    other[3] = 1
    write_vector(directory, other)
    assert check(directory).left == ["the index files: their vectors are not the ledger's"]
    assert check(directory, repair=True).left == []
    assert check(directory).sound


def test_a_torn_ledger_is_said_to_be_lost(directory):
    content = (directory / FILE).read_bytes()
    (directory / FILE).write_bytes(content[: len(content) // 2])
    report = check(directory)
    assert report.left
    assert "the ledger's file is damaged" in str(report)
    assert "restore the directory from a backup" in str(report)
    assert check(directory, repair=True).left
    (directory / FILE).write_bytes(b"nonsense" * 1000)
    assert "damaged" in str(check(directory))


@pytest.mark.parametrize(
    ("table", "column"),
    [("records", "metadata"), ("records", "scope"), ("turns", "scope"), ("versions", "metadata")],
)
@pytest.mark.parametrize("value", ["{", "[]", ""])
def test_what_cannot_be_read_is_said_and_left(directory, table, column, value):
    sql(directory, "DROP TRIGGER terms_changed",
        f"UPDATE {table} SET {column} = '{value}' WHERE rowid = 1")  # fmt: skip
    before = said(directory)
    report = check(directory, repair=True)
    assert any(f"the {column} of 1 {table} is no JSON object" in line for line in report.left)
    assert said(directory) == before


def test_an_index_of_sqlite_is_made_anew(directory):
    (page,) = sql(directory, "SELECT rootpage FROM sqlite_master WHERE name = 'turns_by_scope'")[0]
    content = bytearray((directory / FILE).read_bytes())
    size = int.from_bytes(content[16:18], "big")
    # One entry of the index says another scope than the table.
    place = content.index(b'{"user":"ann"}', (page - 1) * size, page * size)
    content[place + 9] ^= 1
    (directory / FILE).write_bytes(content)
    assert check(directory).left
    assert check(directory, repair=True).left == []
    assert check(directory).sound


def test_expired_records_are_noted_and_swept(directory, open_memory):
    memory = open_memory(directory)
    memory.add("Gone in a moment.", ttl=60)
    memory.close()
    sql(
        directory,
        "UPDATE records SET expires_at = 5 WHERE expires_at IS NOT NULL",
        signed="records",
    )
    report = check(directory)
    assert report.sound
    assert "note      1 expired record is to be destroyed by sweep()" in str(report)
    assert check(directory, repair=True).left == []
    assert b"Gone in a moment" not in (directory / FILE).read_bytes()
    assert "have expired" not in str(check(directory))


def test_what_waits_is_noted(directory, open_memory):
    memory = open_memory(directory, backends=("buffer",))
    memory.add("Not embedded.")
    memory._engine.ledger.shadow_vectors.begin("other", 3)
    memory.close()
    (directory / "notes.txt").write_text("mine")
    report = check(directory, repair=True)
    assert report.sound
    for words in (
        "1 record has no passages yet",
        "embedder 'other' is not finished",
        "'notes.txt'",
    ):
        assert words in str(report)
    assert (directory / "notes.txt").exists()


def test_other_formats(directory, tmp_path):
    sql(directory, "PRAGMA user_version = 99")
    with pytest.raises(FormatVersionError, match="format 99"):
        check(directory)
    with pytest.raises(NotAMemoryError, match="there is no memory"):
        check(tmp_path / "nothing")


def test_an_older_format_is_looked_at_and_left(tmp_path, monkeypatch):
    Ledger.open(tmp_path / "m").close()
    later = ["ALTER TABLE records ADD COLUMN colour TEXT"]
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, later))
    report = check(tmp_path / "m")
    assert report.sound
    assert (
        f"the ledger has format {len(schema.MIGRATIONS) - 1}; the next opening brings it up to date"
        in str(report)
    )
    assert check(tmp_path / "m", repair=True).left == []
    assert "format" not in str(check(tmp_path / "m").findings[-1])
    assert sql(tmp_path / "m", "PRAGMA user_version") == [(len(schema.MIGRATIONS),)]


def test_the_command_says_so_by_its_status(directory, capsys):
    flip(directory / "index" / "dense.faiss", 2000)
    assert cli.main(["check", str(directory)]) == 1
    assert "1 problem, 0 repaired" in capsys.readouterr().out
    assert cli.main(["check", str(directory), "--repair"]) == 1
    assert "1 problem, 1 repaired" in capsys.readouterr().out
    assert cli.main(["check", str(directory)]) == 0


def test_no_model_is_loaded(directory):
    script = (
        "import sys; from memkit.memory.check import check; "
        f"assert check({str(directory)!r}).sound; "
        "assert not {'torch', 'transformers', 'sentence_transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


# -- cells that no memkit writes

SENSELESS = {
    "dimension": "INSERT INTO meta (name, value) VALUES ('embedder_dim', '²') "
    "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
    "last module": "UPDATE meta SET value = '²' WHERE name = 'last_module'",
    "manifest": "UPDATE module_versions SET manifest = '²'",
    "scope of a module": "UPDATE module_versions SET scope = x'ff00'",
    "scope of a record": "UPDATE records SET scope = x'ff00' WHERE id = 'Nora'",
    "scope that is a list": "UPDATE records SET scope = '[1]' WHERE id = 'Nora'",
    "expiry": "UPDATE records SET expires_at = 'x' WHERE id = 'Nora'",
    "time out of range": "UPDATE records SET created_at = 1e300 WHERE id = 'Nora'",
    "text of bytes": "UPDATE records SET text = x'ff00' WHERE id = 'Nora'",
    "turn of bytes": "UPDATE turns SET content = x'ff00'",
    "time of a turn": "UPDATE turns SET created_at = 'x'",
    "vector that is a number": "UPDATE vectors SET vector = -1 WHERE passage = 20",
}


@pytest.mark.parametrize("damage", SENSELESS)
def test_cells_of_the_wrong_kind_are_named_errors(directory, opener, damage):
    sql(directory, SENSELESS[damage])
    for repair in (False, True):
        check(directory, repair=repair)  # goes on, whatever is there
    with suppress(MemkitError), opener(directory, backends=("rag",)) as memory:
        for use in (
            lambda: memory.get("Nora"),
            lambda: memory.search("parcel 9"),
            memory.records,
            lambda: memory.turns(scope={"user": "ann"}),
            memory.modules.list,
            lambda: memory.forget("Nora", retrain=False),
        ):
            with suppress(MemkitError):
                use()


def test_the_error_names_the_row_and_not_what_it_says(directory, opener):
    sql(directory, "UPDATE records SET expires_at = 'a secret' WHERE id = 'Nora'")
    with opener(directory, backends=("buffer",)) as memory:
        with pytest.raises(CorruptFileError, match=r"row of 'records'.*'Nora'") as caught:
            memory.get("Nora")
        assert "secret" not in str(caught.value)
        assert memory.forget("Nora", retrain=False).records == ("Nora",)


def test_a_check_does_not_wait_for_a_pipe(directory):
    (directory / "index" / "dense.faiss").unlink()
    os.mkfifo(directory / "index" / "dense.faiss")
    assert any("plain file" in problem for problem in check(directory).left)
