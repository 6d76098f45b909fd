"""The contract suites themselves: what is right passes, what is wrong does not."""

import inspect

import numpy as np
import pytest

from memkit.protocols import Backend
from memkit.testing import BackendContract, EmbedderContract, HashingEmbedder
from memkit.types import Evidence, Hit, Route, Support


class ListBackend(Backend):
    """The simplest right thing: a list of records."""

    name = "list"

    def __init__(self):
        self.records = {}

    def sync(self, records):
        self.write(records.find(records.ids()))

    def write(self, records):
        self.records |= {record.id: record for record in records}

    def visible(self, query):
        return [r for r in self.records.values() if r.scope.items() <= query.scope.items()]

    def recall(self, query):
        return Evidence(hits=tuple(Hit(r, r.text, 0, 1, 1.0, 1.0) for r in self.visible(query)))

    def delete(self, ids):
        for id in ids:
            self.records.pop(id, None)

    def stats(self):
        return {"records": len(self.records)}


class RoutingBackend(ListBackend):
    """Its evidence is a route, as that of adapters is."""

    def recall(self, query):
        support = tuple(Support(r.id, 0.9, "m1") for r in self.visible(query))
        nearest = Support("record-9", 0.1, None)  # near, but in no module
        return Evidence(route=Route({"m1": 1.0} if support else {}, (*support, nearest)))


class TestListBackend(BackendContract):
    @pytest.fixture(params=[ListBackend, RoutingBackend])
    def backend(self, request):
        return request.param()


class Indifferent(ListBackend):
    """The memory leaves out the hits that a scope may not see."""

    def visible(self, query):
        return list(self.records.values())


class Leaky(RoutingBackend):
    """Nobody leaves out parts of routes."""

    visible = Indifferent.visible


class Narrow(ListBackend):
    def visible(self, query):
        return [r for r in self.records.values() if r.scope == query.scope]


class Late(ListBackend):
    def sync(self, records):
        pass


class Forgetful(ListBackend):
    def write(self, records):
        self.records = {record.id: record for record in records[:2]}


class Undying(ListBackend):
    def delete(self, ids):
        pass


class Growing(ListBackend):
    writes = 0

    def write(self, records):
        super().write(records)
        self.writes += 1

    def stats(self):
        return {"writes": self.writes}


class Fussy(ListBackend):
    def delete(self, ids):
        for id in ids:
            self.records.pop(id)


class CloseOnce(ListBackend):
    def close(self):
        del self.records


class Negative(ListBackend):
    def stats(self):
        return {"records": -1}


class Inventive(ListBackend):
    def recall(self, query):
        return Evidence(route=Route({"m": 1.0}, (Support("record-0", 0.9, "m"),)))


def failures(suite, subject):
    """Names of the suite's tests that fail."""
    failed = set()
    for name, test in inspect.getmembers(suite, inspect.isfunction):
        if name.startswith("test_"):
            try:
                test(suite(), subject())
            except (AssertionError, LookupError, AttributeError):
                failed.add(name)
    return failed


@pytest.mark.parametrize(
    ("backend", "caught_by"),
    [
        (ListBackend, None),
        (RoutingBackend, None),
        (Indifferent, None),
        (Leaky, "test_scopes_do_not_leak"),
        (Narrow, "test_scopes_do_not_leak"),
        (Late, "test_what_the_memory_held_before_is_recalled"),
        (Forgetful, "test_what_is_written_is_recalled"),
        (Undying, "test_what_is_deleted_is_removed"),
        (Growing, "test_writing_twice_changes_nothing"),
        (Fussy, "test_unknown_ids_are_no_error"),
        (CloseOnce, "test_closing_twice_changes_nothing"),
        (Negative, "test_stats_are_counts"),
        (Inventive, "test_nothing_comes_of_nothing"),
    ],
)
def test_a_wrong_backend_is_caught(backend, caught_by):
    failed = failures(BackendContract, backend)

    assert caught_by in failed if caught_by else not failed


class Long(HashingEmbedder):
    def encode_document(self, texts):
        return 2 * super().encode_document(texts)


class Double(HashingEmbedder):
    def encode_document(self, texts):
        return super().encode_document(texts).astype(np.float64)


class Sorting(HashingEmbedder):
    def encode_document(self, texts):
        return super().encode_document(sorted(texts, key=len))


class Centred(HashingEmbedder):
    """What a text becomes depends on its batch."""

    def encode_document(self, texts):
        rows = super().encode_document(texts)
        rows = rows + rows.sum(axis=0)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


class Apart(HashingEmbedder):
    """Queries live in another space than documents."""

    def encode_query(self, texts):
        return np.roll(self.encode_document(texts), 1, axis=1)


class Drifting(HashingEmbedder):
    calls = 0

    def encode_document(self, texts):
        self.calls += 1
        return np.roll(super().encode_document(texts), self.calls, axis=1)


class Nameless(HashingEmbedder):
    def __init__(self):
        super().__init__()
        self.name = ""


class NeedsText(HashingEmbedder):
    def encode_document(self, texts):
        return super().encode_document([texts[0], *texts[1:]])


@pytest.mark.parametrize(
    ("embedder", "caught_by"),
    [
        (HashingEmbedder, None),
        (Long, "test_rows_are_unit_vectors"),
        (Double, "test_rows_are_unit_vectors"),
        (Sorting, "test_a_batch_is_its_texts_in_order"),
        (Centred, "test_a_batch_is_its_texts_in_order"),
        (Apart, "test_a_text_is_nearest_to_itself"),
        (Drifting, "test_repeats_itself"),
        (Nameless, "test_is_named"),
        (NeedsText, "test_nothing_makes_no_rows"),
    ],
)
def test_a_wrong_embedder_is_caught(embedder, caught_by):
    failed = failures(EmbedderContract, embedder)

    assert caught_by in failed if caught_by else not failed


def test_a_failure_of_a_suite_shows_the_values():
    def failure():
        BackendContract().test_what_is_written_is_recalled(Forgetful())

    with pytest.raises(AssertionError, match="assert 'record-2' in "):
        failure()
