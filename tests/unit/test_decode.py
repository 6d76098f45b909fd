"""The decoding loop, against transformers' own and against scripted models."""

from collections import Counter
from contextlib import contextmanager

import pytest
import torch

from memkit.errors import InvalidInputError
from memkit.testing import tiny_gpt2, tiny_llama, tiny_qwen2
from memkit.types import Prompt, Sampling

MAKERS = [tiny_llama, tiny_qwen2, tiny_gpt2]


def conversations(model):
    return [
        model.prompt("Where is it?"),
        model.prompt("Who keeps the keys of the harbour office?", system="Ada keeps them. " * 8),
        model.prompt("It?", history=[("user", "Which badge?"), ("assistant", "4471")]),
        model.prompt("Where is the archive?"),
    ]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("make", MAKERS)
def test_greedy_is_that_of_transformers(make, seed):
    model = make(seed=seed)
    prompts = conversations(model)
    answers = model.generate(prompts, Sampling(max_new_tokens=24))

    for prompt, answer in zip(prompts, answers, strict=True):
        ids = torch.tensor([prompt.prefix + prompt.question])
        out = model.model.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=24
        )
        assert list(answer.ids) == out[0, ids.shape[1] :].tolist()


def test_splitting_a_prompt_elsewhere_changes_nothing(tiny):
    whole = tiny.prompt("Where is it?", system="Ada keeps the keys.")
    ids = whole.prefix + whole.question
    parts = [Prompt(ids[:cut], ids[cut:]) for cut in (0, 1, 5, len(ids) - 1)]

    answers = tiny.generate([whole, *parts], Sampling(max_new_tokens=8))

    assert len({answer.ids for answer in answers}) == 1


class Script:
    """Makes a model say given tokens, whatever it is asked; one list of tokens per row.

    Those of rows that are finished early come last: these leave.
    """

    def __init__(self, model, monkeypatch, *rows):
        self.steps = 0
        self.rows = rows
        self.vocab = model.model.config.vocab_size
        monkeypatch.setattr(model, "logits", self.logits)

    def logits(self, hidden):
        scores = torch.zeros(len(hidden), self.vocab)
        for row, tokens in enumerate(self.rows[: len(hidden)]):
            scores[row, tokens[min(self.steps, len(tokens) - 1)]] = 9.0
        self.steps += 1
        return scores


@pytest.fixture
def model():
    return tiny_llama()


@pytest.fixture
def prompt(model):
    return model.prompt("Where is it?")


def test_rows_end_at_their_stop_tokens(model, prompt, monkeypatch):
    end = model.chat.end_id
    long, short = model.answer_ids("on the third floor"), model.answer_ids("here")
    script = Script(model, monkeypatch, long, [*short, 30])

    answers = model.generate([prompt, prompt], Sampling(max_new_tokens=40))

    assert [answer.text for answer in answers] == ["on the third floor", "here"]
    assert [answer.ids for answer in answers] == [long, short]
    assert answers[1].ids[-1] == end
    assert script.steps == len(long)
    assert [answer.finish_reason for answer in answers] == ["stop", "stop"]


def test_every_end_of_text_stops(model, prompt, monkeypatch):
    model.stop_ids = frozenset({0, 2})
    Script(model, monkeypatch, [*model.answer_ids("here")[:-1], 0, 30])

    (answer,) = model.generate([prompt])

    assert answer.text == "here"
    assert answer.ids[-1] == 0


def test_no_more_is_computed_than_asked_for(model, prompt, monkeypatch):
    script = Script(model, monkeypatch, [30])

    (answer,) = model.generate([prompt], Sampling(max_new_tokens=7))

    assert answer.ids == (30,) * 7
    assert answer.finish_reason == "length"
    assert script.steps == 7


def test_a_stop_text_may_span_tokens(model, prompt, monkeypatch):
    ids = model.answer_ids("Ada keeps them.\n\nQuestion: who?")
    script = Script(model, monkeypatch, ids)
    sampling = Sampling(stop=("s?", "\n\nQ"), max_new_tokens=60)

    (answer,) = model.generate([prompt], sampling)
    assert answer.text == "Ada keeps them."
    assert answer.ids == ids[: script.steps]
    assert len(answer.ids) < len(ids)

    script.steps = 0
    pieces = list(model.stream(prompt, sampling))
    assert "".join(pieces) == "Ada keeps them."
    assert len(pieces) > 1


def test_what_only_looks_like_a_stop_text_comes_through(model, prompt, monkeypatch):
    Script(model, monkeypatch, model.answer_ids("a\n\nb\n\n\nc"))

    sampling = Sampling(stop=("\n\n\n\n",))

    assert "".join(model.stream(prompt, sampling)) == "a\n\nb\n\n\nc"


def test_pieces_hold_whole_characters(model, prompt, monkeypatch):
    text = "clé \U0001f5dd\ufe0f für 世界"
    script = Script(model, monkeypatch, model.answer_ids(text))

    pieces = list(model.stream(prompt))

    assert "".join(pieces) == text
    assert not any("\ufffd" in piece for piece in pieces)
    script.steps = 0
    assert model.generate([prompt])[0].text == text


def test_half_a_character_at_the_end_is_dropped(model, prompt, monkeypatch):
    ids = model.answer_ids("key \U0001f5dd")[:-2]  # neither the last byte nor the stop token
    script = Script(model, monkeypatch, ids)
    sampling = Sampling(max_new_tokens=len(ids))

    assert model.generate([prompt], sampling)[0].text == "key"
    script.steps = 0
    assert "".join(model.stream(prompt, sampling)) == "key"


