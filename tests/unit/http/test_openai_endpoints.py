"""`/v1`: what OpenAI's clients send and get, in this process."""

import base64
import json

import jsonschema
import numpy as np
import pytest

from memkit.testing import HashingEmbedder
from memkit.types import Sampling

NORA = "What is the badge number of Nora?"
CHAT = "/v1/chat/completions"


def user(content):
    return {"role": "user", "content": content}


def asked(question=NORA, **more):
    return {"model": "memkit", "messages": [user(question)], **more}


def events(response):
    lines = [line for line in response.text.split("\n\n") if line]
    assert all(line.startswith("data: ") for line in lines)
    assert lines[-1] == "data: [DONE]"
    return [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]


def error_of(response):
    assert set(response.json()) == {"error"}
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


@pytest.mark.slow
def test_a_question_is_answered_by_its_module(trained, serve):
    reply = serve(trained).post(CHAT, json=asked(max_tokens=8)).json()

    (choice,) = reply["choices"]
    assert choice["message"] == {"role": "assistant", "content": "4471", "refusal": None}
    assert (choice["index"], choice["finish_reason"]) == (0, "stop")
    assert reply["object"] == "chat.completion"
    assert reply["model"] == trained.model_name
    assert reply["memkit"]["citations"] == ["Nora"]
    assert reply["memkit"]["modules"] == {"m0001": 1.0}
    spent = reply["usage"]
    assert spent["total_tokens"] == spent["prompt_tokens"] + spent["completion_tokens"]


def test_what_the_base_model_words_is_what_ask_says(trained, serve):
    request = asked("Sing to me.", max_completion_tokens=6, temperature=0.7, top_p=0.9, seed=5)
    expected = trained.ask(
        [user("Sing to me.")], sampling=Sampling(6, 0.7, 0.9, (), 5), scope={"user": "ann"}
    )

    client = serve(trained)
    reply = client.post(CHAT, json={**request, "store": False}).json()
    streamed = events(client.post(CHAT, json={**request, "store": False, "stream": True}))

    said = reply["choices"][0]["message"]["content"]
    assert said == expected.text
    assert reply["usage"]["prompt_tokens"] == expected.prompt_tokens
    assert reply["usage"]["completion_tokens"] == expected.completion_tokens
    deltas = [event["choices"][0]["delta"] for event in streamed]
    assert deltas[0] == {"role": "assistant", "content": ""}
    assert "".join(delta.get("content", "") for delta in deltas).strip() == said
    assert streamed[-1]["choices"][0]["finish_reason"] in {"stop", "length"}
    assert len({event["id"] for event in streamed}) == 1


def test_a_stream_tells_its_usage_if_asked(trained, serve):
    request = asked(max_tokens=8, stream=True, stream_options={"include_usage": True})

    *chunks, last = events(serve(trained).post(CHAT, json=request))

    assert all(chunk["usage"] is None for chunk in chunks)
    assert chunks[-1]["memkit"]["citations"] == ["Nora"]
    assert last["choices"] == []
    spent = last["usage"]
    assert spent["total_tokens"] == spent["prompt_tokens"] + spent["completion_tokens"] > 0


def test_conversation_and_instructions_reach_the_model(trained, serve):
    messages = [
        {"role": "developer", "content": "Be brief."},
        user("Good day."),
        {"role": "assistant", "content": [{"type": "text", "text": "Good day!"}]},
        user("Sing to me."),
    ]
    expected = trained.ask(
        [{**message, "content": text} for message, text in
         zip(messages, ["Be brief.", "Good day.", "Good day!", "Sing to me."], strict=True)],
        scope={"user": "ann"}, sampling=Sampling(6),
    )  # fmt: skip

    request = {"model": "memkit", "messages": messages, "max_tokens": 6}
    reply = serve(trained).post(CHAT, json=request).json()

    assert reply["choices"][0]["message"]["content"] == expected.text
    assert reply["usage"]["prompt_tokens"] == expected.prompt_tokens


