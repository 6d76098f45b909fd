"""Clusters and layers, against exact arithmetic over the ledger's own vectors."""

import hashlib
import logging
import struct
import threading
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memkit.errors import CorruptFileError
from memkit.ledger import Ledger, NewPassage
from memkit.rag.index_check import remembers_removed
from memkit.rag.vectors import ivf as clustered
from memkit.rag.vectors import ivf_build as building
from memkit.rag.vectors import ledger_vectors as following
from memkit.rag.vectors import synced_index as synced
from memkit.rag.vectors.ivf import HEAD, Head
from memkit.rag.vectors.synced_index import SyncedIndex
from memkit.types import Draft

DIM = 16
N = 600


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def clustered_vectors(n, seed=0):
    """Points around a few centres, as texts of a few topics are."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(7).normal(size=(8, DIM))
    return unit(centres[random.integers(0, 8, n)] + 0.3 * random.normal(size=(n, DIM)))


def fill(ledger, vectors, start=0, **draft):
    with ledger.transaction():
        records = ledger.records.add(
            [Draft(f"note {start + row}", **draft) for row in range(len(vectors))]
        )
        for record, vector in zip(records, vectors, strict=True):
            ledger.passages.insert({record.id: [NewPassage("text", 0, 4, "note", vector)]})
    return [record.id for record in records]


def exact(ledger, query, k, allowed=None):
    """The reference: every vector of the ledger, in float64."""
    keys, vectors = ledger.passages.vectors(ledger.passages.all_keys().tolist())
    scores = vectors.astype(np.float64) @ query.astype(np.float64)
    order = [row for row in np.argsort(-scores) if allowed is None or keys[row] in allowed]
    return [int(keys[row]) for row in order[:k]]


@pytest.fixture
def ledger(tmp_path):
    with closing(Ledger.open(tmp_path / "m")) as ledger:
        yield ledger


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Build clusters early, so that tests need few vectors."""
    monkeypatch.setattr(synced, "CHECKED_AT_ONCE", synced.CHECKED_AT_ONCE)  # put back at the end
    monkeypatch.setattr(synced, "EXACT", 200)
    monkeypatch.setattr(clustered, "EXACT", 50)


@pytest.fixture
def built(ledger):
    fill(ledger, clustered_vectors(N))
    index = SyncedIndex(ledger, DIM)
    index.wait()
    index.save()
    assert index.clusters
    yield index
    index.close()


def keys_of(rows):
    return [key for key, _ in rows[0]]


def search(index, query, k=10, scope=None, where=None):
    return index.search(query[None], k=k, scope=scope or {}, where=where)


def recall(index, ledger, queries, k=10):
    found = [
        set(keys_of(search(index, query, k))) & set(exact(ledger, query, k)) for query in queries
    ]
    return sum(map(len, found)) / (k * len(queries))


def test_clusters_find_what_exact_arithmetic_finds(built, ledger):
    assert recall(built, ledger, clustered_vectors(40, seed=1)) >= 0.98


def test_vectors_without_structure_are_all_compared(ledger):
    fill(ledger, unit(np.random.default_rng(3).normal(size=(N, DIM))))
    index = SyncedIndex(ledger, DIM)
    index.wait()
    assert recall(index, ledger, unit(np.random.default_rng(4).normal(size=(40, DIM)))) >= 0.98
    index.close()


def test_what_is_added_later_is_found_at_once_and_what_is_removed_is_not(built, ledger):
    query = clustered_vectors(1, seed=9)[0]
    nearest = keys_of(search(built, query))[0]
    gone = ledger.passages.get([nearest])[nearest].record_id
    ledger.records.delete([gone])
    fill(ledger, query[None], start=N)
    assert keys_of(search(built, query)) == exact(ledger, query, 10)
    assert len(built) == N


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5])
def test_a_filter_gives_the_true_nearest_of_what_it_lets_pass(ledger, share):
    vectors = clustered_vectors(N)
    marked = np.random.default_rng(5).random(N) < share
    fill(ledger, vectors[marked], metadata={"kept": True})
    fill(ledger, vectors[~marked], start=N)
    index = SyncedIndex(ledger, DIM)
    index.wait()
    where = {"kept": True}
    allowed = set(ledger.passages.keys(visible_to={}, where=where).tolist())
    assert len(allowed) == marked.sum()
    for query in clustered_vectors(20, seed=6):
        found = keys_of(search(index, query, 5, where=where))
        assert found == exact(ledger, query, 5, allowed)
    index.close()