def test_blanks_around_the_answer_are_dropped(model, prompt, monkeypatch):
    script = Script(model, monkeypatch, model.answer_ids(" \n on the left \n\n"))

    assert model.generate([prompt])[0].text == "on the left"
    script.steps = 0
    assert "".join(model.stream(prompt)) == "on the left"


class Recorder:
    """Notes in which order the model is fed and the adapters are on."""

    def __init__(self, model, monkeypatch):
        self.events = []
        hidden = model.hidden

        def spy(ids, mask, positions, cache=None):
            self.events.append(ids.shape[1])
            return hidden(ids, mask, positions, cache)

        monkeypatch.setattr(model, "hidden", spy)

    @contextmanager
    def adapters(self):
        self.events.append("on")
        try:
            yield
        finally:
            self.events.append("off")


def test_adapters_act_from_the_question_on(model, prompt, monkeypatch):
    recorder = Recorder(model, monkeypatch)

    model.generate([prompt], Sampling(max_new_tokens=3), adapters=recorder.adapters())

    expected = [len(prompt.prefix), "on", len(prompt.question), 1, 1, "off"]
    assert recorder.events == expected


def test_adapters_are_off_after_an_error(model, prompt, monkeypatch):
    recorder = Recorder(model, monkeypatch)

    def fail(hidden):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(model, "logits", fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        model.generate([prompt], adapters=recorder.adapters())
    assert recorder.events[-1] == "off"

    with pytest.raises(RuntimeError, match="out of memory"):
        next(model.stream(prompt, adapters=recorder.adapters()))
    assert recorder.events[-1] == "off"


def test_an_abandoned_stream_leaves_its_adapters(model, prompt, monkeypatch):
    recorder = Recorder(model, monkeypatch)
    stream = model.stream(prompt, adapters=recorder.adapters())

    next(stream)
    assert recorder.events[-1] != "off"
    stream.close()
    assert recorder.events[-1] == "off"


def test_gradients_stay_as_the_consumer_has_them(model, prompt):
    for _ in model.stream(prompt, Sampling(max_new_tokens=4)):
        assert torch.is_grad_enabled()


def test_more_than_the_context_is_refused(model):
    prompt = model.prompt("Where? " * 300)
    total = len(prompt) + 100

    with pytest.raises(InvalidInputError, match=f"at most 512 tokens.* {len(prompt)} .*{total}"):
        model.generate([prompt], Sampling(max_new_tokens=100))


def test_the_context_may_be_used_to_the_full(model):
    ids = (30,) * 500

    (answer,) = model.generate([Prompt(ids[:450], ids[450:])], Sampling(max_new_tokens=12))

    assert 1 <= answer.tokens <= 12


def test_an_empty_question_is_refused(model):
    with pytest.raises(InvalidInputError, match="`question` must hold at least one token"):
        model.generate([Prompt((5, 6), ())])


def test_a_bad_request_computes_nothing(model, prompt, monkeypatch):
    recorder = Recorder(model, monkeypatch)

    with pytest.raises(InvalidInputError, match="`top_p`"):
        model.stream(prompt, Sampling(top_p=2.0), adapters=recorder.adapters())

    assert recorder.events == []


def drawn(model, prompt, monkeypatch, chances, **sampling):
    """Relative frequencies of the first token over many seeds."""
    scores = torch.full((1, model.model.config.vocab_size), -1e9)
    scores[0, list(chances)] = torch.tensor(list(chances.values())).log()
    monkeypatch.setattr(model, "logits", lambda hidden: scores)
    seeds = 500
    count = Counter(
        model.generate([prompt], Sampling(max_new_tokens=1, seed=seed, **sampling))[0].ids[0]
        for seed in range(seeds)
    )
    return {token: count[token] / seeds for token in chances}


@pytest.mark.slow
def test_tokens_are_drawn_by_their_chances(model, prompt, monkeypatch):
    chances = {30: 0.5, 31: 0.3, 32: 0.2}

    frequencies = drawn(model, prompt, monkeypatch, chances, temperature=1.0)

    assert frequencies == pytest.approx(chances, abs=0.07)


@pytest.mark.slow
def test_temperature_flattens_and_the_nucleus_cuts(model, prompt, monkeypatch):
    chances = {30: 0.5, 31: 0.3, 32: 0.2}

    # p ** (1 / 2) is 0.707, 0.548, 0.447; the first two hold 0.74 of it.
    frequencies = drawn(model, prompt, monkeypatch, chances, temperature=2.0, top_p=0.7)

    expected = {30: 0.707 / 1.255, 31: 0.548 / 1.255, 32: 0.0}
    assert frequencies == pytest.approx(expected, abs=0.07)


def test_a_temperature_is_any_number_that_scores_can_be_divided_by(model, prompt):
    def drawn(temperature):
        return model.generate([prompt], Sampling(max_new_tokens=4, temperature=temperature))

    assert drawn(1) == drawn(1.0)
    assert drawn(1e-3)
    assert drawn(2**70)
    for cold in (1e-39, 1e-300, 9e-4):
        with pytest.raises(InvalidInputError, match=r"`temperature` must be 0, .*at least 0.001"):
            drawn(cold)


def test_a_draw_does_not_depend_on_its_neighbours(tiny):
    prompts = conversations(tiny)
    sampling = Sampling(max_new_tokens=12, temperature=1.5, seed=7)

    answers = tiny.generate(prompts, sampling)

    assert answers == tiny.generate(prompts, sampling)
    assert answers[2] == tiny.generate(prompts[2:3], sampling)[0]
    assert answers[0] == tiny.generate([prompts[0]] * 3, sampling)[2]
