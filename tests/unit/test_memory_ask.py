"""`consolidate`, `ask`, `ask_batch`, `stream`: the weights answer, and only what they hold."""

import gc
import threading

import pytest

from memkit.errors import (
    InvalidInputError,
    ModuleNotFoundInMemoryError,
    StorageError,
    TrainingError,
)
from memkit.lora.training.trainer import Trainer
from memkit.testing import tiny_llama
from memkit.types import Draft, Sampling

NORA = "What is the badge number of Nora?"  # held by m0001
LENA = "What is the badge number of Lena?"  # held by m0002
EGGS = "How do I boil an egg?"
BRIEF = Sampling(max_new_tokens=12)


@pytest.fixture(scope="module")
def untouched():
    """The base model as no memory has ever seen it."""
    return tiny_llama()


def alone(base, question):
    return base.generate([base.prompt(question)], BRIEF)[0].text


# -- consolidate


def test_what_is_consolidated_is_answered_from_the_weights(trained, badges):
    for draft in badges:
        answer = trained.ask(draft.question, budget=0)
        assert answer.text == draft.answer
        assert answer.recall.text == ""
        assert answer.citations == (draft.id,)
        (module,) = answer.route.modules
        assert draft.id in next(m.records for m in trained.modules.list() if m.name == module)


@pytest.mark.slow
def test_the_report_and_the_ledger_agree(memory, badges):
    records = memory.add(badges[:5])
    report = memory.consolidate()
    assert sorted(report.held + report.missed) == sorted(record.id for record in records)
    # Five records in modules of at most four: three and two, or two and three.
    assert sorted(len(m.held) + len(m.missed) for m in report.modules) == [2, 3]
    assert [(m.name, m.version, m.records) for m in memory.modules.list()] == [
        (m.name, m.version, m.held) for m in report.modules
    ]
    assert memory.stats().held == len(report.held)
    assert memory.stats().base_model == "tiny-llama-0"
    assert all(module.manifest["base_model"] == "tiny-llama-0" for module in memory.modules.list())


def test_there_may_be_nothing_to_consolidate(trained, memory):
    for full_or_empty in (trained, memory):
        report = full_or_empty.consolidate()
        assert (report.modules, str(report)) == ((), "nothing to consolidate")


@pytest.mark.slow
def test_consolidate_takes_what_it_is_told_to(memory, badges):
    nora, emil = badges[:2]
    memory.add(nora.text, question=nora.question, answer=nora.answer, scope={"user": "u1"})
    memory.add(emil.text, question=emil.question, answer=emil.answer, metadata={"kind": "badge"})
    memory.add_turn("user", "I am new here.")
    assert memory.consolidate(where={"kind": "other"}).modules == ()
    (module,) = memory.consolidate(where={"kind": "badge"}).modules
    assert [memory.get(id).answer for id in module.held] == [emil.answer]
    (module,) = memory.consolidate(scope={"user": "u1"}).modules
    assert [memory.get(id, scope="all").answer for id in module.held] == [nora.answer]
    assert memory.consolidate().modules == ()  # a turn is not learned unasked
    report = memory.consolidate(include_turns=True)
    assert len(report.held + report.missed) == 1
    with pytest.raises(InvalidInputError, match="'\\$near'"):
        memory.consolidate(where={"year": {"$near": 1}})


@pytest.mark.slow
def test_what_was_not_recalled_stays_with_rag(memory, badges, monkeypatch):
    memory.add(badges[:2])
    right = "memkit.lora.verify.same_answer"
    monkeypatch.setattr(right, lambda expected, given: expected == given == "4471")
    report = memory.consolidate()
    assert (report.held, report.missed) == (("Nora",), ("Emil",))
    assert [module.records for module in memory.modules.list()] == [("Nora",)]
    asked = memory.ask(badges[1].question, budget=0)
    assert not asked.route
    assert "not held in weights" in asked.route.reason
    assert memory.search(badges[1].question)[0].id == "Emil"


def test_a_failed_run_leaves_the_memory_as_it_was(trained, monkeypatch):
    before = trained.stats(), trained.modules.list()
    files = sorted(trained._engine.ledger.directory.rglob("*"))
    trained.add("The badge number of Zoe is 7070.", question="Zoe?", answer="7070", id="Zoe")

    def diverge(*_, **__):
        raise TrainingError("the loss became nan", hint="use a smaller `learning_rate`")

    monkeypatch.setattr(Trainer, "fit", diverge)
    with pytest.raises(TrainingError, match="the loss became nan"):
        trained.consolidate()
    assert trained.modules.list() == before[1]
    assert trained.stats().held == before[0].held
    assert set(trained._engine.ledger.directory.rglob("*")) - set(files) == {
        trained._engine.ledger.directory / "adapters.lock"
    } - set(files)
    assert trained.ask(NORA, budget=0).text == "4471"


@pytest.mark.slow
def test_the_same_seed_trains_the_same_adapter(tmp_path, open_memory, badges):
    digests = []
    for name in ("a", "b"):
        memory = open_memory(tmp_path / name)
        memory.add(badges[:2])
        memory.consolidate()
        digests.append(memory._engine.ledger.modules.file("m0001").digest)
    assert digests[0] == digests[1]


