"""Tools over HTTP, called by OpenAI's own client: offered, called, answered, streamed, refused."""

import copy
import json

import jsonschema
import openai
import pytest

from memkit.models.language_model import TransformersModel
from memkit.testing import CHATML_WITH_TOOLS, tiny_llama
from memkit.types import Sampling

ADD = {
    "type": "object",
    "properties": {
        "a": {"type": "integer", "minimum": 0, "maximum": 99},
        "how": {"enum": ["fast", "slow"]},
    },
    "required": ["a", "how"],
}
TOOLS = [
    {"type": "function", "function": {"name": "add", "description": "Adds.", "parameters": ADD}},
    {"type": "function", "function": {"name": "stop-it", "strict": True}},
]
NORA = {"role": "user", "content": "What is the badge number of Nora?"}
ROOM = {"model": "memkit", "max_completion_tokens": 120}
NAMED = {"type": "function", "function": {"name": "add"}}


@pytest.fixture(scope="module")
def base():
    model = tiny_llama(seed=3)
    tokenizer = copy.deepcopy(model.tokenizer)
    tokenizer.chat_template = CHATML_WITH_TOOLS
    model = TransformersModel(model.model, tokenizer, name="calls")
    model.context = None  # 512 tokens, where a conversation with tools is longer
    return model


@pytest.fixture
def calling(tmp_path, open_memory, base):
    memory = open_memory(tmp_path / "calling.mem", base_model=base)
    memory.add("The badge number of Nora is 4471.", scope={"user": "ann"})
    return memory


@pytest.fixture
def client(calling, serve, keys):
    key = keys.tokens["ann"]
    return openai.OpenAI(
        base_url="http://testserver/v1", api_key=key, http_client=serve(calling), max_retries=0
    ).chat.completions


@pytest.mark.slow
def test_a_round_of_calls_and_results(client, calling):
    asked = {"tools": TOOLS, "sampling": Sampling(120), "scope": {"user": "ann"}}
    (expected,) = calling.ask([NORA], tool_choice="required", **asked).calls

    reply = client.create(messages=[NORA], tools=TOOLS, tool_choice="required", **ROOM)
    (choice,) = reply.choices
    (call,) = choice.message.tool_calls
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
    assert (call.function.name, call.function.arguments) == (expected.name, expected.arguments)
    schema = ADD if call.function.name == "add" else {"type": "object", "maxProperties": 0}
    jsonschema.validate(json.loads(call.function.arguments), schema)

    result = {"role": "tool", "tool_call_id": call.id, "content": "4471"}
    messages = [NORA, choice.message, result]  # as the client's own examples do
    last = client.create(messages=messages, tools=TOOLS, tool_choice="none", **ROOM)
    said = {"role": "assistant", "tool_calls": [call.model_dump()]}
    same = calling.ask([NORA, said, result], tool_choice="none", **asked)
    assert last.choices[0].message.content == same.text != ""
    assert last.choices[0].message.tool_calls is None
    turns = [(turn.role, turn.content) for turn in calling.turns(scope={"user": "ann"})]
    assert turns == [("user", NORA["content"]), ("assistant", same.text)]


@pytest.mark.parametrize("several", [None, True])
def test_a_stream_has_the_same_calls(client, several):
    more = {} if several is None else {"parallel_tool_calls": several}
    request = {"messages": [NORA], "tools": TOOLS, "store": False} | ROOM | more
    (choice,) = client.create(tool_choice=NAMED, **request).choices
    with client.stream(tool_choice=NAMED, **request) as stream:
        (streamed,) = stream.get_final_completion().choices

    def calls(of):
        return [(c.function.name, c.function.arguments) for c in of.message.tool_calls]

    assert calls(streamed) == calls(choice)
    assert {name for name, _ in calls(choice)} == {"add"}
    assert len(calls(choice)) == 1 or several
    assert streamed.finish_reason == "tool_calls"
    assert streamed.message.content is None or streamed.message.content == ""


def test_tools_may_be_left_uncalled(client, calling):
    request = {"messages": [NORA], "store": False, **ROOM}
    (choice,) = client.create(tools=TOOLS, tool_choice="none", **request).choices
    assert choice.message.tool_calls is None
    assert choice.message.content
    assert choice.finish_reason in {"stop", "length"}
    assert client.create(tools=TOOLS, **request).choices  # whatever the model takes to be best


LOST = {"role": "tool", "tool_call_id": "gone", "content": "4471"}
HALF = {"role": "assistant", "content": None, "tool_calls": [{"id": "a", "type": "function"}]}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("says", "message", "param"),
    [
        ({"messages": [NORA, LOST], "tools": TOOLS}, "of a call in an earlier message", None),
        ({"messages": [NORA, LOST]}, "`tools` has to be given", None),
        (
            {"messages": [NORA, HALF, NORA], "tools": TOOLS},
            "it is missing",
            "messages.1.tool_calls.0.function",
        ),
        ({"tools": [{"type": "function"}]}, "it is missing", "tools.0.function"),
        ({"tools": [{"type": "file_search"}]}, "expected 'function'", "tools.0.type"),
        ({"tools": [*TOOLS, TOOLS[0]]}, "different names", None),
        ({"tools": TOOLS, "tool_choice": "sometimes"}, "expected", "tool_choice"),
        ({"tool_choice": "required"}, "`tool_choice` must be", None),
        (
            {"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "x"}}},
            "`tool_choice` must be",
            None,
        ),
        (
            {"tools": TOOLS, "tool_choice": NAMED, "max_completion_tokens": 4},
            "at most 4 tokens",
            "max_completion_tokens",
        ),
    ],
)
def test_what_cannot_be_called_is_refused(client, says, message, param, stream):
    request = {"messages": [NORA], "store": False, "stream": stream} | ROOM | says
    with pytest.raises(openai.BadRequestError, match=message) as error:
        client.create(**request)
    assert error.value.param == param


@pytest.mark.slow
@pytest.mark.parametrize("stream", [False, True])
def test_a_base_model_without_tools_says_so(trained, serve, stream):
    request = {"model": "memkit", "messages": [NORA], "tools": TOOLS, "stream": stream}
    response = serve(trained).post("/v1/chat/completions", json=request)

    assert response.status_code == 400
    error = response.json()["error"]
    assert (error["param"], error["code"]) == ("tools", "unsupported")
    assert "template" in error["message"]
