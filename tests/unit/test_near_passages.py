"""The nearest passages are of enough records, without a look at all passages of a long one."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from memkit.ledger import Passage
from memkit.rag.near_passages import near_passages


class Passages:
    """Passages of records with a similarity to each query, searched by looking at all of them."""

    def __init__(self, owners, similarities, unseen=()):
        self.owners = owners  # record of each passage
        self.similarities = np.array(similarities, float)  # shape (queries, passages)
        self.unseen = set(unseen)
        self.looks = 0
        self.read = {}

    def find(self, queries, without, fetch):
        self.looks += 1
        left_out = set() if without is None else set(without.tolist())
        return [
            sorted(
                ((key, s) for key, s in enumerate(self.similarities[query]) if key not in left_out),
                key=lambda pair: (-pair[1], pair[0]),
            )[:fetch]
            for query in queries
        ]

    def load(self, keys):
        seen = set(keys) - self.unseen
        self.read |= {key: Passage(key, self.owners[key], "text", 0, 1, "x") for key in seen}
        return self.read

    def keys_of(self, records):
        return {id: [k for k, of in enumerate(self.owners) if of == id] for id in records}

    def near(self, k, fetch):
        queries = len(self.similarities)
        return near_passages(queries, self.find, self.load, self.keys_of, k=k, fetch=fetch)

    def best(self, query, k):
        """The ``k`` records whose best passages are nearest, by the definition."""
        order = sorted(
            range(len(self.owners)), key=lambda key: (-self.similarities[query][key], key)
        )
        return list(dict.fromkeys(self.owners[key] for key in order if key not in self.unseen))[:k]


def test_a_long_record_is_left_out_once_it_has_its_places():
    owners = ["long"] * 3000 + [f"short{n}" for n in range(50)]
    passages = Passages(owners, [np.linspace(1, 0, 3050)])

    (row,) = passages.near(k=8, fetch=16)

    assert [owners[key] for key, _ in row] == ["long"] * 16 + [f"short{n}" for n in range(16)]
    assert [similarity for _, similarity in row] == sorted((s for _, s in row), reverse=True)
    assert passages.looks == 2
    assert len(passages.read) == 32


def test_one_look_is_enough_where_records_are_short():
    passages = Passages([f"r{n // 2}" for n in range(40)], [np.linspace(1, 0, 40)])
    (row,) = passages.near(k=8, fetch=16)
    assert [key for key, _ in row] == list(range(16))
    assert passages.looks == 1


def test_what_may_not_be_seen_does_not_keep_others_out():
    passages = Passages([f"r{n}" for n in range(500)], [np.linspace(1, 0, 500)], range(400))
    (row,) = passages.near(k=3, fetch=6)
    assert {400, 401, 402} <= {key for key, _ in row}
    assert passages.looks < 10


@given(
    st.lists(st.sampled_from("aaaaaaabbbcd"), max_size=60).flatmap(
        lambda owners: st.tuples(
            st.just(owners),
            st.lists(
                st.lists(
                    st.integers(0, 9), min_size=len(owners), max_size=len(owners)
                ), min_size=1, max_size=3,
            ),
            st.sets(st.integers(0, 60)),
        )
    ),
    st.integers(1, 5),
)  # fmt: skip
def test_the_first_records_are_those_of_a_look_at_all_passages(passages, k):
    owners, similarities, unseen = passages
    index = Passages(owners, similarities, unseen)
    for query, row in enumerate(index.near(k, 2 * k)):
        seen = dict.fromkeys(owners[key] for key, _ in row if key not in index.unseen)
        assert list(seen)[:k] == index.best(query, k)
