"""A language model without weights, for tests of what needs one and not what it says."""

from __future__ import annotations

import re
from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, nullcontext
from random import Random

from memkit.types import GREEDY, Completion, Prompt, Sampling

_WORDS = 8  # of an answer


class HashingModel:
    """Answers with words of its prompt; implements `memkit.protocols.LanguageModel`.

    Which words is drawn by a hash of the prompt, the same on every machine, and without torch or
    transformers. Its tokens are the bytes of a text. Temperature and seed change what is drawn;
    `Sampling.top_p` does not.

    Attributes:
        name: "hashing-model".
    """

    name = "hashing-model"

    def hold(self) -> AbstractContextManager[None]:
        """Nothing: it has no state, so threads need not wait for each other."""
        return nullcontext()

    def forget_prefixes(self) -> None:
        """Nothing: it remembers none."""

    def count(self, text: str) -> int:
        """Number of bytes in ``text``."""
        return len(text.encode())

    def prompt(
        self,
        question: str,
        *,
        system: str | None = None,
        history: Sequence[tuple[str, str]] = (),
    ) -> Prompt:
        """The conversation, a line for each message."""
        messages = [("system", system or "Answer."), *history]
        prefix = "".join(f"{role}: {content}\n" for role, content in messages)
        return Prompt(tuple(prefix.encode()), tuple(f"user: {question}\nassistant: ".encode()))

    def generate(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling = GREEDY,
        *,
        adapters: AbstractContextManager[object] | None = None,
    ) -> list[Completion]:
        """One completion per prompt; adapters are entered and change nothing."""
        sampling.check()
        with adapters or nullcontext():
            return [_completed(prompt, sampling) for prompt in prompts]

    def stream(
        self,
        prompt: Prompt,
        sampling: Sampling = GREEDY,
        *,
        adapters: AbstractContextManager[object] | None = None,
    ) -> Generator[str, None, Completion]:
        """The same text, word by word."""
        sampling.check()
        with adapters or nullcontext():
            completed = _completed(prompt, sampling)
            yield from re.findall(r"\s*\S+", completed.text)
        return completed


def _completed(prompt: Prompt, sampling: Sampling) -> Completion:
    text = bytes(prompt.prefix + prompt.question).decode()
    drawn_by = (sampling.temperature, sampling.seed) if sampling.temperature else ()
    random = Random(f"{text} {drawn_by}")  # noqa: S311 - not for secrets
    answer = " ".join(random.choices(re.findall(r"\w+", text), k=_WORDS))
    whole = answer.encode()
    ids = tuple(whole[: sampling.max_new_tokens])
    answer = bytes(ids).decode(errors="ignore")
    ends = [answer.find(stop) for stop in sampling.stop if stop in answer]
    cut = len(ids) < len(whole) and not ends
    text = answer[: min(ends, default=len(answer))].strip()
    return Completion(text, ids, "length" if cut else "stop")
