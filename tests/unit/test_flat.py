"""The dense index, against exact arithmetic in float64."""

import errno
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memkit.errors import (
    CorruptFileError,
    DimensionMismatchError,
    DiskFullError,
    InvalidInputError,
    NonFiniteError,
    ReadOnlyError,
    StorageError,
)
from memkit.rag.vectors.flat import FlatIndex, check_vectors

DIM = 8


def unit(rows):
    rows = np.asarray(rows, np.float64)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def random_unit(n, seed=0, dim=DIM):
    return unit(np.random.default_rng(seed).normal(size=(n, dim)))


def filled(n=20, seed=0):
    index = FlatIndex(DIM)
    vectors = random_unit(n, seed)
    index.add(np.arange(n), vectors)
    return index, vectors


def exact(vectors, keys, query, k, allowed=None):
    """The reference: all inner products in float64."""
    scores = vectors.astype(np.float64) @ query.astype(np.float64)
    rows = [
        (int(key), float(score))
        for key, score in zip(keys, scores, strict=True)
        if allowed is None or int(key) in allowed
    ]
    return sorted(rows, key=lambda row: -row[1])[:k]


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**16),
    n=st.integers(0, 40),
    b=st.integers(0, 25),
    k=st.integers(1, 50),
    data=st.data(),
)
def test_finds_what_exact_arithmetic_finds(seed, n, b, k, data):
    keys = np.random.default_rng(seed).choice(10**12, size=n, replace=False)
    vectors, queries = random_unit(n, seed), random_unit(b, seed + 1)
    removed = set(data.draw(st.lists(st.sampled_from(keys.tolist())))) if n else set()
    allowed = data.draw(st.none() | st.sets(st.sampled_from([*keys.tolist(), 5]), max_size=n))
    index = FlatIndex(DIM)
    index.add(keys, vectors)
    assert index.remove(np.array(sorted(removed), np.int64)) == len(removed)
    stays = [row for row, key in enumerate(keys.tolist()) if key not in removed]
    selected = None if allowed is None else np.array(sorted(allowed), np.int64)
    found = index.search(queries, k=k, allowed=selected)
    assert len(found) == b
    for query, row in zip(queries, found, strict=True):
        expected = exact(vectors[stays], keys[stays], query, k, allowed)
        assert [key for key, _ in row] == [key for key, _ in expected]
        assert [score for _, score in row] == pytest.approx([s for _, s in expected], abs=1e-6)


def test_equal_vectors_come_in_the_order_of_their_keys():
    vector = random_unit(1)
    index = FlatIndex(DIM)
    keys = np.random.default_rng(1).permutation(100)
    index.add(keys, np.repeat(vector, 100, axis=0))
    for k in (1, 7, 99, 100, 200):
        found = index.search(vector, k=k)[0]
        assert [key for key, _ in found] == list(range(min(k, 100)))
    found = index.search(vector, k=3, allowed=np.array([90, 7, 50, 51]))[0]
    assert [key for key, _ in found] == [7, 50, 51]


def test_one_query_and_a_batch_agree():
    index, _ = filled(50)
    queries = random_unit(40, seed=9)
    together = index.search(queries, k=5)
    for query, row in zip(queries, together, strict=True):
        alone = index.search(query[None], k=5)[0]
        assert [key for key, _ in alone] == [key for key, _ in row]


def test_empty_index_and_nothing_allowed():
    assert FlatIndex(DIM).search(random_unit(2), k=3) == [[], []]
    index, _ = filled()
    assert index.search(random_unit(2), k=3, allowed=np.array([], np.int64)) == [[], []]
    assert index.search(random_unit(2), k=3, allowed=np.array([99])) == [[], []]


def test_length_and_membership_follow_adds_and_removals():
    index, _ = filled(3)
    assert (len(index), 2 in index, index.dim) == (3, True, DIM)
    assert index.remove(np.array([2, 2, 77])) == 1
    assert (len(index), 2 in index) == (2, False)
    assert index.remove(np.array([], np.int64)) == 0
    index.add(np.array([2]), random_unit(1))  # a key that went may come back
    assert len(index) == 3


@pytest.mark.parametrize("keys", [[0, 30], [30, 30], [-1, 30]])
def test_keys_must_be_new(keys):
    index, _ = filled()
    with pytest.raises(InvalidInputError, match="`keys` that are new to the index"):
        index.add(np.array(keys), random_unit(2))
    assert len(index) == 20


@pytest.mark.parametrize("k", [0, -1, 1.5, True, "3"])
def test_k_must_be_a_positive_integer(k):
    index, _ = filled()
    with pytest.raises(InvalidInputError, match="`k` must be an integer of at least 1, got"):
        index.search(random_unit(1), k=k)