def test_what_a_filter_lets_pass_is_looked_up_once_until_something_is_written(built, ledger):
    fill(ledger, clustered_vectors(3, seed=8), start=N, metadata={"kept": True})
    where, query = {"kept": True}, clustered_vectors(1, seed=9)[0]
    statements = []
    ledger._database._connection.set_trace_callback(statements.append)
    first = search(built, query, where=where)
    looked_up = len(statements)
    assert search(built, query, where=where) == first
    assert len(statements) == looked_up + 1  # only whether something was written
    with closing(Ledger.open(ledger.directory)) as other:  # as another process would
        fill(other, query[None], start=N + 3, metadata={"kept": True})
    assert len(keys_of(search(built, query, where=where))) == 4
    ledger.records.delete([ledger.passages.get([N + 1])[N + 1].record_id])
    assert len(keys_of(search(built, query, where=where))) == 3


def test_k_come_back_although_the_nearest_lists_hold_fewer(built, ledger):
    query = clustered_vectors(1, seed=2)[0]
    assert sorted(keys_of(search(built, query, N))) == ledger.passages.all_keys().tolist()
    assert len(keys_of(search(built, query, N + 5))) == N


def test_opening_reads_the_files_and_no_vector(built, ledger, monkeypatch, caplog):
    caplog.set_level(logging.INFO, logger="memkit")
    monkeypatch.setattr(ledger.passages, "vectors", lambda keys: pytest.fail("read from ledger"))
    index = SyncedIndex(ledger, DIM)
    assert len(index) == N
    assert caplog.records == []
    index.close()


def test_settling_puts_what_was_added_later_into_clusters(built, ledger):
    fill(ledger, clustered_vectors(30, seed=4), start=N)
    built.sync()
    assert len(built._tiers.tail) == 30
    built.wait()
    assert len(built._tiers.tail) == 0
    assert len(built) == N + 30


def test_much_is_to_be_taken_in_while_nobody_searches(ledger, monkeypatch):
    monkeypatch.setattr(following, "BEHIND", 300)
    index = SyncedIndex(ledger, DIM)
    fill(ledger, clustered_vectors(299))
    assert not index.is_behind()
    fill(ledger, clustered_vectors(1, seed=1), start=299)
    assert index.is_behind()
    index.sync()
    assert len(index) == 300
    index.close()


def test_no_file_of_lists_is_written_when_something_is_added(built, ledger, tmp_path):
    (lists,) = (tmp_path / "m" / "index").glob("*.lists")
    before = lists.stat().st_mtime_ns
    fill(ledger, clustered_vectors(20, seed=11), start=N)
    built.save()
    assert lists.stat().st_mtime_ns == before


def test_a_growing_memory_is_built_again_without_training(built, ledger, monkeypatch):
    monkeypatch.setattr(building, "_train", lambda *_: pytest.fail("trained anew"))
    fill(ledger, clustered_vectors(300, seed=12), start=N)
    built.wait()
    assert recall(built, ledger, clustered_vectors(20, seed=13)) >= 0.98
    again = SyncedIndex(ledger, DIM)
    assert len(again) == N + 300
    again.close()


def test_another_process_stands_on_what_the_first_has_built(ledger, tmp_path):
    with closing(Ledger.open(tmp_path / "m")) as other:
        late = SyncedIndex(other, DIM)
        fill(ledger, clustered_vectors(N))
        first = SyncedIndex(ledger, DIM)
        first.wait()
        (lists,) = (tmp_path / "m" / "index").glob("*.lists")
        late.wait()
        assert list((tmp_path / "m" / "index").glob("*.lists")) == [lists]
        assert late.clusters == first.clusters > 0
        late.close()
        first.close()


def test_adding_and_searching_go_on_while_clusters_are_built(ledger, monkeypatch):
    fill(ledger, clustered_vectors(N))
    begun, go_on = threading.Event(), threading.Event()
    train = building._train

    def slow(*args):
        begun.set()
        assert go_on.wait(30)
        return train(*args)

    monkeypatch.setattr(building, "_train", slow)
    index = SyncedIndex(ledger, DIM)
    assert begun.wait(30)
    query = clustered_vectors(1, seed=20)[0]
    fill(ledger, query[None], start=N)
    ids = ledger.records.ids()
    ledger.records.delete(ids[:50])
    assert keys_of(search(index, query)) == exact(ledger, query, 10)
    go_on.set()
    index.wait()
    assert index.clusters
    assert keys_of(search(index, query)) == exact(ledger, query, 10)
    assert len(index) == N + 1 - 50
    index.close()