def test_only_the_last_exchange_is_remembered(trained, serve):
    client = serve(trained)
    first = [user("My boat is called Selkie.")]
    reply = client.post(CHAT, json={"model": "memkit", "messages": first, "max_tokens": 4}).json()
    assert reply["memkit"]["remembered"]
    said = reply["choices"][0]["message"]
    client.post(CHAT, json={"model": "memkit", "messages": [*first, said, user(NORA)]})

    turns = trained.turns(scope={"user": "ann"})
    assert [(turn.role, turn.content) for turn in turns] == [
        ("user", "My boat is called Selkie."),
        ("assistant", said["content"]),
        ("user", NORA),
        ("assistant", "4471"),
    ]
    records = trained.records(scope={"user": "ann"}).records
    assert [record.text for record in records] == ["My boat is called Selkie."]


def test_a_stream_is_remembered_as_well(trained, serve):
    events(serve(trained).post(CHAT, json=asked(stream=True, max_tokens=8)))

    turns = trained.turns(scope={"user": "ann"})
    assert [turn.content for turn in turns] == [NORA, "4471"]


@pytest.mark.parametrize(
    "who_says",
    [
        ("ann", {}, {"store": False}),
        ("ann", {"remember": False}, {}),
        ("ann", {"remember": False}, {"store": True}),
        ("eye", {}, {"store": True}),
    ],
    ids=["request", "server", "server, first", "key"],
)
@pytest.mark.parametrize("stream", [False, True])
def test_nothing_is_remembered_where_somebody_says_so(trained, serve, who_says, stream):
    name, server, request_says = who_says
    before = trained.stats()
    client = serve(trained, name, **server)
    response = client.post(CHAT, json=asked(max_tokens=4, stream=stream, **request_says))

    assert response.status_code == 200
    after = trained.stats()
    assert (after.turns, after.records) == (before.turns, before.records)
    whole = events(response)[-1] if stream else response.json()
    assert whole["memkit"]["remembered"] is False


@pytest.mark.parametrize("stream", [False, True])
def test_what_nothing_supports_is_refused_if_strict(trained, serve, stream):
    request = asked(
        "Sing to me.", max_tokens=4, stream=stream, store=False, memkit={"strict": True}
    )
    response = serve(trained).post(CHAT, json=request)

    if stream:
        deltas = [event["choices"][0]["delta"] for event in events(response)]
        assert {"refusal": "no record and no turn that was found says so"} in deltas
        assert "".join(delta.get("content", "") for delta in deltas) == ""
    else:
        (choice,) = response.json()["choices"]
        assert choice["message"]["content"] is None
        assert "no record" in choice["message"]["refusal"]
        assert choice["finish_reason"] == "stop"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("limits", "ends"),
    [
        ({"max_tokens": 3}, (None, "length")),
        ({"stop": " second"}, ("The archive is on the", "stop")),
        ({"stop": ["zebra", "archive"]}, ("The", "stop")),
        ({}, ("The archive is on the second floor.", "stop")),
    ],
)
def test_quotations_end_where_the_client_says(memory, serve, stream, limits, ends):
    text, reason = ends
    memory.add("The archive is on the second floor.")
    request = asked("Where is the archive?", stream=stream, memkit={"min_score": 0, "quote": True})
    response = serve(memory).post(CHAT, json=request | limits)

    if stream:
        chunks = [event["choices"][0] for event in events(response)]
        said = "".join(chunk["delta"].get("content", "") for chunk in chunks)
        ended = chunks[-1]["finish_reason"]
    else:
        (choice,) = response.json()["choices"]
        said, ended = choice["message"]["content"], choice["finish_reason"]
    assert ended == reason
    if text is None:
        assert "The archive is on the second floor.".startswith(said)
        assert memory.count_tokens(said) <= 3 < memory.count_tokens(said + " is on")
    else:
        assert said.rstrip() == text


def in_json(schema, **more):
    form = {"type": "json_schema", "json_schema": {"name": "badge", "schema": schema}}
    return asked(store=False, response_format=form, **more)


BADGE = {
    "type": "object",
    "properties": {"badge": {"type": "string", "pattern": "^[0-9]{4}$"}},
    "required": ["badge"],
}