# -- ask


def test_weights_and_passages_together_cite_their_record(trained, monkeypatch):
    monkeypatch.setattr("memkit.memory.recall.SURE", 1.1)  # no route is as sure as that
    quoted = trained.ask(NORA, min_score=0)  # a relevant passage answers instead
    assert not quoted.route
    assert quoted.route.reason.startswith("the prompt says it")

    answer = trained.ask(NORA, min_score=None)  # nobody knows what is relevant
    assert answer.route.modules == ("m0001",)
    assert answer.citations[0] == "Nora"
    assert "The badge number of Nora is 4471." in answer.recall.text
    bare = trained.ask(NORA, budget=0, quote=False)
    assert answer.prompt_tokens > bare.prompt_tokens + answer.recall.tokens / 2
    assert bare.completion_tokens > 0
    assert answer.seconds > 0


def test_an_answer_by_heart_is_quoted_and_one_in_the_models_words_is_not(trained):
    """A module that is asked as it was trained recites, whichever way it was found."""
    for options in ({}, {"quote": False}, {"modules": ["m0001"]}):
        (claim,) = trained.ask(NORA, budget=0, **options).claims
        assert (claim.text, claim.module, claim.quoted) == ("4471", "m0001", True)
    (other,) = trained.ask(f"Now then: {NORA}", budget=0, modules=["m0001"]).claims
    assert (other.module, other.quoted) == ("m0001", False)
    (own,) = trained.ask(EGGS, sampling=BRIEF).claims
    assert (own.module, own.quoted) == (None, False)


def test_an_answer_says_why_it_ends(trained):
    whole = trained.ask(NORA, budget=0)
    exact = whole.completion_tokens  # the last of them ends the answer
    for tokens, reason in ((exact, "stop"), (exact - 1, "length"), (1, "length")):
        sampling = Sampling(max_new_tokens=tokens)
        asked = trained.ask(NORA, budget=0, sampling=sampling)
        stream = trained.stream(NORA, budget=0, sampling=sampling)
        text = "".join(stream)
        assert (asked.finish_reason, asked.completion_tokens) == (reason, tokens)
        assert (text, stream.answer.finish_reason) == (asked.text, reason)
        assert stream.answer.completion_tokens == tokens
    assert trained.ask(NORA, min_score=0).finish_reason == "stop"  # a quotation


def test_an_unrelated_question_gets_the_base_models_own_answer(trained, untouched):
    answer = trained.ask(EGGS, budget=0, sampling=BRIEF)
    assert not answer.route
    assert answer.text == alone(untouched, EGGS)
    assert trained.ask(NORA, budget=0, modules=[], sampling=BRIEF).text == alone(untouched, NORA)


def test_the_caller_may_choose_the_modules(trained, untouched):
    chosen = trained.ask(NORA, budget=0, modules=["m0001"])
    assert chosen.text == "4471"
    assert chosen.route.weights == {"m0001": 1.0}
    assert chosen.route.reason == "the caller chose the modules"
    assert trained.ask(NORA, budget=0, modules=["m0002"]).text != "4471"
    both = trained.ask(NORA, budget=0, modules=["m0001", "m0002", "m0001"], sampling=BRIEF)
    assert both.route.weights == {"m0001": 0.5, "m0002": 0.5}
    for name in ("m0099", "M0001"):
        with pytest.raises(ModuleNotFoundInMemoryError, match=f"no module has the name '{name}'"):
            trained.ask(NORA, modules=["m0001", name])
    with pytest.raises(InvalidInputError, match="`modules` must not be empty"):
        trained.ask(NORA, modules=[""])
    with pytest.raises(InvalidInputError, match="`modules` must be a list of strings"):
        trained.ask(NORA, modules="m0001")


def test_rows_of_a_batch_have_their_own_adapters(trained, untouched):
    answers = trained.ask_batch([NORA, EGGS, LENA], budget=0, sampling=BRIEF)
    assert [answer.text for answer in answers] == ["4471", alone(untouched, EGGS), "3141"]
    assert [answer.route.modules for answer in answers] == [("m0001",), (), ("m0002",)]
    assert trained.ask_batch([]) == []
    with pytest.raises(InvalidInputError, match="`questions` must be a list, got the string"):
        trained.ask_batch(NORA)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"question": ""}, "`question` must not be empty or blank"),
        ({"question": "a\0"}, "`question` must not contain NUL"),
        ({"question": "a", "k": 0}, "`k` must be an integer of at least 1, got 0"),
        ({"question": "a", "budget": -1}, "`budget` must be an integer of at least 0, got -1"),
        ({"question": "a", "scope": {"user": 7}}, "must be non-empty strings, got 'user': 7"),
        ({"question": "a", "sampling": Sampling(max_new_tokens=0)}, "`max_new_tokens` must be"),
        ({"question": "long " * 500}, "expected at most 512 tokens, the context of tiny-llama-0"),
    ],
)
def test_bad_questions_are_refused(memory, arguments, message):
    memory.add("The badge number of Nora is 4471.")
    with pytest.raises(InvalidInputError, match=message):
        memory.ask(**arguments)
    with pytest.raises(InvalidInputError, match=message):
        "".join(memory.stream(**arguments))


