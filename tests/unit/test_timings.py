"""Where the time of an answer went: the stopwatch, and what it measures of each way to answer."""

import json
from contextvars import copy_context

import pytest

from memkit.testing import HashingEmbedder, HashingModel
from memkit.types import Sampling, Timings, timings

NORA = "What is the badge number of Nora?"
STEPS = ["embed", "route", "search", "judge", "mix", "prefill", "decode"]


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 100.0

        def perf_counter(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(timings, "time", clock)
    return clock


def summed(timings):
    return sum(timings.to_dict().values())


# -- the stopwatch


def test_a_step_within_another_counts_for_itself_alone(clock):
    watch = timings.Stopwatch()
    with watch.running():
        clock.now += 1
        with timings.step("search"):
            clock.now += 2
            with timings.step("embed"):
                clock.now += 4
            clock.now += 8
            with timings.step("embed"):
                clock.now += 16
        with timings.step("decode"):
            clock.now += 32

    assert watch.timings() == Timings(search=10, embed=20, decode=32)
    assert watch.seconds == 63
    assert watch.timings(among=2).embed == 10


def test_a_step_that_fails_counts_as_well(clock):
    watch = timings.Stopwatch()

    def fail():
        clock.now += 1
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), watch.running(), timings.step("embed"):
        fail()
    assert (watch.timings().embed, watch.seconds) == (1, 1)


def test_without_a_stopwatch_nothing_is_measured(clock):
    watch = timings.Stopwatch()
    with watch.running():
        pass
    with timings.step("embed"):
        clock.now += 1

    assert watch.timings() == Timings()


def test_whoever_takes_pieces_is_not_measured(clock):
    watch, closed = timings.Stopwatch(), []

    def pieces():
        try:
            for _ in range(3):
                with timings.step("decode"):
                    clock.now += 1
                yield "piece"
        finally:
            closed.append(True)
        return "end"

    timed = watch.over(pieces())
    for _ in range(2):
        assert copy_context().run(next, timed) == "piece"  # as tasks that share a stream do
        clock.now += 10
        with timings.step("embed"):
            clock.now += 10
    timed.close()

    assert (watch.seconds, watch.timings()) == (2, Timings(decode=2))
    assert closed == [True]


# -- answers


def test_an_answer_from_weights_says_where_its_time_went(trained):
    answer = trained.ask(NORA, 0, sampling=Sampling(max_new_tokens=8))

    assert answer.text == "4471"
    spent = answer.timings.to_dict()
    assert list(spent) == STEPS
    assert all(spent[name] > 0 for name in ("embed", "route", "search", "mix", "prefill", "decode"))
    assert summed(answer.timings) <= answer.seconds
    assert json.loads(answer.to_json())["timings"] == spent


def test_an_answer_in_stored_words_was_judged_and_not_generated(memory):
    memory.add("The archive is on the second floor.")
    answer = memory.ask("Where is the archive?", min_score=0.0, quote=True)

    assert answer.claims[0].quoted
    assert answer.timings.judge > 0
    assert (answer.timings.mix, answer.timings.prefill) == (0, 0)
    assert summed(answer.timings) <= answer.seconds


def test_a_batch_shares_its_time_out(trained):
    answers = trained.ask_batch([NORA, "What is the badge number of Lena?"], 0)

    assert len({answer.timings for answer in answers}) == 1
    assert len({answer.seconds for answer in answers}) == 1
    assert answers[0].timings.decode > 0


@pytest.mark.parametrize("strict", [False, True])
def test_a_stream_is_timed_at_its_end(trained, strict):
    stream = trained.stream(NORA, 0, strict=strict)
    assert "".join(stream) == "4471"

    assert stream.answer.timings.decode > 0
    assert stream.answer.timings.embed > 0
    assert summed(stream.answer.timings) <= stream.answer.seconds


def test_a_language_model_of_ones_own_is_timed_as_a_whole(open_memory, tmp_path):
    memory = open_memory(
        tmp_path / "m", base_model=HashingModel(), embedder=HashingEmbedder(),
        backends=["buffer", "rag"],
    )  # fmt: skip
    memory.add("The archive is on the second floor.")
    answer = memory.ask("Where is the archive?")

    assert answer.timings.decode > 0
    assert (answer.timings.prefill, answer.timings.route, answer.timings.mix) == (0, 0, 0)


def test_timings_make_no_difference_between_answers(trained):
    one, other = trained.ask(NORA, 0), trained.ask(NORA, 0)

    assert one.timings != other.timings
    assert (one == other) is (one.seconds == other.seconds)


def test_they_can_be_read(clock):
    assert str(Timings(embed=0.0125, decode=2)) == (
        "embed 0.013 s, route 0.000 s, search 0.000 s, judge 0.000 s, mix 0.000 s, "
        "prefill 0.000 s, decode 2.000 s"
    )
