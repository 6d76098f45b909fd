"""A memory whose vectors are in an index of the caller's own."""

import numpy as np
import pytest

from memkit.errors import InvalidInputError

ANN, BOB = {"user": "ann"}, {"user": "bob"}
TEXTS = ["Nora has badge 4471.", "Emil has badge 2250.", "The lift is on floor 2."]


class Dense:
    """Exact search over a dict; notes what it holds."""

    def __init__(self, dim):
        self.dim, self.rows = dim, {}

    def __len__(self):
        return len(self.rows)

    def add(self, keys, vectors):
        assert not self.rows.keys() & set(keys.tolist())
        self.rows |= zip(keys.tolist(), vectors, strict=True)

    def remove(self, keys):
        for key in keys.tolist():
            self.rows.pop(key, None)

    def search(self, queries, *, k, allowed=None):
        keys = sorted(self.rows if allowed is None else self.rows.keys() & set(allowed.tolist()))
        rows = [[(key, float(self.rows[key] @ query)) for key in keys] for query in queries]
        return [sorted(row, key=lambda pair: -pair[1])[:k] for row in rows]


@pytest.fixture
def made():
    """What `open_own` has made, in order."""
    return []


@pytest.fixture
def open_own(tmp_path, open_memory, made):
    def make(dim):
        made.append(Dense(dim))
        return made[-1]

    return lambda **options: open_memory(tmp_path / "own.mem", vector_index=make, **options)


def ranking(memory, scope=None, query="Which badge has Nora?"):
    return [(hit.text, round(hit.score, 6)) for hit in memory.search(query, k=3, scope=scope or {})]


def test_it_ranks_as_memkits_own(tmp_path, open_memory, open_own):
    with open_memory(tmp_path / "default.mem") as default, open_own() as own:
        for memory in (default, own):
            memory.add(TEXTS, scope=ANN)
            memory.add("Nora has badge 9.", scope=BOB)
        for scope in (ANN, BOB):
            assert ranking(own, scope=scope) == ranking(default, scope=scope)


def test_it_is_filled_from_the_ledger_on_opening(open_own, made):
    with open_own() as memory:
        memory.add(TEXTS)
        before = ranking(memory)
    with open_own() as memory:
        assert ranking(memory) == before
    first, second = made
    assert first.rows.keys() == second.rows.keys()
    for key, row in first.rows.items():
        np.testing.assert_array_equal(row, second.rows[key])


def test_what_is_forgotten_leaves_it(open_own, made):
    with open_own() as memory:
        nora, *_ = memory.add(TEXTS)
        ranking(memory)  # vectors are taken in when they are first searched
        assert len(made[0].rows) == 3
        assert all(memory.forget(nora.id).checks.values())
        assert len(made[0].rows) == 2


def test_files_of_memkits_own_index_do_not_keep_what_is_forgotten(tmp_path, open_memory, open_own):
    with open_memory(tmp_path / "own.mem") as memory:
        nora, *_ = memory.add(TEXTS)
        memory._engine.index.save()
    assert (tmp_path / "own.mem" / "index" / "dense.faiss").exists()
    with open_own() as memory:
        assert all(memory.forget(nora.id).checks.values())
    assert not (tmp_path / "own.mem" / "index" / "dense.faiss").exists()
    with open_memory(tmp_path / "own.mem") as memory:
        assert sorted(text for text, _ in ranking(memory)) == sorted(TEXTS[1:])


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ([], "1 lists, one for each query"),
        ([[(1, 0.5), (1, 0.5)]], "each once"),
        ([[(1, 0.5), (2, 0.9)]], "nearest first"),
        ([[(1, float("nan"))]], "finite"),
        ([[(4, 0.5)]], "keys that are allowed"),  # Bob's
    ],
)
def test_a_wrong_answer_is_an_error(open_own, made, answer, expected):
    with open_own() as memory:
        memory.add(TEXTS, scope=ANN)
        memory.add("Bob's secret.", scope=BOB)
        made[0].search = lambda queries, *, k, allowed=None: answer
        with pytest.raises(InvalidInputError, match=expected):
            memory.search("Which badge has Nora?", scope=ANN)


def test_one_that_is_not_empty_is_refused(tmp_path, open_memory):
    index = Dense(64)
    index.rows[1] = np.ones(64, np.float32) / 8
    with pytest.raises(InvalidInputError, match="an empty index of dimension"):
        open_memory(tmp_path / "own.mem", vector_index=lambda dim: index)


def test_an_instance_is_refused(tmp_path, open_memory):
    with pytest.raises(InvalidInputError, match="`vector_index` must be a class or a function"):
        open_memory(tmp_path / "own.mem", vector_index=Dense(64))