@pytest.mark.parametrize("strict", [None, True])
def test_answers_fit_the_schema_of_a_response_format(trained, serve, strict):
    client, request = serve(trained), in_json(BADGE, max_tokens=40)
    if strict is not None:
        request["response_format"]["json_schema"]["strict"] = strict
    (choice,) = client.post(CHAT, json=request).json()["choices"]
    jsonschema.validate(json.loads(choice["message"]["content"]), BADGE)
    assert choice["finish_reason"] == "stop"
    streamed = events(client.post(CHAT, json={**request, "stream": True}))
    pieces = [event["choices"][0]["delta"].get("content") or "" for event in streamed]
    assert "".join(pieces) == choice["message"]["content"]


def test_a_schema_that_cannot_be_kept_to_is_refused(trained, serve):
    client = serve(trained)
    for request, message, code in (
        (in_json({"type": "objekt"}), "objekt", None),
        (in_json(BADGE, max_tokens=4), "at most 4 tokens", "length_limit"),
        (in_json(BADGE, stop="}"), "`stop` must be empty", None),
        (in_json([]), "response_format", None),
    ):
        response = client.post(CHAT, json=request)
        assert response.status_code == 400
        assert message in error_of(response)["message"]
        assert error_of(response)["code"] == code


UNSUPPORTED = {
    "n": 2,
    "frequency_penalty": 0.5,
    "presence_penalty": -1,
    "logprobs": True,
    "top_logprobs": 3,
    "logit_bias": {"50256": -100},
    "response_format": {"type": "json_object"},
    "modalities": ["text", "audio"],
    "service_tier": "flex",
    "functions": [{"name": "f"}],
    "reasoning_effort": "low",
    "metadata": {"a": "b"},
    "audio": {"voice": "alloy"},
    "temperature": 3,
    "top_p": 0,
    "max_tokens": 0,
    "seed": -1,
    "stop": "",
    "memkit": {"modules": ["m0001"]},
    "scope": {"user": "ben"},
}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_what_cannot_be_followed_is_refused(trained, serve, name):
    before = trained.stats()
    response = serve(trained).post(CHAT, json=asked(**{name: UNSUPPORTED[name]}))

    assert response.status_code == 400
    error = error_of(response)
    assert error["param"].split(".")[0] == name
    assert error["type"] == "invalid_request_error"
    assert name in error["message"]
    assert trained.stats() == before


def test_values_that_change_nothing_are_taken(trained, serve):
    nothing = {
        "n": 1,
        "frequency_penalty": 0,
        "presence_penalty": 0.0,
        "logprobs": False,
        "logit_bias": {},
        "response_format": {"type": "text"},
        "modalities": ["text"],
        "tools": [],
        "tool_choice": "none",
        "parallel_tool_calls": False,
        "service_tier": "auto",
        "user": "ben",
        "safety_identifier": "x",
        "prompt_cache_key": "x",
        "stop": None,
        "seed": None,
    }
    client = serve(trained)
    plain = client.post(CHAT, json=asked(store=False, max_tokens=8)).json()
    reply = client.post(CHAT, json=asked(store=False, max_tokens=8, **nothing)).json()

    assert reply["choices"] == plain["choices"]
    assert reply["memkit"] == plain["memkit"]


