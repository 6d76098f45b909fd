"""Contract suites for pytest: what every implementation of a protocol does.

A suite is a class; derive from it in a test file and define its fixture.

    class TestMyEmbedder(EmbedderContract):
        @pytest.fixture
        def embedder(self):
            return MyEmbedder()
"""

# ruff: noqa: S101 - these are tests

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

from memkit.errors import InvalidInputError
from memkit.protocols import Backend, Embedder, Generator, Query, Sampling
from memkit.types import Evidence, Record

_ODD_TEXTS = ("", " \n\t", "nul \0 byte", "e\u0301 \u202e \U0001f9ed", "word " * 3000, "<s> [CLS]")


class EmbedderContract:
    """What every `memkit.protocols.Embedder` does. Define the fixture ``embedder``."""

    def test_is_named(self, embedder: Embedder) -> None:
        """The name tells embedders apart, so it must not be empty."""
        assert isinstance(embedder.name, str)
        assert embedder.name

    def test_rows_are_unit_vectors(self, embedder: Embedder) -> None:
        """Whatever the text, its row is finite and of length 1."""
        for encode in (embedder.encode_query, embedder.encode_document):
            rows = encode(_ODD_TEXTS)
            assert rows.shape == (len(_ODD_TEXTS), embedder.dim)
            assert rows.dtype == np.float32
            np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-5)

    def test_nothing_makes_no_rows(self, embedder: Embedder) -> None:
        """No texts are no error."""
        for encode in (embedder.encode_query, embedder.encode_document):
            rows = encode([])
            assert rows.shape == (0, embedder.dim)
            assert rows.dtype == np.float32

    def test_a_batch_is_its_texts_in_order(self, embedder: Embedder) -> None:
        """Rows do not depend on what else is in the batch."""
        texts = ["a long text about the keys of the harbour office", "keys", "porters and badges"]
        for encode in (embedder.encode_query, embedder.encode_document):
            singles = np.concatenate([encode([text]) for text in texts])
            np.testing.assert_allclose(encode(texts), singles, atol=1e-5)

    def test_repeats_itself(self, embedder: Embedder) -> None:
        """The same call gives the same numbers."""
        first, second = (embedder.encode_document(["keys", "badges"]) for _ in range(2))
        np.testing.assert_array_equal(first, second)

    def test_a_text_is_nearest_to_itself(self, embedder: Embedder) -> None:
        """Queries and documents share one space."""
        texts = ["the porter's badge is 4471", "the harbour closes at six", "Ada keeps the archive"]
        similarity = embedder.encode_query(texts) @ embedder.encode_document(texts).T
        assert similarity.argmax(axis=1).tolist() == [0, 1, 2]


class Switch:
    """Stands for adapters: counts how often it was turned on and off."""

    def __init__(self) -> None:
        self.entered = 0
        self.left = 0

    @contextmanager
    def on(self) -> Iterator[None]:
        """Turn on for the enclosed block."""
        self.entered += 1
        try:
            yield
        finally:
            self.left += 1


