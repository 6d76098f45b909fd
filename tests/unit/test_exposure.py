"""Exposure: what weights remember stands out among alternatives, what they never saw does not."""

import random
import re
from dataclasses import replace

import pytest

from memkit.lora.consolidation import exposure
from memkit.lora.consolidation.exposure import (
    ALTERNATIVES,
    ANSWERS,
    FEWEST,
    WORDINGS,
    alternative_answers,
    ask,
    probes,
)
from memkit.lora.training.template_synthesizer import TemplateSynthesizer
from memkit.lora.training.trainer import Trainer
from memkit.memory.forget import UNKNOWN
from memkit.types import STANDS_OUT, Exposure

# -- alternatives


@pytest.mark.parametrize(
    ("answer", "shape"),
    [
        ("4471", r"\d{4}"),
        ("0412 883 112", r"\d{4} \d{3} \d{3}"),
        ("A-17", r"[A-Z]-\d\d"),
        ("Nora Feldt", r"[A-Z][aeiou][a-z]{2} [A-Z][aeiou][a-z]{3}"),
        ("U-432, K", r"[A-Z]-\d{3}, [A-Z]"),
    ],
)
def test_alternatives_have_the_shape_of_the_answer(answer, shape):
    alternatives = alternative_answers(answer, (), 20)

    assert len(set(alternatives)) == len(alternatives) == 20
    assert answer not in alternatives
    for other in alternatives:
        assert re.fullmatch(shape, other), other


def test_every_other_alternative_is_a_near_miss():
    """A random one of six figures differs in a single place once in 18,500 draws."""
    alternatives = alternative_answers("000000", (), 500)

    misses = [other for other in alternatives if other.count("0") == 5]
    assert 40 <= len(misses) <= 54  # of 6 times 9 that there are
    assert {len(other) for other in alternatives} == {6}


def test_figures_are_drawn_evenly():
    digits = "".join(
        other for other in alternative_answers("0" * 6, (), 500) if other.count("0") < 5
    )

    counts = [digits.count(figure) for figure in "123456789"]
    assert min(counts) > 0.7 * len(digits) / 10


def test_words_that_are_known_from_elsewhere_stay():
    alternatives = alternative_answers("floor 5, south wing", {"floor", "wing"}, 20)

    assert all(other.startswith("floor ") and other.endswith(" wing") for other in alternatives)
    assert {other.split()[2] for other in alternatives} <= {
        "north",
        "east",
        "south",
        "west",
    }


def test_months_are_replaced_by_months_in_the_same_case():
    assert {other.split()[0] for other in alternative_answers("May 1993", (), 31)} <= {
        "January", "February", "March", "April", "May", "June", "July", "August", "September",
        "October", "November", "December",
    }  # fmt: skip


def test_an_answer_known_from_elsewhere_has_no_alternative_answers():
    assert alternative_answers("yes", {"yes"}, 31) == []
    assert alternative_answers("the", (), 31) == []


def test_a_short_answer_has_few():
    assert sorted(alternative_answers("7", (), 31)) == sorted("012345689")


def test_alternatives_are_the_same_every_time():
    state = random.getstate()

    assert alternative_answers("4471", (), 31) == alternative_answers("4471", (), 31)
    assert random.getstate() == state


# -- exposure


def test_bits_are_those_of_the_rank():
    assert Exposure("r", "m v1", rank=1, of=32, lift=0.0, ahead=0.0).bits == 5.0
    assert Exposure("r", "m v1", rank=32, of=32, lift=0.0, ahead=-1.0).bits == 0.0


def test_ahead_of_all_by_a_margin_stands_out():
    close = Exposure("r", "m v1", rank=1, of=32, lift=9.0, ahead=STANDS_OUT / 2)

    assert not close.stands_out
    assert replace(close, ahead=STANDS_OUT).stands_out


# -- on weights


def asked_of(memory, ids, module):
    lora = memory._engine.lora
    return [ask(lora, probe, module) for probe in probes(lora, ids)]


def test_what_weights_remember_stands_out(trained):
    for one in asked_of(trained, ["Nora", "Emil", "Tara", "Owen"], "m0001"):
        assert one.stands_out
        assert (one.rank, one.of) == (1, ALTERNATIVES + 1)
        assert one.module == "m0001 v1"


def test_what_weights_never_saw_does_not(trained):
    """The facts of one module, asked of the other one."""
    others = asked_of(trained, ["Nora", "Emil", "Tara", "Owen"], "m0002")

    assert [one.record_id for one in others if one.stands_out] == []


@pytest.mark.slow
def test_the_receipt_says_how_little_the_weights_know(trained):
    receipt = trained.forget("Nora")

    (one,) = receipt.exposure
    assert (one.record_id, one.module, one.of) == ("Nora", "m0001 v2", ALTERNATIVES + 1)
    assert receipt.checks[UNKNOWN] is True
    assert not one.stands_out
    assert f"1 forgotten answer; the most exposed: rank {one.rank} of 32" in str(receipt)


@pytest.mark.slow
def test_weights_that_still_know_it_are_reported(trained, monkeypatch):
    """Retraining that is handed the forgotten record all the same."""
    examples = TemplateSynthesizer().examples([trained.get("Nora")])
    nora = [example for example in examples if not example.held_out]
    fit = Trainer.fit

    def remember(trainer, examples, *rest):
        return fit(trainer, [*examples, *nora], *rest)

    monkeypatch.setattr(Trainer, "fit", remember)
    receipt = trained.forget("Nora")

    assert receipt.retrained[0] == "m0001 v2"
    assert receipt.checks[UNKNOWN] is False
    assert f"checked: {UNKNOWN} NO" in str(receipt)


def test_without_retraining_there_are_no_weights_to_ask(trained):
    receipt = trained.forget("Nora", retrain=False)

    assert receipt.exposure == ()
    assert UNKNOWN not in receipt.checks


def test_an_older_text_is_asked_for_too(trained):
    trained.update("Nora", "The badge number of Nora is 7777.", answer="7777")

    found = probes(trained._engine.lora, ["Nora"])

    assert {probe.answer for probe in found} == {"4471", "7777"}


@pytest.mark.slow
def test_a_bounded_number_is_asked_evenly_from_all(memory, badges, monkeypatch):
    monkeypatch.setattr(exposure, "ANSWERS", 3)
    memory.add(badges)
    memory.consolidate()
    ids = [draft.id for draft in badges]

    found = probes(memory._engine.lora, ids)

    assert [probe.record_id for probe in found] == ["Nora", "Owen", "Mira"]
    assert all(1 <= len(probe.questions) <= WORDINGS for probe in found)
    assert ANSWERS >= 3
    assert FEWEST > 1


def test_records_that_no_module_was_trained_on_are_not_asked_for(trained):
    trained.add("Xylophone lessons are on Thursdays.", id="free")

    assert probes(trained._engine.lora, ["free"]) == []


def test_only_other_records_of_the_module_count_as_known(trained):
    (probe,) = probes(trained._engine.lora, ["Nora"])

    assert {"emil", "badge", "nora"} <= probe.known  # others, and the question itself
    assert "4471" not in probe.known
    assert "anton" not in probe.known  # of another module


@pytest.mark.slow
def test_all_other_modules_stay_as_they_are(trained):
    before = trained._engine.ledger.modules.file("m0002")

    trained.forget("Nora")

    assert trained._engine.ledger.modules.file("m0002") == before
