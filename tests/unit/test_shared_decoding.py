"""One running batch for all who ask: rows join and leave, and each says what it says alone."""

import random
import threading

import pytest
import torch
from benchmarks.engine.untrained_modules import random_row

from memkit.lora.serving.bank import AdapterBank
from memkit.lora.serving.hooks import AdapterLayers
from memkit.lora.spec import LoraSpec
from memkit.models import decode_shared, model_lock
from memkit.models.answer_row import Row
from memkit.models.decode_shared import GivenUpError
from memkit.models.model_lock import ModelLock
from memkit.testing import tiny_gpt2, tiny_llama, tiny_qwen2
from memkit.types import Constraint, Prompt, Sampling
from memkit.types.giving_up import may_give_up
from memkit.types.timings import Stopwatch

KINDS = (
    Sampling(9),
    Sampling(14, temperature=0.9, seed=3),
    Sampling(3),
    Sampling(20, temperature=1.3, top_p=0.8, seed=4),
    Sampling(20, stop=("e", "a")),
    Sampling(1),
)
MIXTURES = ({"0": 1.0}, {}, {"1": 0.5, "2": 0.5}, {"0": 1.0}, {"3": 2.0}, {"2": 1.0, "0": 0.1})


def prompts_of(model):
    return [
        model.prompt("Where is it?"),
        model.prompt("Who keeps the keys of the harbour office?", system="Ada keeps them. " * 8),
        model.prompt("It?", history=[("user", "Which badge?"), ("assistant", "4471")]),
        model.prompt("Where is the archive?", system="Ada keeps them. " * 8),
        Prompt((), (5, 6, 7, 8)),
        model.prompt("Why?"),
    ]


@pytest.fixture(params=[tiny_llama, tiny_qwen2, tiny_gpt2])
def any_model(request):
    return request.param()


@pytest.fixture
def model():
    return tiny_llama()


def bank_of(model, salt=0):
    layers = AdapterLayers.of(model)
    spec = LoraSpec(rank=4, alpha=64)
    rows = {str(n): random_row(layers, spec, n + salt, torch.float32) for n in range(4)}
    return AdapterBank(
        layers, rows.__getitem__, bound=1 << 20, device=model.device, dtype=model.model.dtype
    )


def rows_at_a_time(model, monkeypatch):
    """How many rows each forward pass has, from now on."""
    seen, original = [], model.extend

    def counted(past, sequences, **more):
        seen.append(len(sequences))
        return original(past, sequences, **more)

    monkeypatch.setattr(model, "extend", counted)
    return seen


def interleaved(streams, seed=0):
    """Read streams in any order, the next one begun when it is first read."""
    chance, texts, ends = random.Random(seed), [""] * len(streams), [None] * len(streams)
    unread = list(range(len(streams)))
    while unread:
        number = chance.choice(unread)
        try:
            texts[number] += next(streams[number])
        except StopIteration as end:
            ends[number] = end.value
            unread.remove(number)
    assert texts == [end.text for end in ends]
    return ends


@pytest.mark.parametrize("seed", range(3))
def test_rows_that_come_and_go_say_what_they_say_alone(any_model, monkeypatch, seed):
    model, bank = any_model, bank_of(any_model)
    asked = list(zip(prompts_of(model), KINDS, MIXTURES, strict=True))

    def adapters(mixture):
        return bank.mix([mixture]) if mixture else None

    with model.hold():  # by itself, then
        alone = [model.generate([p], s, adapters=adapters(m))[0] for p, s, m in asked]
    assert len({answer.ids for answer in alone}) >= len(alone) - 1
    rows = rows_at_a_time(model, monkeypatch)
    streams = [model.stream(p, s, adapters=adapters(m)) for p, s, m in asked]

    assert interleaved(streams, seed) == alone
    assert max(rows) > 2


def test_adapters_of_two_memories_act_side_by_side(model):
    banks = [bank_of(model), bank_of(model, salt=10)]
    prompt, sampling = model.prompt("Where is it?"), Sampling(8)
    with model.hold():
        alone = [model.generate([prompt], sampling, adapters=b.mix([{"0": 1.0}])) for b in banks]
        alone.append(model.generate([prompt], sampling))
    mixes = [*(bank.mix([{"0": 1.0}]) for bank in banks), None]
    streams = [model.stream(prompt, sampling, adapters=mix) for mix in mixes]

    together = interleaved(streams, seed=1)

    assert [[answer] for answer in together] == alone
    assert len({answer.ids for answer in together}) == 3


def test_rows_of_one_call_leave_when_they_are_finished(model, monkeypatch):
    prompts = prompts_of(model)
    ends = [len(model.generate([p], Sampling(24, stop=("e",)))[0].ids) for p in prompts]
    rows = rows_at_a_time(model, monkeypatch)

    model.generate(prompts, Sampling(24, stop=("e",)))

    assert len(set(ends)) > 1
    assert rows == [sum(end > step for end in ends) for step in range(max(ends))]