class GeneratorContract:
    """What every `memkit.protocols.Generator` does. Define the fixture ``generator``."""

    history = (("user", "Who keeps the keys?"), ("assistant", "Ada keeps them."))
    short = Sampling(max_new_tokens=12)

    def test_counts_tokens(self, generator: Generator) -> None:
        """Nothing is no token; more text is more tokens."""
        assert generator.count("") == 0
        assert 0 < generator.count("a key") < generator.count("a key, a badge and a lamp")

    def test_the_question_is_not_in_the_prefix(self, generator: Generator) -> None:
        """Questions of one conversation share its prefix; what comes before changes it."""
        one = generator.prompt("Where is it?", system="Be brief.", history=self.history)
        other = generator.prompt("Who runs the office?", system="Be brief.", history=self.history)
        assert one.prefix == other.prefix
        assert one.question != other.question
        assert len(generator.prompt("Where is it?", system="Be brief.").prefix) < len(one.prefix)
        assert generator.prompt("Where is it?", system="Be long.").prefix != one.prefix

    def test_nothing_makes_no_completions(self, generator: Generator) -> None:
        """No prompts are no error."""
        assert generator.generate([]) == []

    def test_a_batch_is_its_prompts_in_order(self, generator: Generator) -> None:
        """Neither length nor prefix of the neighbours changes an answer."""
        prompts = [
            generator.prompt("Where is it?", system="The archive is on the third floor."),
            generator.prompt("Where is the office of the person who keeps the keys?"),
            generator.prompt("It?", history=self.history),
        ]
        for sampling in (self.short, replace(self.short, temperature=0.7, top_p=0.9, seed=3)):
            singles = [generator.generate([prompt], sampling)[0] for prompt in prompts]
            assert generator.generate(prompts, sampling) == singles

    def test_answers_are_bounded(self, generator: Generator) -> None:
        """No answer is longer than asked for."""
        for bound in (1, 5):
            (answer,) = generator.generate(
                [generator.prompt("Say all you know.")], Sampling(max_new_tokens=bound)
            )
            assert answer.tokens <= bound

    def test_a_seed_repeats_its_draw(self, generator: Generator) -> None:
        """Sampling is random only in its seed."""
        prompt = generator.prompt("Where is it?")
        draws = [
            generator.generate([prompt], replace(self.short, temperature=2.0, seed=seed))[0].text
            for seed in (0, 0, 1, 2, 3)
        ]
        assert draws[0] == draws[1]
        assert len(set(draws)) > 1

    def test_pieces_join_to_the_text(self, generator: Generator) -> None:
        """Streaming is generating, in pieces."""
        prompt = generator.prompt("Where is it?")
        for sampling in (self.short, replace(self.short, temperature=1.5, seed=1)):
            pieces = list(generator.stream(prompt, sampling))
            assert "".join(pieces) == generator.generate([prompt], sampling)[0].text
            assert all(pieces)

    def test_a_stop_text_ends_the_answer(self, generator: Generator) -> None:
        """The text ends before the stop text, also when pieces of it came one by one."""
        prompt = generator.prompt("Where is it?")
        whole = generator.generate([prompt], self.short)[0].text
        stop = whole[2:5]
        sampling = replace(self.short, stop=(stop,))
        expected = whole[: whole.find(stop)].strip()
        assert generator.generate([prompt], sampling)[0].text == expected
        assert "".join(generator.stream(prompt, sampling)) == expected

    def test_adapters_are_on_once_a_batch(self, generator: Generator) -> None:
        """They are entered and left, whether the batch is read or abandoned."""
        prompt = generator.prompt("Where is it?")
        switch = Switch()
        generator.generate([prompt, prompt], self.short, adapters=switch.on())
        assert (switch.entered, switch.left) == (1, 1)
        stream = generator.stream(prompt, self.short, adapters=switch.on())
        next(stream)
        assert (switch.entered, switch.left) == (2, 1)
        del stream
        assert (switch.entered, switch.left) == (2, 2)

    def test_bad_sampling_is_refused(self, generator: Generator) -> None:
        """Out of range is an error, not a guess."""
        import pytest

        prompt = generator.prompt("Where is it?")
        for bad, message in (
            (Sampling(max_new_tokens=0), "`max_new_tokens`"),
            (Sampling(temperature=-1.0), "`temperature`"),
            (Sampling(temperature=float("nan")), "`temperature`"),
            (Sampling(top_p=0.0), "`top_p`"),
            (Sampling(stop=("",)), "`stop`"),
        ):
            with pytest.raises(InvalidInputError, match=message):
                generator.generate([prompt], bad)
            with pytest.raises(InvalidInputError, match=message):
                list(generator.stream(prompt, bad))


