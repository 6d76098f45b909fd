"""Tests that every language model passes."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

from memkit.errors import InvalidInputError
from memkit.protocols import LanguageModel
from memkit.types import Sampling


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


class LanguageModelContract:
    """What every `memkit.protocols.LanguageModel` does. Define the fixture ``model``.

    Override `test_a_seed_repeats_its_draw` for a model that draws nothing.
    """

    history = (("user", "Who keeps the keys?"), ("assistant", "Ada keeps them."))
    short = Sampling(max_new_tokens=12)

    def test_it_has_a_name(self, model: LanguageModel) -> None:
        assert isinstance(model, LanguageModel)
        assert model.name

    def test_it_answers_while_it_is_held(self, model: LanguageModel) -> None:
        """Whoever holds the model generates and streams; it can be held again afterwards."""
        prompt = model.prompt("Where is it?")
        for _ in range(2):
            with model.hold():
                (answer,) = model.generate([prompt], self.short)
                assert "".join(model.stream(prompt, self.short)) == answer.text

    def test_forgetting_prefixes_changes_no_answer(self, model: LanguageModel) -> None:
        prompt = model.prompt("Where is it?", system="The archive is on the third floor.")
        before = model.generate([prompt], self.short)
        model.forget_prefixes()
        assert model.generate([prompt], self.short) == before

    def test_counts_tokens(self, model: LanguageModel) -> None:
        """Nothing is no token; more text is more tokens."""
        assert model.count("") == 0
        assert 0 < model.count("a key") < model.count("a key, a badge and a lamp")

    def test_the_question_is_not_in_the_prefix(self, model: LanguageModel) -> None:
        """Questions of one conversation share its prefix; what comes before changes it."""
        first = model.prompt("Where is it?", system="Be brief.", history=self.history)
        other = model.prompt("Who runs the office?", system="Be brief.", history=self.history)
        assert first.prefix == other.prefix
        assert first.question != other.question
        assert len(model.prompt("Where is it?", system="Be brief.").prefix) < len(first.prefix)
        assert model.prompt("Where is it?", system="Be long.").prefix != first.prefix

    def test_no_message_is_left_out(self, model: LanguageModel) -> None:
        """What the system and what the history say is in the prompt, in whatever form."""
        alone = model.prompt("Where is it?")
        for text in ("Be brief.", "The archive is on the third floor."):
            for before in ({"system": text}, {"history": [("user", text), ("assistant", "Yes.")]}):
                longer = model.prompt("Where is it?", **before)
                assert len(longer.prefix) >= model.count(text)
                assert longer.prefix != alone.prefix

    def test_nothing_makes_no_completions(self, model: LanguageModel) -> None:
        assert model.generate([]) == []

    def test_a_batch_is_its_prompts_in_order(self, model: LanguageModel) -> None:
        """Neither length nor prefix of the neighbours changes an answer."""
        prompts = [
            model.prompt("Where is it?", system="The archive is on the third floor."),
            model.prompt("Where is the office of the person who keeps the keys?"),
            model.prompt("It?", history=self.history),
        ]
        for sampling in (self.short, replace(self.short, temperature=0.7, top_p=0.9, seed=3)):
            singles = [model.generate([prompt], sampling)[0] for prompt in prompts]
            assert model.generate(prompts, sampling) == singles

    def test_threads_ask_at_once_where_it_shares_passes(self, model: LanguageModel) -> None:
        """They do not hold it, and each gets its own answer; streams may be read in turn."""
        if not getattr(model, "shares_passes", False):
            return
        prompts = [model.prompt(text) for text in ("Where?", "Where is the office?", "Who?")]
        alone = [model.generate([prompt], self.short)[0] for prompt in prompts]
        with ThreadPoolExecutor(len(prompts)) as threads:
            asked = threads.map(lambda prompt: model.generate([prompt], self.short)[0], prompts)
            assert list(asked) == alone
        streams = [model.stream(prompt, self.short) for prompt in prompts]
        texts = [next(stream, "") for stream in streams]
        texts = [text + "".join(stream) for text, stream in zip(texts, streams, strict=True)]
        assert texts == [answer.text for answer in alone]

    def test_answers_are_bounded(self, model: LanguageModel) -> None:
        for bound in (1, 5):
            (answer,) = model.generate(
                [model.prompt("Say all you know.")], Sampling(max_new_tokens=bound)
            )
            assert answer.tokens <= bound

    def test_a_seed_repeats_its_draw(self, model: LanguageModel) -> None:
        prompt = model.prompt("Where is it?")
        draws = [
            model.generate([prompt], replace(self.short, temperature=2.0, seed=seed))[0].text
            for seed in (0, 0, 1, 2, 3)
        ]
        assert draws[0] == draws[1]
        assert len(set(draws)) > 1

    def test_pieces_join_to_the_text(self, model: LanguageModel) -> None:
        prompt = model.prompt("Where is it?")
        for sampling in (self.short, replace(self.short, temperature=1.5, seed=1)):
            pieces = list(model.stream(prompt, sampling))
            assert "".join(pieces) == model.generate([prompt], sampling)[0].text
            assert all(pieces)

    def test_why_an_answer_ends_is_told_or_left_open(self, model: LanguageModel) -> None:
        """A stream gives the same completion as a batch, or none."""
        prompt = model.prompt("Where is it?")
        (whole,) = model.generate([prompt], self.short)
        stop = whole.text[2:5]
        for sampling, reason in (
            (self.short, None),
            (replace(self.short, stop=(stop,)), "stop"),
            (replace(self.short, max_new_tokens=1), "length"),
        ):
            (answer,) = model.generate([prompt], sampling)
            stream = model.stream(prompt, sampling)
            told = None
            try:
                while True:
                    next(stream)
            except StopIteration as end:
                told = end.value
            assert told in (None, answer)
            if answer.finish_reason is not None and reason is not None:
                assert answer.finish_reason == reason

    def test_a_stop_text_ends_the_answer(self, model: LanguageModel) -> None:
        """The text ends before the stop text, also when pieces of it came one by one."""
        prompt = model.prompt("Where is it?")
        whole = model.generate([prompt], self.short)[0].text
        stop = whole[2:5]
        sampling = replace(self.short, stop=(stop,))
        expected = whole[: whole.find(stop)].strip()
        assert model.generate([prompt], sampling)[0].text == expected
        assert "".join(model.stream(prompt, sampling)) == expected

    def test_adapters_are_on_once_a_batch(self, model: LanguageModel) -> None:
        """They are entered and left, whether the batch is read or abandoned."""
        prompt = model.prompt("Where is it?")
        switch = Switch()
        model.generate([prompt, prompt], self.short, adapters=switch.on())
        assert (switch.entered, switch.left) == (1, 1)
        stream = model.stream(prompt, self.short, adapters=switch.on())
        next(stream)
        assert (switch.entered, switch.left) == (2, 1)
        del stream
        assert (switch.entered, switch.left) == (2, 2)

    def test_bad_sampling_is_refused(self, model: LanguageModel) -> None:
        import pytest

        prompt = model.prompt("Where is it?")
        for bad, message in (
            (Sampling(max_new_tokens=0), "`max_new_tokens`"),
            (Sampling(temperature=-1.0), "`temperature`"),
            (Sampling(temperature=float("nan")), "`temperature`"),
            (Sampling(top_p=0.0), "`top_p`"),
            (Sampling(stop=("",)), "`stop`"),
        ):
            with pytest.raises(InvalidInputError, match=message):
                model.generate([prompt], bad)
            with pytest.raises(InvalidInputError, match=message):
                list(model.stream(prompt, bad))
