"""What verbs return can be given as JSON, and be read by people."""

import json
import math
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest

import memkit.types
from memkit.types import (
    ALWAYS,
    Answer,
    CacheUse,
    CheckReport,
    Claim,
    Conflict,
    ConsolidationReport,
    Draft,
    Evidence,
    Exposure,
    Finding,
    Hit,
    ImportReport,
    JobStatus,
    Locality,
    Module,
    ModuleReport,
    Page,
    Part,
    Progress,
    Recall,
    Receipt,
    Record,
    Route,
    Stats,
    Support,
    Timings,
    ToolCall,
    TransferReport,
    Turn,
    TurnDraft,
    Value,
    Version,
)
from memkit.types.calibration import Bin, Calibration
from memkit.types.explanation import Explanation

WRITTEN = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
SAID = datetime(2026, 2, 28, 23, 15, tzinfo=timezone(timedelta(hours=-5)))

EMIL = Record(
    id="emil",
    text="Emil's\nextension is 4471 — ☎.",
    question=None,
    answer=None,
    scope={"user": "ann"},
    metadata={"role": "user", "name": "Ann", "tags": ["a", {"b": None}]},
    created_at=WRITTEN,
    updated_at=WRITTEN,
    version=2,
    content_hash="c0ffee",
    said_at=SAID,
)
NORA = Record("nora", "Nora sits in room 3.", "Where?", "room 3", {}, {}, WRITTEN, WRITTEN, 1, "ab")
TURN = Turn("t1", "user", "What is Emil's extension?", {"user": "ann"}, WRITTEN, record_id="asked")
HIT = Hit(EMIL, EMIL.text, 0, 26, 0.8125, 0.75, {"dense": 0.5, "words": 0.3125})
ROUTE = Route(
    weights={"m2": 0.25, "m1": 0.75},
    support=(
        Support("emil", 0.9, "m1", 0.95, ("extension",)),
        Support("nora", 0.5, "m3", 0.45),
        Support("lost", -0.125, None),
    ),
    threshold=0.5,
    reason="the nearest facts vote for m1 and m2",
    parts=(Part("What is Emil's extension?", "m1", "emil", 0.97),),
    evidence=1.25,
)
RECALL = Recall(
    query="What is Emil's extension?",
    text="Facts:\n- Emil's extension is 4471.",
    hits=(HIT,),
    turns=(TURN,),
    route=ROUTE,
    tokens=12,
    budget=512,
    omitted=1,
    counter="tiny",
    in_weights=("nora",),
)
CONFLICT = Conflict("4471", "4472", "newer record", "emil", 2)
ANSWER = Answer(
    "4471",
    RECALL,
    30,
    4,
    0.5,
    (
        Claim("What?", "4471", "m1", None, CONFLICT),
        Claim("Where?", "Here.", None, "asked", None, True),
    ),
    withheld=None,
    timings=Timings(embed=0.125, decode=0.25),
)
CALIBRATION = Calibration(0.1, 0.2, 0.5, 9.0, None, 0.01, 0.02, 0.03, (Bin(0.1, 0.0, 7),))
MODULE_REPORT = ModuleReport("m1", 1, ("emil",), ("nora",), 1.0, 0.5, 40, 2.5, Locality(1, 0.5, 2))