def test_closing_stops_a_build_and_leaves_nothing(ledger, monkeypatch, tmp_path):
    fill(ledger, clustered_vectors(N))
    begun = threading.Event()

    def endless(ledger, keys, stopped):
        begun.set()
        while not stopped():
            pass
        raise building.BuildStoppedError

    monkeypatch.setattr(building, "_train", endless)
    index = SyncedIndex(ledger, DIM)
    assert begun.wait(30)
    index.close()
    assert not [
        *(tmp_path / "m" / "index").glob("*.lists"),
        *(tmp_path / "m").glob(f"index/{HEAD}"),
    ]


def test_scrub_takes_deleted_vectors_out_of_all_files(built, ledger, tmp_path):
    folder = tmp_path / "m" / "index"
    (folder / "00.lists").write_bytes(b"left by a build that was killed")
    key = int(ledger.passages.all_keys()[17])
    _, (vector,) = ledger.passages.vectors([key])
    content = b"".join(path.read_bytes() for path in folder.iterdir())
    assert vector.tobytes() in content
    record = ledger.passages.get([key])[key].record_id
    ledger.records.delete([record])
    files = built.scrub()
    content = b"".join(path.read_bytes() for path in folder.iterdir())
    assert vector.tobytes() not in content
    assert b"killed" not in content
    assert any(path.endswith(".lists") for path in files)
    again = SyncedIndex(ledger, DIM)  # the head agrees with the lists: nothing is rebuilt
    assert again.clusters == built.clusters
    assert key not in keys_of(search(again, vector, N))
    again.close()


def cosines(folder, vector):
    """How close the centroids on disk are to a vector; read by the format, not by our reader."""
    data = (folder / "clusters.head").read_bytes()
    lists, dim = np.frombuffer(data, "<i8", 2, offset=16 + 4 * 8)
    start = 16 + 6 * 8 + 16 + 16  # magic, six numbers, name, checksum
    return np.frombuffer(data, "<f4", lists * dim, offset=start).reshape(lists, dim) @ vector


def near(vector, n, noise=0.02):
    return unit(vector + noise * np.random.default_rng(5).normal(size=(n, DIM)))


