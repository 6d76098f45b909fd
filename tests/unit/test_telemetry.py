"""What can be observed of a memory: OpenTelemetry spans and log lines, without its content."""

import json
import logging
import subprocess
import sys

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from memkit import AsyncMemory, Memory
from memkit.errors import RecordNotFoundError
from memkit.memory import telemetry
from memkit.testing import HashingEmbedder
from memkit.types import TurnDraft

OPERATION, VERB = "gen_ai.operation.name", "memkit.verb"
STORE, RECORD = "gen_ai.memory.store.id", "gen_ai.memory.record.id"
COUNT = "gen_ai.memory.record.count"
QUERY, RECORDS = "gen_ai.memory.query.text", "gen_ai.memory.records"

SECRET = "omelette"
TEXT = f"Ann likes a mushroom {SECRET}."


@pytest.fixture
def spans(monkeypatch):
    """What was exported since it was last asked."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
    monkeypatch.delenv(telemetry.CAPTURE, raising=False)

    def exported():
        finished = exporter.get_finished_spans()
        exporter.clear()
        return finished

    return exported


@pytest.fixture
def light(open_memory, tmp_path):
    return open_memory(tmp_path / "m", backends=["buffer", "rag"], count_tokens=len)


def only(spans):
    (span,) = spans()
    return span


# -- one span for each verb


def test_a_memory_that_is_made_is_told_and_one_that_is_opened_is_not(spans, tmp_path):
    for _ in range(2):
        Memory.open(tmp_path / "m", backends=["buffer"]).close()

    span = only(spans)
    assert span.name == span.attributes[OPERATION] == "create_memory_store"
    assert span.attributes[STORE] == str(tmp_path / "m")
    assert (span.kind, span.status.status_code) == (SpanKind.INTERNAL, StatusCode.UNSET)


def test_a_memory_that_is_missing_is_no_store_that_could_not_be_made(spans, tmp_path):
    with pytest.raises(OSError, match="there is no memory"):
        Memory.open(tmp_path / "m", create=False)

    assert spans() == ()


VERBS = [
    ("add", "upsert_memory", 1, lambda m, i: m.add("The gate opens at six.")),
    ("add", "upsert_memory", 2, lambda m, i: m.add(["One gate.", "Two gates."])),
    ("add_turn", "create_memory", 1, lambda m, i: m.add_turn("user", "I am here.")),
    ("add_turns", "create_memory", 1, lambda m, i: m.add_turns([TurnDraft("user", "Here.")])),
    (
        "add_messages",
        "create_memory",
        1,
        lambda m, i: m.add_messages([{"role": "user", "content": "I am here."}]),
    ),
    ("update", "update_memory", 1, lambda m, i: m.update(i, "Ann likes pancakes.")),
    ("search", "search_memory", 1, lambda m, i: m.search("mushroom")),
    ("search", "search_memory", 0, lambda m, i: m.search("mushroom", where={"no": 1})),
    ("recall", "search_memory", 1, lambda m, i: m.recall("mushroom?")),
    ("recall", "search_memory", 1, lambda m, i: m.explain("mushroom?", min_score=None)),
    ("vectors.search", "search_memory", 1, lambda m, i: m.vectors.search([1.0] + 63 * [0.0])),
    ("forget", "delete_memory", 1, lambda m, i: m.forget(i)),
    ("forget", "delete_memory", 1, lambda m, i: m.forget(where={"by": "hr"})),
    ("forget_all", "delete_memory", 1, lambda m, i: m.forget_all()),
    ("sweep", "delete_memory", 0, lambda m, i: m.retention.sweep()),
]


@pytest.mark.parametrize("case", VERBS, ids=lambda case: case[0])
def test_each_verb_is_one_operation(light, spans, tmp_path, case):
    verb, operation, count, call = case
    id = light.add(TEXT, metadata={"by": "hr"}).id
    spans()
    call(light, id)

    span = only(spans)
    assert span.name == span.attributes[OPERATION] == operation
    assert span.attributes[VERB] == verb
    assert span.attributes[STORE] == str(tmp_path / "m")
    assert span.attributes[COUNT] == count
    assert SECRET not in str(span.to_json())


def test_the_record_is_named_where_there_is_one(light, spans):
    id = light.add(TEXT).id
    assert only(spans).attributes[RECORD] == id
    light.update(id, "Ann likes pancakes.")
    assert only(spans).attributes[RECORD] == id
    light.forget([id])
    assert only(spans).attributes[RECORD] == id
    light.add(["One gate.", "Two gates."])
    assert RECORD not in only(spans).attributes
    light.search("gate", 1)
    assert RECORD not in only(spans).attributes


def test_turns_that_are_cleared_are_counted(light, spans):
    light.add_turn("user", "I am here.")
    spans()
    light.clear()

    assert only(spans).attributes[COUNT] == 1


def test_merging_and_moving_are_told(light, spans, tmp_path, open_memory):
    ids = [record.id for record in light.add(["One gate.", "Two gates."])]
    light.export(tmp_path / "x")
    spans()
    light.merge(ids)
    assert only(spans).attributes[VERB] == "merge"
    other = open_memory(tmp_path / "n", backends=["buffer", "rag"], count_tokens=len)
    spans()
    other.import_(tmp_path / "x")

    span = only(spans)
    assert (span.attributes[OPERATION], span.attributes[COUNT]) == ("upsert_memory", 2)


@pytest.mark.slow
def test_asking_searches_and_learning_upserts(spans, memory, badges):
    memory.add(badges[:2])
    spans()
    memory.consolidate()
    swept, learned = spans()
    assert (learned.name, learned.attributes[VERB]) == ("upsert_memory", "consolidate")
    assert learned.attributes[COUNT] == 2
    assert swept.parent.span_id == learned.context.span_id

    memory.ask_batch([badge.question for badge in badges[:2]])
    assert [span.name for span in spans()] == ["search_memory", "search_memory"]
    list(memory.stream(badges[0].question))
    assert [span.name for span in spans()] == ["search_memory"]


async def test_spans_have_the_parent_of_the_task_that_awaits_them(light, spans):
    with trace.get_tracer("test").start_as_current_span("agent") as agent:
        await AsyncMemory(light).add(TEXT)

    inner, _ = spans()
    assert inner.parent.span_id == agent.get_span_context().span_id


# -- errors


def test_an_error_is_recorded_without_its_message(light, spans):
    with pytest.raises(RecordNotFoundError):
        light.update(SECRET, "x")
    with pytest.raises(ValueError, match=SECRET):
        light.add(TEXT, metadata={SECRET: object()})

    one, other = spans()
    assert one.attributes["error.type"] == "RecordNotFoundError"
    assert other.attributes["error.type"] == "InvalidInputError"
    for span in (one, other):
        assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, None)
        assert span.events == ()
    assert SECRET not in other.to_json()


def test_a_failure_inside_is_one_of_the_operation(spans, tmp_path, open_memory):
    class Broken(HashingEmbedder):
        def encode_document(self, texts, /):
            raise RuntimeError("no")

    memory = open_memory(tmp_path / "m", embedder=Broken(), backends=["rag"])
    spans()
    with pytest.raises(RuntimeError):
        memory.add(TEXT)

    assert only(spans).attributes["error.type"] == "RuntimeError"


# -- content, on demand


@pytest.mark.parametrize("value", ["true", "TRUE", "span_only", "SPAN_AND_EVENT"])
def test_content_is_recorded_on_demand(light, spans, monkeypatch, value):
    monkeypatch.setenv(telemetry.CAPTURE, value)
    id = light.add(TEXT, metadata={"by": "hr"}).id
    written = json.loads(only(spans).attributes[RECORDS])
    assert written == [{"id": id, "content": TEXT, "metadata": {"by": "hr"}}]

    (hit,) = light.search("mushroom")
    span = only(spans)
    assert span.attributes[QUERY] == "mushroom"
    (found,) = json.loads(span.attributes[RECORDS])
    assert found == {"id": id, "content": TEXT, "score": hit.score, "metadata": {"by": "hr"}}

    turn = light.add_turn("user", "I am here.")
    (said,) = json.loads(only(spans).attributes[RECORDS])
    assert said == {"id": turn.record_id, "content": "I am here."}

    with pytest.raises(RecordNotFoundError):
        light.update("nobody", "x")
    (event,) = only(spans).events
    assert "no record has the id 'nobody'" in event.attributes["exception.message"]


@pytest.mark.parametrize("value", ["", "false", "no_content", "event_only", "1"])
def test_any_other_word_asks_for_none(light, spans, monkeypatch, value):
    monkeypatch.setenv(telemetry.CAPTURE, value)
    light.add(TEXT)
    light.search(SECRET)

    for span in spans():
        assert SECRET not in span.to_json()
        assert not {QUERY, RECORDS} & set(span.attributes)


# -- nobody listens


def test_a_span_that_is_not_recorded_is_not_filled(light, monkeypatch):
    monkeypatch.setattr(trace, "get_tracer", trace.NoOpTracerProvider().get_tracer)
    monkeypatch.setenv(telemetry.CAPTURE, "true")
    monkeypatch.setattr(telemetry, "_shown", None)  # would fail

    assert light.search("x") == []
    light.add(TEXT)


def test_memkit_does_not_import_opentelemetry_itself(tmp_path):
    script = f"""
