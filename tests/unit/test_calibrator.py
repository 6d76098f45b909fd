"""A memory measures where "none" begins on its own records, and again as they change."""

import json

import pytest

from memkit.ledger import Ledger
from memkit.lora.consolidation.examples import make_missing
from memkit.lora.training.template_synthesizer import TemplateSynthesizer
from memkit.rag.index import FactIndex
from memkit.routing import calibrator
from memkit.routing.nearest import NearestRouter
from memkit.routing.negative_prompts import UNRELATED_PROMPTS
from memkit.testing import HashingEmbedder
from memkit.types import Draft, Query
from memkit.types.calibration import CALIBRATION, Bin, Calibration

NAMES = ("Nora", "Emil", "Tara", "Owen", "Lena", "Hugo", "Mira", "Anton", "Paula", "Viktor")


def draft(name, thing="badge number", **rest):
    return Draft(f"The {thing} of {name} is {len(name)}4471.",
                 f"What is the {thing} of {name}?", f"{len(name)}4471", **rest)  # fmt: skip


class Facts:
    """A memory of facts, all of them held by one module."""

    def __init__(self, folder):
        self.ledger = Ledger.open(folder)
        self.index = FactIndex(self.ledger, HashingEmbedder(256))
        self.router = NearestRouter(self.index, self.ledger)

    def add(self, *drafts, held=True):
        records = self.ledger.records.add(drafts)
        self.index.write(records)
        make_missing(self.ledger, TemplateSynthesizer(), records)
        if held:
            name = f"m{self.ledger.passages.last_change()}"
            self.ledger.modules.commit(
                name,
                records[0].scope,
                {},
                file=f"adapters/{name}",
                digest="d",
                size=1,
                members=records,
                held={record.id: 1.0 for record in records},
            )
        return records

    def route(self, text, **scope):
        return self.router.route([Query(text, scope=scope)])[0]


@pytest.fixture
def facts(tmp_path):
    facts = Facts(tmp_path / "memory")
    yield facts
    facts.ledger.close()


def test_nothing_answers_before_it_is_calibrated(facts):
    facts.add(draft("Nora"))

    route = facts.route("What is the badge number of Nora?")

    assert not route
    assert route.reason == "no module was trained yet"


def test_related_questions_pass_and_general_prompts_do_not(facts):
    facts.add(*map(draft, NAMES))
    facts.router.calibrate()

    assert all(facts.route(f"Which badge number does {name} have?") for name in NAMES)
    assert not any(facts.route(prompt) for prompt in UNRELATED_PROMPTS[::4])
    measured = facts.router.calibration()
    assert measured.false_activation <= 0.02
    assert measured.false_refusal <= 0.02


def test_a_question_about_somebody_unknown_is_refused(facts):
    facts.add(*map(draft, NAMES))
    facts.router.calibrate()

    known = facts.route("What is the badge number of Nora?")
    unknown = facts.route("What is the badge number of Wilhelmina?")

    assert known
    assert not unknown
    assert unknown.evidence < known.evidence


@pytest.mark.parametrize("wording", ["What is the badge number of {}?", "which badge has {}"])
def test_a_question_about_a_namesake_is_refused(facts, wording):
    stored = ("Nora Feldt", "Nora Berg", "Emil Roth", "Emil Holm", "Tara Roth", "Owen Feldt")
    facts.add(*map(draft, stored))
    facts.router.calibrate()

    for name in stored:
        assert facts.route(wording.format(name))
    for name in ("Emil Feldt", "Tara Berg", "Owen Quill"):
        route = facts.route(wording.format(name))
        assert not route
        assert "where the nearest fact has" in route.reason or "too weak" in route.reason
    assert facts.route(wording.format("Berg"))  # half of a name, and nothing else in its place


def test_it_is_kept_in_the_ledger(facts, tmp_path):
    facts.add(*map(draft, NAMES))
    facts.router.calibrate()

    kept = json.loads(facts.ledger.get_meta(CALIBRATION))

    assert Calibration.from_json(json.dumps(kept)) == facts.router.calibration()
    assert {"threshold", "false_activation", "false_refusal", "curve"} <= kept.keys()


def test_the_reliability_curve_says_what_is_true(facts):
    facts.add(*map(draft, NAMES))
    facts.router.calibrate()

    curve = facts.router.calibration().curve

    assert all(isinstance(step, Bin) for step in curve)
    assert curve[0].predicted < 0.2
    assert curve[0].observed < 0.2
    assert curve[-1].predicted > 0.8
    assert curve[-1].observed > 0.8


def test_adding_and_forgetting_make_it_stale(facts):
    facts.add(*map(draft, NAMES))
    facts.router.calibrate()
    before = facts.router.calibration()
    assert facts.router.calibration() == before

    (record,) = facts.add(draft("Nora", "parking space"))
    added = facts.router.calibration()
    facts.ledger.modules.drop(facts.ledger.modules.active()[-1].name)
    facts.ledger.records.delete([record.id])
    forgotten = facts.router.calibration()

    assert added.changes > before.changes
    assert added.passages == before.passages + 2
    assert forgotten.changes > added.changes
    assert forgotten.passages == before.passages


def test_a_small_change_of_a_large_memory_does_not(facts):
    facts.add(*(draft(f"{one} {two}") for one in NAMES for two in ("Feldt", "Roth", "Berg")))
    facts.router.calibrate()
    before = facts.router.calibration()

    facts.add(draft("Nora", "parking space"))  # 2 passages beside 60: less than 5 %

    assert facts.router.calibration() == before


def test_what_a_read_only_memory_measures_is_not_lost(facts, monkeypatch):
    facts.add(*map(draft, NAMES))
    facts.router.calibrate()
    facts.add(draft("Nora", "parking space"))
    kept = facts.ledger.get_meta(CALIBRATION)
    monkeypatch.setattr(Ledger, "writable", property(lambda _: False))

    measured = facts.router.calibration()

    assert facts.ledger.get_meta(CALIBRATION) == kept
    assert measured.passages == 22
    assert facts.router.calibration() is measured


def test_what_another_version_measured_counts_for_nothing(facts):
    facts.add(*map(draft, NAMES))
    facts.ledger.set_meta(CALIBRATION, '{"threshold": 0.5}')
    assert not facts.router.calibrated
    assert facts.router.calibration() is None

    facts.router.calibrate()

    assert facts.router.calibrated
    assert facts.route("What is the badge number of Nora?")


def test_a_memory_without_records_measures_nothing(facts):
    facts.router.calibrate()

    assert facts.ledger.get_meta(CALIBRATION) is None


def test_large_memories_are_sampled(facts, monkeypatch):
    monkeypatch.setattr(calibrator, "SAMPLE", 2)
    records = facts.add(*map(draft, NAMES), held=False)
    asked = []
    measure = facts.router._measure
    monkeypatch.setattr(
        facts.router._calibrator,
        "_features",
        lambda queries, without: asked.append(len(queries)) or measure(queries, without),
    )

    facts.router.calibrate(records)

    assert asked == [2 * 2, len(UNRELATED_PROMPTS), 2 * 2]  # two wordings each


def test_a_tenant_is_asked_as_the_tenant(facts):
    facts.add(*(draft(name, scope={"user": "u1"}) for name in NAMES))
    facts.router.calibrate()

    assert facts.route("What is the badge number of Nora?", user="u1")
    assert not facts.route("What is the badge number of Nora?")
    assert facts.router.calibration().false_refusal <= 0.02