def test_threads_share_passes_and_get_their_own_answers(model, monkeypatch):
    prompts = [model.prompt(f"Where is number {number}?") for number in range(8)]
    alone = [model.generate([prompt], Sampling(12))[0] for prompt in prompts]
    rows, answers = rows_at_a_time(model, monkeypatch), {}

    def ask(number):
        (answers[number],) = model.generate([prompts[number]], Sampling(12))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    with model.hold():
        for thread in threads:
            thread.start()
        shared = model._answers._shared
        while len(shared._waiting) < 8:
            threading.Event().wait(0.001)
    for thread in threads:
        thread.join()

    assert [answers[number] for number in range(8)] == alone
    ends = [len(answer.ids) for answer in alone]
    assert rows == [sum(end > step for end in ends) for step in range(max(ends))]


def test_who_needs_the_model_otherwise_gets_it_between_two_steps(model, monkeypatch):
    prompt = model.prompt("Where is it?")
    (expected,) = model.generate([prompt], Sampling(200))
    original, begun, had = model.extend, threading.Event(), threading.Event()

    def slowly(past, sequences):
        begun.set()
        while not model._lock.wanted and not had.is_set():
            threading.Event().wait(0.001)
        return original(past, sequences)

    monkeypatch.setattr(model, "extend", slowly)
    answers = []
    thread = threading.Thread(
        target=lambda: answers.extend(model.generate([prompt], Sampling(200)))
    )
    thread.start()
    begun.wait()
    with model.hold():
        assert not answers  # in the midst of it
        had.set()
    thread.join()

    assert answers == [expected]


def test_an_answer_of_a_row_that_fails_is_an_error_and_the_others_are_whole(model, monkeypatch):
    prompts, poison = prompts_of(model)[:3], Prompt((5, 6), (7, 99))
    alone = [model.generate([prompt], Sampling(9))[0] for prompt in prompts]
    original = model.extend

    def failing(past, sequences):
        if any(99 in (*past.tokens[row], *ids) for row, ids in enumerate(sequences)):
            raise RuntimeError("out of memory")
        return original(past, sequences)

    monkeypatch.setattr(model, "extend", failing)
    for place in range(4):
        asked = [*prompts[:place], poison, *prompts[place:]]
        streams = [model.stream(prompt, Sampling(9)) for prompt in asked]
        poisoned = streams.pop(place)
        begun = [*map(next, streams[:2]), ""]
        with pytest.raises(RuntimeError, match="out of memory"):
            next(poisoned)
        texts = [text + "".join(stream) for text, stream in zip(begun, streams, strict=True)]
        assert texts == [answer.text for answer in alone]


@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt])
def test_a_step_that_fails_costs_no_other_row_its_answer(model, monkeypatch, error):
    prompts = prompts_of(model)
    alone = [model.generate([p], s)[0] for p, s in zip(prompts, KINDS, strict=True)]
    original, failures = model.extend, []

    def failing(past, sequences):
        if len(sequences) > 2 and (error is MemoryError or not failures):
            failures.append(len(sequences))
            raise error
        return original(past, sequences)

    monkeypatch.setattr(model, "extend", failing)
    streams = {n: model.stream(prompts[n], KINDS[n]) for n in (0, 1, 3)}
    texts = {0: next(streams[0]), 1: next(streams[1])}
    if error is KeyboardInterrupt:  # it ends the answer of whoever decodes, and no other
        with pytest.raises(KeyboardInterrupt):
            list(streams.pop(3))
    else:
        texts[3] = next(streams[3])

    for n, stream in streams.items():
        assert texts[n] + "".join(stream) == alone[n].text
    assert failures


def test_a_constraint_that_fails_fails_alone(model, monkeypatch):
    free, bound = model.prompt("Where?"), Prompt((5,), (6, 7), Constraint('{"type": "boolean"}'))
    (expected,) = model.generate([free], Sampling(12))
    stream, other = model.stream(bound, Sampling(12)), model.stream(free, Sampling(12))
    text = next(other)
    monkeypatch.setattr(
        "memkit.models.constrained.Keeper.allowed", lambda *_: pytest.fail("no mask")
    )
    with pytest.raises(pytest.fail.Exception, match="no mask"):
        next(stream)

    assert text + "".join(other) == expected.text