def test_scrub_computes_centroids_again_from_what_is_left(ledger, tmp_path):
    folder = tmp_path / "m" / "index"
    secret = unit(np.random.default_rng(3).normal(size=(1, DIM)))[0]
    fill(ledger, clustered_vectors(N))
    ids = fill(ledger, near(secret, 100), start=N)
    index = SyncedIndex(ledger, DIM)
    index.wait()
    assert cosines(folder, secret).max() > 0.99
    others = cosines(folder, secret).copy()
    others = others[others < 0.9].max()

    ledger.records.delete(ids)
    assert remembers_removed(ledger)
    index.scrub()
    assert not remembers_removed(ledger)
    assert cosines(folder, secret).max() <= others + 0.01
    # The process itself has let go of them, and so has what any process builds from here on.
    assert (index._tiers.base.head.centroids @ secret).max() <= others + 0.01
    name = index._tiers.base.head.name
    fill(ledger, clustered_vectors(N // 2, seed=9), start=2 * N)
    index.wait()
    assert index._tiers.base.head.name != name
    assert cosines(folder, secret).max() <= others + 0.01
    queries = clustered_vectors(20, seed=1)
    assert recall(index, ledger, queries) > 0.9
    index.close()


def test_the_centroid_of_a_thinned_list_is_the_mean_of_what_is_left(built, ledger, tmp_path):
    lists = list(built._tiers.base.lists())
    number = int(np.argmax(built._tiers.base.head.sizes))
    vectors, keys = (part.copy() for part in lists[number])
    passages = ledger.passages.get(keys[:-3].tolist())
    ledger.records.delete([passage.record_id for passage in passages.values()])
    built.scrub()
    left = vectors[-3:].astype(np.float64).mean(axis=0)
    assert cosines(tmp_path / "m" / "index", left / np.linalg.norm(left))[number] > 1 - 1e-6


def test_what_is_forgotten_during_a_build_is_not_in_its_file(ledger, monkeypatch, tmp_path):
    fill(ledger, clustered_vectors(N))
    fill_lists = building._fill
    key = int(ledger.passages.all_keys()[5])
    _, (vector,) = ledger.passages.vectors([key])
    record = ledger.passages.get([key])[key].record_id

    def forget_meanwhile(*args):
        fill_lists(*args)
        with closing(Ledger.open(tmp_path / "m")) as other:
            other.records.delete([record])

    monkeypatch.setattr(building, "_fill", forget_meanwhile)
    index = SyncedIndex(ledger, DIM)
    index.wait()
    assert index.clusters
    content = b"".join(path.read_bytes() for path in (tmp_path / "m" / "index").iterdir())
    assert vector.tobytes() not in content
    index.close()


@pytest.mark.parametrize("step", ["_fill", "_sample"])
def test_a_scrub_during_a_build_ends_it(ledger, monkeypatch, caplog, step):
    """The file may hold what is forgotten; searches go on, and the next build is a whole one."""
    vectors = clustered_vectors(N)
    fill(ledger, vectors)
    original = getattr(building, step)
    scrubbed = []

    def scrub_meanwhile(*args):
        if not scrubbed:
            scrubbed.append(index.scrub())
        return original(*args)

    monkeypatch.setattr(building, step, scrub_meanwhile)
    caplog.set_level("INFO", logger="memkit")
    monkeypatch.setattr(synced, "EXACT", 10**9)
    index = SyncedIndex(ledger, DIM)
    monkeypatch.setattr(synced, "EXACT", 1)
    index._build(lambda: False)
    assert scrubbed
    assert "an index was given up, as something was forgotten while it was built" in caplog.text
    assert not [*(ledger.directory / "index").glob("*.lists")]
    assert search(index, vectors[3], 1)
    index._build(lambda: False)
    assert index.clusters
    index.close()


@pytest.mark.parametrize("checked_at_once", [0, 2**26])
@settings(
    deadline=None, max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(which=st.integers(0, 2), where=st.floats(0, 1, exclude_max=True), bit=st.integers(-1, 7))
def test_damage_anywhere_is_noticed_and_repaired(
    built, ledger, caplog, *, checked_at_once, which, where, bit
):
    synced.CHECKED_AT_ONCE = checked_at_once
    files = (ledger.directory / "index").iterdir()
    path = sorted(path for path in files if path.suffix in {".lists", ".head", ".faiss"})[which]
    content = bytearray(path.read_bytes())
    place = int(where * len(content))
    if bit < 0:
        content = content[:place]
    else:
        content[place] ^= 1 << bit
    path.write_bytes(content)
    caplog.clear()
    index = SyncedIndex(ledger, DIM)
    index.wait()  # builds, too
    index.wait()
    assert "rebuilding the index from the ledger" in caplog.text
    assert len(index) == N
    for query in clustered_vectors(3, seed=8):
        assert keys_of(search(index, query)) == exact(ledger, query, 10)
    index.save()
    index.close()
    caplog.clear()
    good = SyncedIndex(ledger, DIM)
    good.wait()
    assert len(good) == N
    good.close()
    assert caplog.text == ""


NUMBERS = {
    "no lists": {"lists": 0},
    "lists below 0": {"lists": -1},
    "as many lists as there can be": {"lists": 2**62},
    "no dimension": {"dim": 0},
    "dimension below 0": {"dim": -2},
    "stamp below 0": {"stamp": -1},
    "no probes": {"probes": 0},
    "more probes than lists": {"probes": 3},
    "fewer keys than vectors": {"top": 1},
    "as many keys as there can be": {"top": 2**62},
    "a length below 0": {"sizes": (-1, 3)},
    "a length that overflows": {"sizes": (2**62, 2**62)},
}


@pytest.mark.parametrize("case", NUMBERS)
def test_a_head_with_senseless_numbers_and_a_right_checksum_is_refused(case):
    fields = {"stamp": 5, "probes": 1, "trained_on": 3, "top": 9, "lists": 2, "dim": 2}
    changed = NUMBERS[case]
    numbers = [changed.get(name, value) for name, value in fields.items()]
    sizes = np.array(changed.get("sizes", (1, 2)), "<i8").tobytes()
    body = np.zeros((2, 2), "<f4").tobytes() + sizes + bytes(2 * 16)
    start = b"memkit-lists-01\n" + struct.pack("<6q16s", *numbers, b"n" * 16)
    data = start + hashlib.blake2b(start + bytes(16) + body, digest_size=16).digest() + body
    with pytest.raises(CorruptFileError):
        Head.unpack(data, Path("clusters.head"))
