"""What every generator does; subclass it and define the fixture ``generator``."""

# ruff: noqa: S101 - these are tests

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from memkit.errors import InvalidInputError
from memkit.protocols import Generator, Sampling


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
