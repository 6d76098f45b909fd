"""`get_many`, `get_by_prefix`, `search_by_vector`, `vectors`: by ids and by bare vectors."""

from datetime import UTC, datetime

import numpy as np
import pytest

from memkit.errors import (
    DimensionMismatchError,
    InvalidInputError,
    NonFiniteError,
    UnsupportedOperationError,
)
from memkit.testing import HashingEmbedder

ANN, BOB = {"user": "ann"}, {"user": "bob"}
TEXTS = [f"Locker {number} stands in hall {number % 5}." for number in range(40)]


@pytest.fixture
def filled(memory):
    """Forty lockers, one shared notice, and one record each of Ann and Bob."""
    for number, text in enumerate(TEXTS):
        memory.add(text, id=f"l{number}", metadata={"hall": number % 5})
    memory.add("Ann has locker 7.", id="ann", scope=ANN)
    memory.add("Bob has locker 8.", id="bob", scope=BOB)
    return memory


def ids(found):
    return [one.id for one in found]


# -- get_many


def test_records_come_in_the_order_asked_without_those_that_are_missing(filled):
    assert ids(filled.get_many(["l3", "nobody", "l1", "l3"])) == ["l3", "l1", "l3"]
    assert filled.get_many([]) == []
    assert filled.get_many(["l3"]) == [filled.get("l3")]


def test_what_the_scope_may_not_see_is_left_out(filled):
    assert ids(filled.get_many(["ann", "bob", "l1"], scope=ANN)) == ["ann", "l1"]
    assert ids(filled.get_many(["ann", "bob", "l1"], scope={})) == ["l1"]
    assert ids(filled.get_many(["ann", "bob", "l1"])) == ["l1"]
    assert ids(filled.get_many(["ann", "bob", "l1"], scope="all")) == ["ann", "bob", "l1"]


def test_a_prefix_finds_what_begins_so_and_is_seen(filled):
    assert ids(filled.get_by_prefix("l1")) == ["l1", *(f"l{number}" for number in range(10, 19))]
    assert ids(filled.get_by_prefix("l1", limit=2)) == ["l1", "l10"]
    assert ids(filled.get_by_prefix("l39")) == ["l39"]
    assert filled.get_by_prefix("l4x") == []
    assert filled.get_by_prefix("an") == []
    assert ids(filled.get_by_prefix("an", scope=ANN)) == ["ann"]
    assert filled.get_by_prefix("bo", scope=ANN) == []
    assert ids(filled.get_by_prefix("bo", scope="all")) == ["bob"]


def test_one_id_is_no_list(filled):
    with pytest.raises(InvalidInputError, match="`ids` must be a list of strings, got the string"):
        filled.get_many("l1")


# -- search_by_vector


def test_the_nearest_by_cosine_come_best_first(filled):
    rng = np.random.default_rng(7)
    documents = HashingEmbedder().encode_document(TEXTS)
    for _ in range(5):
        vector = rng.standard_normal(64)
        cosines = documents @ (vector / np.linalg.norm(vector))
        best = np.sort(cosines)[::-1][:6]

        hits = filled.vectors.search(vector.tolist(), 6)

        assert [hit.score for hit in hits] == pytest.approx(best.tolist(), abs=1e-6)
        assert [hit.similarity for hit in hits] == [hit.score for hit in hits]
        for hit in hits:
            assert hit.score == pytest.approx(cosines[TEXTS.index(hit.text)], abs=1e-6)


def test_the_length_of_a_vector_makes_no_difference(filled):
    vector = HashingEmbedder().encode_query(["locker 7 hall 2"])[0]

    assert filled.vectors.search(1000 * vector, 3) == filled.vectors.search(vector, 3)
    largest = [float(number) * 1e308 for number in vector]  # its square is inf
    near, far = filled.vectors.search(vector, 3), filled.vectors.search(largest, 3)
    assert [hit.record for hit in far] == [hit.record for hit in near]
    assert [hit.score for hit in far] == pytest.approx([hit.score for hit in near])


def test_words_play_no_part(memory):
    memory.add("Deliveries are unloaded at dock three.", id="dock")
    memory.add("The archive is on the third floor.", id="archive")
    vector = HashingEmbedder().encode_document(["Deliveries are unloaded at dock three."])[0]

    assert [hit.score for hit in memory.vectors.search(vector, 1)] == [pytest.approx(1.0)]