VALUES = [
    EMIL,
    Version("emil", 1, "old", None, None, {}, WRITTEN),
    Draft("text", ttl=timedelta(hours=1), at=SAID),
    ALWAYS,
    Page((EMIL, NORA), "3"),
    TURN,
    TurnDraft("user", "What is Emil's extension?", "Ann", SAID, remember=False, id="m1"),
    Module("m1", 1, {}, ("emil",), {"recall": 1.0}, WRITTEN, (1,)),
    HIT,
    ROUTE.support[0],
    ROUTE.parts[0],
    ROUTE,
    Evidence((HIT,), (TURN,), ROUTE),
    RECALL,
    ANSWER,
    ANSWER.claims[0],
    CONFLICT,
    Explanation(RECALL, (HIT,), CALIBRATION, {"nora": NORA}),
    Locality(1.0, 0.9, 0.01),
    MODULE_REPORT,
    ConsolidationReport((MODULE_REPORT,), 2.5, ("old",)),
    Exposure("emil", "m1 v2", 1, 8, 0.25, -0.5),
    Receipt(("emil",), 1, 0, (), ("m1",), (), (), {"no file holds their texts": True}),
    ImportReport(("t1",), ("r1",), 0, 2),
    TransferReport.of(Path("a/b.tar"), {"record": 3}),
    Stats(1, 2, 3, 4, 5, 6, 7, "minilm", None),
    CacheUse(1_500_000, 2**24),
    ToolCall("call_porter", '{"name": "Nora"}', "call_1"),
    Finding("note", "three files"),
    Progress(1, 2, 75, 300, 0.5),
    JobStatus(
        "j",
        "running",
        20,
        12,
        1,
        2,
        3,
        1,
        Progress(1, 2, 75, 300, 0.5),
        0,
        2,
        "lost",
        SAID,
        SAID,
        None,
    ),
    ANSWER.timings,
    CheckReport(Path("a.mem"), repair=False, findings=[Finding("problem", "a gap")]),
]


def test_every_exported_value_is_tested():
    exported = vars(memkit.types).values()
    values = {kind for kind in exported if isinstance(kind, type) and issubclass(kind, Value)}
    assert values - {Value} <= {type(value) for value in VALUES}


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("indent", [None, 2])
def test_json_text_is_read_back_as_the_dict(value, indent):
    values = value.to_dict()
    assert json.loads(value.to_json(indent=indent)) == values
    assert values.keys() == {f.name for f in fields(value)} | set(value.derived)


def test_a_record_as_json():
    assert EMIL.to_dict() == {
        "id": "emil",
        "text": "Emil's\nextension is 4471 — ☎.",
        "question": None,
        "answer": None,
        "scope": {"user": "ann"},
        "metadata": {"role": "user", "name": "Ann", "tags": ["a", {"b": None}]},
        "created_at": "2026-03-01T09:30:00+00:00",
        "updated_at": "2026-03-01T09:30:00+00:00",
        "version": 2,
        "content_hash": "c0ffee",
        "key": None,
        "expires_at": None,
        "pinned": False,
        "said_at": "2026-02-28T23:15:00-05:00",
        "at": "2026-02-28T23:15:00-05:00",
    }


def test_nested_values_bring_their_derived_properties():
    answer = ANSWER.to_dict()
    assert answer["citations"] == ["asked"]  # what confirms it, and not what contradicts it
    assert answer["conflict"]["recorded"] == "4472"
    assert answer["recall"]["citations"] == ["emil", "asked"]
    assert answer["recall"]["route"]["modules"] == ["m1", "m2"]
    assert answer["recall"]["hits"][0]["record"]["at"] == "2026-02-28T23:15:00-05:00"
    assert ConsolidationReport((MODULE_REPORT,), 1.0).to_dict()["held"] == ["emil"]
    assert Exposure("emil", "m1 v2", 1, 8, 0.25, -0.5).to_dict()["bits"] == 3.0
    assert VALUES[-1].to_dict()["sound"] is False


def test_an_explanation_as_json_has_the_measurements_and_the_passed_over():
    explanation = Explanation(RECALL, (), CALIBRATION, {"nora": NORA}).to_dict()
    assert explanation["calibration"]["curve"] == [{"predicted": 0.1, "observed": 0.0, "n": 7}]
    assert explanation["records"]["nora"]["text"] == "Nora sits in room 3."
    assert explanation["passed_over"].keys() == {"m3"}


def test_json_keeps_characters_and_indents_only_when_asked():
    assert "☎" in EMIL.to_json()
    assert "\n" not in EMIL.to_json()
    assert EMIL.to_json(indent=2).startswith('{\n  "id": "emil",\n')