@pytest.mark.slow
@pytest.mark.parametrize("retrain", [True, False])
def test_a_module_that_goes_after_the_routing_is_not_missed(trained, monkeypatch, retrain):
    router = trained._engine.lora.router
    route, routed = router.route, []

    def route_then_forget(queries, **options):
        routes = route(queries, **options)
        routed.append(routes)
        if len(routed) == 1:
            trained.forget("Emil", retrain=retrain)  # m0001 held him, too
        return routes

    monkeypatch.setattr(router, "route", route_then_forget)
    answer = trained.ask(NORA, budget=0)
    assert routed[0][0].modules == ("m0001",)
    assert answer.route.modules == (("m0001",) if retrain else ())
    assert (answer.text == "4471") == retrain


# -- stream


def test_a_stream_says_what_ask_says(trained):
    for question, budget in ((NORA, 0), (NORA, 100), (EGGS, 0)):
        expected = trained.ask(question, budget, sampling=BRIEF)
        stream = trained.stream(question, budget, sampling=BRIEF)
        assert stream.answer is None
        pieces = list(stream)
        assert "".join(pieces) == expected.text
        assert stream.answer.text == expected.text
        assert stream.answer.recall == expected.recall
        assert stream.answer.prompt_tokens == expected.prompt_tokens
        assert list(stream) == []
        assert stream.answer.text == expected.text


def test_a_question_inside_of_a_stream_is_answered_and_spoils_nothing(trained):
    stream = trained.stream(NORA, budget=0)
    first = next(stream)
    assert trained.ask(LENA, budget=0).text == "3141"
    assert first + "".join(stream) == "4471"
    assert trained.ask(LENA, budget=0).text == "3141"


def test_an_abandoned_stream_frees_the_model(trained, untouched):
    stream = trained.stream(NORA, budget=0)
    next(stream)
    stream.close()
    stream.close()
    assert list(stream) == []
    assert stream.answer is None
    assert trained.ask(EGGS, budget=0, sampling=BRIEF).text == alone(untouched, EGGS)
    stream = trained.stream(NORA, budget=0)
    next(stream)
    del stream
    gc.collect()
    assert trained.ask(EGGS, budget=0, sampling=BRIEF).text == alone(untouched, EGGS)


def test_a_module_that_is_forgotten_while_it_answers_goes_on_and_leaves_nothing(trained):
    stream = trained.stream(NORA, budget=0)
    first = next(stream)
    bank = trained._engine.lora.bank
    trained.forget(["Nora", "Emil", "Tara", "Owen"], retrain=False)
    assert first + "".join(stream) == "4471"
    assert bank._idle is None  # its buffers hold what was forgotten
    assert not [key for key in bank._held if trained.modules.list() == []]


def test_a_stream_that_outlives_its_memory_stays_what_it_was(trained, tiny, untouched):
    stream = trained.stream(NORA, budget=0)
    first = next(stream)
    unread = trained.stream(LENA, budget=0)
    trained.close()
    assert first + "".join(stream) == "4471"
    assert alone(tiny, NORA) == alone(untouched, NORA)
    with pytest.raises(StorageError, match="the memory is closed"):
        next(unread)
    assert unread.answer is None


def test_an_error_in_a_stream_is_no_answer(trained, monkeypatch):
    stream = trained.stream(NORA, budget=0)
    trained.forget(["Nora", "Emil", "Tara", "Owen"])
    with pytest.raises(ModuleNotFoundInMemoryError, match="m0001"):
        next(stream)
    assert list(stream) == []
    assert stream.answer is None
    assert trained.ask(LENA, budget=0).text == "3141"


# -- threads


def test_threads_may_share_a_memory(trained, badges):
    errors = []

    def work(number):
        try:
            for draft in badges[number::4]:
                assert trained.ask(draft.question, budget=0).text == draft.answer
                record = trained.add(f"Thread {number} says {draft.id}", scope={"user": "u1"})
                hits = trained.search(record.text, k=1, scope={"user": "u1"})
                assert [hit.id for hit in hits] == [record.id]
                trained.update(record.id, metadata={"thread": number}, scope={"user": "u1"})
        except BaseException as error:
            errors.append(error)
            raise

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert trained.stats().records == 16
    assert len(trained.records(scope="all", where={"thread": {"$gte": 0}}).records) == 8


@pytest.mark.slow
def test_questions_are_answered_while_another_thread_trains(trained, badges):
    trained.add([Draft(f"The shelf of {n} is {n}00.", f"Shelf of {n}?", f"{n}00") for n in "1234"])
    started, reports = threading.Event(), []
    fit = Trainer.fit

    def announce(trainer, *arguments):
        started.set()
        return fit(trainer, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "fit", announce)
        thread = threading.Thread(target=lambda: reports.append(trained.consolidate()))
        thread.start()
        assert started.wait(60)
        for draft in badges:
            assert trained.ask(draft.question, budget=0).text == draft.answer
        thread.join()
    assert len(reports[0].held) == 4