def test_scope_and_filter_hold(filled):
    vector = HashingEmbedder().encode_query(["locker"])[0]

    assert "ann" in ids(filled.vectors.search(vector, 99, scope=ANN))
    assert not {"ann", "bob"} & set(ids(filled.vectors.search(vector, 99)))
    found = filled.vectors.search(vector, 99, where={"hall": 3})
    assert ids(found)
    assert {hit.record.metadata["hall"] for hit in found} == {3}


def test_times_hold(memory):
    texts = {"code": "The locker code is 8812.", "new": "The locker code is 3057."}
    memory.add(texts["code"], key="code", at=datetime(2024, 5, 1, tzinfo=UTC))
    memory.add("The locker has a mirror.", at=datetime(2025, 5, 1, tzinfo=UTC))
    before = datetime.now(UTC)
    memory.add(texts["new"], key="code", at=datetime(2026, 5, 1, tzinfo=UTC))
    documents = HashingEmbedder().encode_document([texts["code"], "The locker has a mirror."])
    vector = HashingEmbedder().encode_query(["locker code 8812"])[0]

    past = memory.vectors.search(vector, as_of=before)
    assert [hit.text for hit in past] == [texts["code"], "The locker has a mirror."]
    assert [hit.score for hit in past] == pytest.approx((documents @ vector).tolist(), abs=1e-6)
    new_year = datetime(2026, 1, 1, tzinfo=UTC)
    assert [h.text for h in memory.vectors.search(vector, since=new_year)] == [texts["new"]]
    assert [h.text for h in memory.vectors.search(vector, until=new_year)] == [past[1].text]
    assert memory.vectors.search(vector, as_of=datetime(2020, 1, 1, tzinfo=UTC)) == []
    with pytest.raises(InvalidInputError, match="`as_of` must have a time zone"):
        memory.vectors.search(vector, as_of=datetime(2026, 1, 1))


@pytest.mark.parametrize(
    ("vector", "error", "says"),
    [
        ([1.0] * 63, DimensionMismatchError, r"shape \(1, 64\), got \(1, 63\)"),
        ([0.0] * 64, InvalidInputError, "of a positive length, got zeros"),
        ([float("nan")] * 64, NonFiniteError, "must be finite numbers"),
    ],
)
def test_what_is_no_vector_is_refused(filled, vector, error, says):
    with pytest.raises(error, match=says):
        filled.vectors.search(vector)


def test_k_is_checked(filled):
    with pytest.raises(InvalidInputError, match="`k` must be an integer of at least 1, got 0"):
        filled.vectors.search([1.0] * 64, 0)


# -- vectors and embedder


def test_vectors_are_those_of_the_passages(filled):
    found = filled.vectors.get(["l3", "nobody", "bob"], scope=ANN)

    assert found.keys() == {"l3"}
    np.testing.assert_array_equal(found["l3"], HashingEmbedder().encode_document([TEXTS[3]]))


def test_a_long_record_has_several_vectors(memory):
    record = memory.add(" ".join(TEXTS * 10))

    vectors = memory.vectors.get([record.id])[record.id]

    assert vectors.shape[0] == memory.stats().passages > 1
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_the_embedder_is_the_one_in_use(filled):
    assert filled.vectors.embedder.name == HashingEmbedder().name


def test_without_an_index_there_are_no_vectors(tmp_path, open_memory):
    memory = open_memory(tmp_path / "b", backends=["buffer"])
    with pytest.raises(UnsupportedOperationError, match="needs the 'rag' backend"):
        memory.vectors.search([1.0] * 64)
    with pytest.raises(UnsupportedOperationError, match="embedder needs the 'rag' backend"):
        memory.vectors.embedder  # noqa: B018


# -- ids and keys together


def test_content_under_an_id_and_a_key_of_its_own_is_a_record_of_its_own(memory):
    from memkit.types import Draft

    memory.add("Left blank.", id="unnamed")
    drafts = [Draft("Left blank.", id=id, key=id) for id in ("a", "b", "a")]

    assert ids(memory.add(drafts)) == ["a", "b", "a"]
    assert memory.stats().records == 3