def test_callers_take_turns_where_there_is_no_room_for_all(model, monkeypatch):
    monkeypatch.setattr(decode_shared, "MOST_ROWS", 2)
    rows_seen = rows_at_a_time(model, monkeypatch)
    prompt, shared = model.prompt("Where is it?"), model._answers._shared
    many = [Row(model, prompt, Sampling(4)) for _ in range(5)]
    one = Row(model, prompt, Sampling(4))
    with shared.answering(many) as wait_for_many, shared.answering([one]) as wait_for_one:
        wait_for_one(lambda: one.finished)
        assert [len(row.ids) for row in many] == [4, 0, 0, 0, 0]
        wait_for_many(lambda: all(row.finished for row in many))
    assert len({tuple(row.ids) for row in [*many, one]}) == 1
    assert rows_seen == [2] * 12


def test_rows_have_no_more_memory_than_there_is(model, monkeypatch):
    rows = rows_at_a_time(model, monkeypatch)
    prompt = model.prompt("Where is it?")
    model.room = 2 * 3 * (len(prompt) + 5) * model.token_bytes

    model.generate([prompt] * 7, Sampling(5))
    model.room = 0
    model.generate([prompt] * 2, Sampling(5))

    assert rows == [3] * 10 + [1] * 5 + [1] * 10


def test_a_stream_that_is_left_leaves_the_batch(model, monkeypatch):
    rows = rows_at_a_time(model, monkeypatch)
    left, read = (model.stream(p, Sampling(9)) for p in prompts_of(model)[:2])
    first = next(left), next(read)
    left.close()
    assert len(model._answers._shared._batch.rows) == 1
    (expected,) = model.generate([prompts_of(model)[1]], Sampling(9))

    assert first[1] + "".join(read) == expected.text
    assert model._answers._shared._batch.rows == []
    assert max(rows) == 2


def test_an_answer_that_is_given_up_frees_its_row(model, monkeypatch):
    begun, original, ends = threading.Event(), model.extend, []

    def noted(past, sequences):
        begun.set()
        return original(past, sequences)

    def ask(giving_up_here):
        with may_give_up() as giving_up:
            giving_up_here.append(giving_up)
            try:
                model.generate([model.prompt("Sing.")], Sampling(450))
            except GivenUpError:
                ends.append(model._answers._shared._batch.rows == [])

    monkeypatch.setattr(model, "stop_ids", frozenset())
    monkeypatch.setattr(model, "extend", noted)
    handles = []
    thread = threading.Thread(target=ask, args=(handles,))
    thread.start()
    begun.wait()
    handles[0].give_up()
    thread.join()

    assert ends == [True]


def test_time_is_shared_out_among_those_who_wait(model):
    prompt, shared = model.prompt("Where is it?"), model._answers._shared
    waiting = [Row(model, prompt, Sampling(30)) for _ in range(2)]
    watches = [Stopwatch() for _ in waiting]

    def ask(row, watch):
        with watch.running(), shared.answering([row]) as wait:
            wait(lambda: row.finished)

    threads = [
        threading.Thread(target=ask, args=pair) for pair in zip(waiting, watches, strict=True)
    ]
    with model.hold():
        for thread in threads:
            thread.start()
        while len(shared._waiting) < 2:
            threading.Event().wait(0.001)
    for thread in threads:
        thread.join()

    first, second = (watch.timings() for watch in watches)
    assert first.decode == pytest.approx(second.decode)
    assert first.prefill == pytest.approx(second.prefill)
    assert 0 < first.prefill + first.decode <= min(watch.seconds for watch in watches)


def test_a_lock_is_had_in_the_order_in_which_it_was_wanted():
    lock, order = ModelLock(), []

    def want(number):
        with lock.hold():
            order.append(number)

    with lock.hold():
        threads = [threading.Thread(target=want, args=(number,)) for number in range(6)]
        for number, thread in enumerate(threads):
            thread.start()
            while len(lock._waiting) <= number:
                threading.Event().wait(0.001)
    for thread in threads:
        thread.join()

    assert order == list(range(6))
    assert not lock.wanted


@pytest.mark.parametrize("patience", [1e9, 0.0])
def test_who_is_patient_lets_others_go_first_for_a_while(monkeypatch, patience):
    monkeypatch.setattr(model_lock, "PATIENCE", patience)
    lock, order = ModelLock(), []

    def want(name, patient):
        with lock.hold(patient=patient):
            order.append(name)

    kinds = [("training", True), ("judging", False), ("training again", True), ("asking", False)]
    with lock.hold():
        threads = []
        for number, kind in enumerate(kinds):
            threads.append(threading.Thread(target=want, args=kind))
            threads[-1].start()
            while len(lock._waiting) <= number:
                threading.Event().wait(0.001)
            assert lock.wanted == (number > 0 or patience == 0.0)
    for thread in threads:
        thread.join()

    came = [name for name, _ in kinds]
    assert order == (came if patience == 0.0 else [came[1], came[3], came[0], came[2]])