import sys
from memkit import Memory
with Memory.open({str(tmp_path / "m")!r}, backends=["buffer"], count_tokens=len) as memory:
    memory.add("The gate opens at six.")
    memory.recall("When?")
print(any(name.startswith("opentelemetry") for name in sys.modules))
"""
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert result.stdout == "False\n"


# -- the log


def test_the_log_tells_what_was_done_and_no_content(light, caplog):
    with caplog.at_level(logging.DEBUG, "memkit"):
        id = light.add(TEXT, question=f"What {SECRET}?", answer="no such thing").id
        light.search(SECRET)
        light.recall(f"{SECRET}?")
        light.add_turn("user", f"I had an {SECRET}.")
        with pytest.raises(RecordNotFoundError):
            light.update(SECRET, SECRET)
        light.forget(id)

    told = [
        (record.levelname, record.getMessage().rpartition(",")[0] or record.getMessage())
        for record in caplog.records
        if record.name == "memkit.memory.telemetry"
    ]
    assert told == [
        ("INFO", "add: 1 record"),
        ("DEBUG", "search: 1 record"),
        ("DEBUG", "recall: 1 record"),
        ("INFO", "add_turn: 1 record"),
        ("INFO", "update failed: RecordNotFoundError"),
        ("INFO", "forget: 1 record"),
    ]
    assert SECRET not in caplog.text
    assert {record.name.partition(".")[0] for record in caplog.records} == {"memkit"}