@pytest.mark.parametrize(
    ("request_says", "message"),
    [
        ({"messages": []}, "messages: expected at least one item"),
        ({"messages": "x"}, "messages: expected a list"),
        ({"messages": [user(None)]}, "messages.0.content: expected a text or a list"),
        ({"tools": [{"type": "function"}]}, "tools.0.function: it is missing"),
        ({"temperature": 3}, "temperature: expected 2 or less"),
        ({"stop": ["x"] * 5}, "stop: expected at most 4 items"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, "the last message"),
        ({"messages": [user(" ")]}, "the last message"),
        (
            {"messages": [{"role": "tool", "content": "x", "tool_call_id": "1"}]},
            "`tools` has to be given",
        ),
        (
            {"messages": [user([{"type": "image_url", "image_url": {"url": "x"}}])]},
            "messages.0.content.0.type: expected 'text'",
        ),
        ({"messages": [user("a\0b")]}, "NUL"),
        ({"max_tokens": 3, "max_completion_tokens": 4}, "differ"),
        ({"max_tokens": 1025}, "at most 1024"),
        ({"max_tokens": 600}, "expected at most 512 tokens"),
        ({"memkit": {"quote": True, "min_score": None}}, "`quote` needs passages"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_is_malformed_is_refused(trained, serve, request_says, message, stream):
    request = asked("Sing to me.", stream=stream)
    response = serve(trained).post(CHAT, json=request | request_says)

    assert response.status_code == 400
    assert message in error_of(response)["message"]
    assert response.headers["content-type"] == "application/json"


def test_options_of_streams_are_for_streams(trained, serve):
    response = serve(trained).post(CHAT, json=asked(stream_options={"include_usage": True}))

    assert response.status_code == 400
    assert "for streams alone" in error_of(response)["message"]


@pytest.mark.parametrize("body", ["", "{", "[]", '"x"', "null", '{"messages": 5}', "\xff"])
def test_what_is_no_request_is_refused(trained, serve, body):
    response = serve(trained).post(
        CHAT, content=body.encode("latin-1"), headers={"content-type": "application/json"}
    )

    assert response.status_code == 400
    assert error_of(response)["type"] == "invalid_request_error"


def test_another_model_is_not_found(trained, serve):
    response = serve(trained).post(CHAT, json=asked() | {"model": "gpt-4o"})

    assert response.status_code == 404
    assert error_of(response)["code"] == "model_not_found"
    assert trained.model_name in error_of(response)["message"]


def test_models_are_listed_and_found(trained, serve):
    client = serve(trained)
    listed = client.get("/v1/models").json()

    names = [model["id"] for model in listed["data"]]
    assert names == ["memkit", trained.model_name, "hashing-64"]
    for model in listed["data"]:
        assert client.get(f"/v1/models/{model['id']}").json() == model
    assert client.get("/v1/models/a/b").status_code == 404


TEXTS = ["the archive", "a zebra in the snow"]


@pytest.mark.parametrize("encoding", [None, "float", "base64"])
@pytest.mark.parametrize("kind", [None, "query", "document"])
def test_texts_are_embedded_as_the_memory_does(trained, serve, encoding, kind):
    request = {"model": "memkit", "input": TEXTS, "dimensions": 64}
    given = {"encoding_format": encoding, "input_type": kind}
    given = {name: value for name, value in given.items() if value is not None}
    reply = serve(trained).post("/v1/embeddings", json=request | given).json()

    rows = [row["embedding"] for row in reply["data"]]
    if encoding == "base64":
        rows = [np.frombuffer(base64.b64decode(row), dtype="<f4") for row in rows]
    np.testing.assert_array_equal(
        np.asarray(rows, dtype=np.float32), HashingEmbedder().encode_document(TEXTS)
    )
    assert [row["index"] for row in reply["data"]] == [0, 1]
    assert reply["usage"]["prompt_tokens"] == sum(map(trained.count_tokens, TEXTS))
    assert reply["model"] == "hashing-64"


@pytest.mark.parametrize(
    ("request_says", "param"),
    [
        ({"input": []}, "input"),
        ({"input": ""}, "input"),
        ({"input": ["x", " "]}, "input"),
        ({"input": [1, 2, 3]}, "input"),
        ({"input": "x", "dimensions": 32}, "dimensions"),
        ({"input": "x", "encoding_format": "int8"}, "encoding_format"),
        ({"input": ["x"] * 257}, "input"),
        ({"input": "x", "model": "text-embedding-3-small"}, "model"),
    ],
)
def test_what_cannot_be_embedded_is_refused(trained, serve, request_says, param):
    response = serve(trained).post("/v1/embeddings", json={"model": "memkit"} | request_says)

    assert response.status_code in {400, 404}
    assert error_of(response)["param"] == param


def test_a_text_that_the_embedder_would_cut_is_refused(trained, serve, monkeypatch):
    monkeypatch.setattr(type(trained.vectors.embedder), "longest", 2, raising=False)
    response = serve(trained).post("/v1/embeddings", json={"model": "memkit", "input": TEXTS})

    assert response.status_code == 400
    assert error_of(response)["code"] == "context_length_exceeded"
    assert "text 1 has" in error_of(response)["message"]