def test_wrong_dimension():
    index, _ = filled()
    with pytest.raises(DimensionMismatchError, match=r"shape \(1, 8\), got \(1, 5\)"):
        index.search(random_unit(1, dim=5), k=1)
    with pytest.raises(DimensionMismatchError, match=r"shape \(2, 8\), got \(2, 5\)"):
        index.add(np.array([50, 51]), random_unit(2, dim=5))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_vectors_must_be_finite(value):
    bad = random_unit(3)
    bad[1, 4] = value
    index, _ = filled()
    with pytest.raises(NonFiniteError, match="row 1 holds NaN or infinity"):
        index.add(np.arange(50, 53), bad)
    with pytest.raises(NonFiniteError, match="row 1 holds NaN or infinity"):
        index.search(bad, k=1)
    assert len(index) == 20


def test_vectors_must_be_of_unit_length():
    with pytest.raises(InvalidInputError, match="length 1, got one of length 2") as caught:
        check_vectors(random_unit(3) * [[1], [2], [1]], rows=3, dim=DIM)
    assert "divide each by its Euclidean norm" in caught.value.hint
    nearly = random_unit(1) * np.float32(1.0005)
    assert check_vectors(nearly, rows=1, dim=DIM).dtype == np.float32


def test_there_must_be_one_vector_per_text():
    with pytest.raises(InvalidInputError, match="each of 2 texts, got 3"):
        check_vectors(random_unit(3), rows=2, dim=DIM)


@pytest.mark.parametrize("n", [0, 1, 20])
def test_a_saved_index_comes_back(tmp_path, n):
    index, _ = filled(n)
    index.remove(np.array([3]))
    index.save(tmp_path / "index" / "dense", stamp=41)
    loaded, stamp = FlatIndex.load(tmp_path / "index" / "dense")
    assert (stamp, len(loaded), loaded.dim) == (41, len(index), DIM)
    queries = random_unit(4, seed=3)
    assert loaded.search(queries, k=30) == index.search(queries, k=30)
    assert [path.name for path in (tmp_path / "index").iterdir()] == ["dense"]


def test_every_cut_and_every_flipped_bit_is_noticed(tmp_path):
    path = tmp_path / "dense"
    filled(2)[0].save(path, stamp=7)
    whole = path.read_bytes()
    damaged = [whole[:length] for length in range(len(whole))]
    damaged += [
        whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :] for at in range(len(whole))
    ]
    damaged.append(whole + b"\0")
    for data in damaged:
        path.write_bytes(data)
        with pytest.raises(CorruptFileError, match=r"is damaged|expected an index"):
            FlatIndex.load(path)


def test_a_consistent_file_with_impossible_vectors_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "dense"
    monkeypatch.setattr("memkit.rag.vectors.flat.check_vectors", lambda vectors, **_: vectors)
    index = FlatIndex(DIM)
    index.add(np.array([1]), np.full((1, DIM), np.nan, np.float32))
    index.save(path, stamp=1)
    monkeypatch.undo()
    with pytest.raises(CorruptFileError, match=r"no valid vectors: .*NaN"):
        FlatIndex.load(path)


def test_the_file_is_plain_arrays(tmp_path):
    """Reads the format by hand, as written down here: it must not change unnoticed."""
    index, vectors = filled(3)
    index.save(tmp_path / "dense", stamp=5)
    data = (tmp_path / "dense").read_bytes()
    assert struct.unpack("<16sqqq", data[:40]) == (b"memkit-dense-01\n", 5, DIM, 3)
    assert np.frombuffer(data[72:96], "<i8").tolist() == [0, 1, 2]
    np.testing.assert_array_equal(np.frombuffer(data[96:], "<f4").reshape(3, DIM), vectors)


@pytest.mark.parametrize(
    ("code", "error"),
    [(errno.ENOSPC, DiskFullError), (errno.EROFS, ReadOnlyError), (errno.EIO, StorageError)],
)
def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch, code, error):
    path = tmp_path / "dense"
    index, _ = filled(2)
    index.save(path, stamp=1)

    def fail(_):
        raise OSError(code, "simulated")

    monkeypatch.setattr("os.fsync", fail)
    index.remove(np.array([1]))
    with pytest.raises(error, match="dense"):
        index.save(path, stamp=2)
    monkeypatch.undo()
    loaded, stamp = FlatIndex.load(path)
    assert (len(loaded), stamp) == (2, 1)
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_file_has_a_name(tmp_path):
    with pytest.raises(StorageError, match=r"could not access .*nothing"):
        FlatIndex.load(tmp_path / "nothing")