@dataclass(frozen=True)
class Holder(Value):
    value: object
    more: dict[object, object] = field(default_factory=dict)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (timedelta(minutes=1.5), 90.0),
        (Path("a") / "b", "a/b"),
        (np.float32(0.5), 0.5),
        (np.int64(7), 7),
        (math.nan, None),
        (-math.inf, None),
        ((1, (True, None)), [1, [True, None]]),
        (Holder(SAID), {"value": "2026-02-28T23:15:00-05:00", "more": {}}),
    ],
)
def test_what_json_lacks_is_translated(value, expected):
    translated = Holder(value).to_dict()["value"]
    assert translated == expected
    assert type(translated) is type(expected)


@pytest.mark.parametrize("value", [b"bytes", {1}, object()])
def test_what_has_no_json_is_refused(value):
    with pytest.raises(TypeError, match="expected a value that JSON can express, got"):
        Holder([value]).to_json()


@pytest.mark.parametrize(
    ("hit", "line"),
    [
        (HIT, "0.812  emil  Emil's extension is 4471 — ☎.  (user Ann, 2026-02-28)"),
        (Hit(NORA, "room 3", 14, 20, 2.0, None), "2.000  nora  room 3"),
        (
            Hit(NORA, "word " * 30, 0, 150, 0.0, None),
            "0.000  nora  " + "word " * 19 + "word…",
        ),
    ],
)
def test_a_hit_is_one_line_with_its_text_and_source(hit, line):
    assert str(hit) == line


def test_metadata_that_is_not_of_a_turn_names_no_speaker():
    page = Record("p", "A page.", None, None, {}, {"name": "Handbook"}, WRITTEN, WRITTEN, 1, "d")
    assert str(Hit(page, page.text, 0, 7, 1.0, None)) == "1.000  p  A page."


def test_a_route_says_which_modules_and_why():
    assert str(ROUTE) == (
        "route: m1 x 0.75, m2 x 0.25\n"
        "  because the nearest facts vote for m1 and m2\n"
        "  +0.900  emil  in m1\n"
        "  +0.500  nora  in m3\n"
        "  -0.125  lost  in no module"
    )


def test_recall_and_answer_print_as_what_goes_on_to_a_model_or_a_user():
    assert str(RECALL) == "Facts:\n- Emil's extension is 4471."
    assert str(ANSWER) == "4471"


def test_an_explanation_shows_the_texts_of_facts():
    left_out = Hit(NORA, NORA.text, 0, 20, 0.25, 0.5)
    explanation = Explanation(RECALL, (left_out,), CALIBRATION)
    assert str(explanation) == (
        "query: What is Emil's extension?\n"
        "route: m1 x 0.75, m2 x 0.25\n"
        "  because the nearest facts vote for m1 and m2\n"
        "  +0.900  emil  in m1: Emil's extension is 4471 — ☎.\n"
        "  +0.500  nora  in m3: Nora sits in room 3.\n"
        "  -0.125  lost  in no module\n"
        "  evidence 1.25, threshold 0.50\n"
        "  of this memory's own questions 2.0% are refused; of general prompts 1.0% pass, of "
        "questions whose record was left out 3.0%\n"
        "asked: m1: What is Emil's extension? (97% sure)\n"
        'not asked: m3: its best fact, nora ("Nora sits in room 3."), is 0.50 behind the first\n'
        "prompt: 12 of 512 tokens of evidence\n"
        "  emil: Emil's extension is 4471 — ☎.\n"
        "  user: What is Emil's extension?\n"
        "not in the prompt, held in weights: nora: Nora sits in room 3."
    )


def test_an_explanation_takes_texts_from_its_records():
    lost = Record("lost", "Lost: a key.", None, None, {}, {}, WRITTEN, WRITTEN, 1, "ef")
    text = str(Explanation(RECALL, (), records={"lost": lost}))
    assert "  -0.125  lost  in no module: Lost: a key.\n" in text
    assert "its best fact, nora, is 0.50 behind the first" in text