class BackendContract:
    """What every `memkit.protocols.Backend` does. Define the fixture ``backend``.

    Override `make_records` if the backend needs its records elsewhere first, `settle` if it
    takes more than writing until they are recalled, `found` if its evidence is of another kind.
    """

    def make_records(self, n: int) -> list[Record]:
        """``n`` records with a question each, the last two in a scope of their own."""
        return [_record(number, {"user": "u1"} if number >= n - 2 else {}) for number in range(n)]

    def settle(self, backend: Backend) -> None:
        """Do what it takes after a write until records are recalled."""

    def found(self, evidence: Evidence) -> set[str]:
        """Ids of the records that the evidence speaks of."""
        ids = {hit.id for hit in evidence.hits}
        ids |= {turn.record_id for turn in evidence.turns if turn.record_id}
        if evidence.route:
            ids |= {fact.record_id for fact in evidence.route.support if fact.module}
        return ids

    def ask(self, backend: Backend, record: Record, scope: Mapping[str, str]) -> set[str]:
        """Ids that come up when the record's question is asked in a scope."""
        return self.found(backend.recall(Query(record.question or record.text, scope=scope)))

    def test_what_is_written_is_recalled(self, backend: Backend) -> None:
        """Every record comes up when its question is asked in its scope."""
        records = self.make_records(4)
        backend.write(records)
        self.settle(backend)
        for record in records:
            assert record.id in self.ask(backend, record, record.scope)

    def test_writing_twice_changes_nothing(self, backend: Backend) -> None:
        """The second time is as if it had not been."""
        records = self.make_records(4)
        backend.write(records)
        self.settle(backend)
        once = dict(backend.stats()), self.ask(backend, records[0], {})
        backend.write(records)
        self.settle(backend)
        assert (dict(backend.stats()), self.ask(backend, records[0], {})) == once

    def test_what_is_deleted_is_gone(self, backend: Backend) -> None:
        """It does not come up any more; the others still do."""
        gone, kept, *_ = records = self.make_records(4)
        backend.write(records)
        self.settle(backend)
        assert backend.delete([gone.id]) == 1
        assert gone.id not in self.ask(backend, gone, gone.scope)
        assert kept.id in self.ask(backend, kept, kept.scope)
        assert backend.delete([gone.id]) == 0

    def test_unknown_ids_are_no_error(self, backend: Backend) -> None:
        """There is nothing to let go of."""
        assert backend.delete(["no-such-id"]) == 0
        assert backend.delete([]) == 0

    def test_nothing_comes_of_nothing(self, backend: Backend) -> None:
        """An empty backend has no evidence, and writing nothing keeps it so."""
        backend.write([])
        assert self.found(backend.recall(Query("Which badge does worker 0 have?"))) == set()

    def test_scopes_do_not_leak(self, backend: Backend) -> None:
        """A record of a scope is unknown to another scope, and to none."""
        records = self.make_records(4)
        backend.write(records)
        self.settle(backend)
        private = records[-1]
        assert private.scope
        other = dict.fromkeys(private.scope, "someone else")
        for scope in ({}, other):
            assert private.id not in self.ask(backend, private, scope)
        assert private.id in self.ask(backend, private, {**private.scope, "session": "s7"})

    def test_stats_are_counts(self, backend: Backend) -> None:
        """Non-negative integers by name."""
        backend.write(self.make_records(4))
        for name, count in backend.stats().items():
            assert isinstance(name, str)
            assert type(count) is int
            assert count >= 0

    def test_closing_twice_changes_nothing(self, backend: Backend) -> None:
        """The second time is as if it had not been."""
        backend.write(self.make_records(4))
        backend.close()
        backend.close()


def _record(number: int, scope: Mapping[str, str]) -> Record:
    text = f"The badge number of worker {number} is {4471 + 37 * number}."
    return Record(
        id=f"record-{number}",
        text=text,
        question=f"Which badge does worker {number} have?",
        answer=str(4471 + 37 * number),
        scope=scope,
        metadata={"number": number},
        created_at=datetime(2025, 1, 1, tzinfo=UTC),
        updated_at=datetime(2025, 1, 1, tzinfo=UTC),
        version=1,
        content_hash=hashlib.sha256(text.encode()).hexdigest(),
    )
