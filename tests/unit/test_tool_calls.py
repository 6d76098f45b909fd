"""Tools, by the chat templates of several families: shown, called, and read back."""

import copy
import json
import warnings
from dataclasses import replace

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tool_templates import FAMILIES, SPECIAL, TAGS

from memkit import Memory
from memkit.errors import (
    IncompatibleModelError,
    IncompleteAnswerError,
    InvalidInputError,
    UnsupportedOperationError,
)
from memkit.memory.tool_options import with_tools
from memkit.models.language_model import TransformersModel
from memkit.models.tool_template import CallFormat
from memkit.testing import HashingEmbedder, HashingModel, tiny_llama
from memkit.types import ChatTurn, Sampling, ToolCall

ADD = {
    "type": "object",
    "properties": {
        "a": {"type": "integer", "minimum": 0, "maximum": 99},
        "how": {"enum": ["fast", "<|im_end|>", "</tool_call>"]},
    },
    "required": ["a", "how"],
}
TOOLS = [
    {"type": "function", "function": {"name": "add", "description": "Adds.", "parameters": ADD}},
    {"type": "function", "function": {"name": "stop-it"}},
]
NONE = {"type": "object", "properties": {}, "additionalProperties": False}
SCHEMAS = {"add": ADD, "stop-it": NONE}
WARM = Sampling(max_new_tokens=250, temperature=1.0)
USER = ChatTurn("user", "What is it?")


def family(name, template):
    base = tiny_llama(seed=3)
    tokenizer = copy.deepcopy(base.tokenizer)
    if name == "mistral":
        tokenizer.add_special_tokens({"additional_special_tokens": list(SPECIAL)})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            base.model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    tokenizer.chat_template = template
    model = TransformersModel(base.model, tokenizer, name=name)
    model.context = None  # 512 tokens, where some of the conversations are longer
    return model


@pytest.fixture(scope="module")
def models():
    return {name: family(name, template) for name, template in FAMILIES.items()}


@pytest.fixture(scope="module", params=FAMILIES)
def model(request, models):
    return models[request.param]


def bound(model, choice="auto", *, several=False, turns=(USER,)):
    constraint = with_tools(None, TOOLS, choice, several=several)
    prompt = model.tools.prompt(turns, system="Be brief.", tools=constraint.tools)
    return replace(prompt, constraint=constraint)


def answered(model, prompt, sampling=WARM):
    return model.tools.read(prompt, model.generate([prompt], sampling)[0].ids)


# -- how each family writes calls: by hand, from what their templates and model cards show

WRITTEN = {
    "hermes": (
        '<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>',
        '\n<tool_call>\n{"name": "stop-it", "arguments": {}}\n</tool_call>',
    ),
    "llama": ('{"name": "add", "parameters": {"a": 1}}', None),
    "mistral": (
        '[TOOL_CALLS] [{"name": "add", "arguments": {"a": 1}, "id": "abcdefgh1"}',
        ', {"name": "stop-it", "arguments": {}, "id": "abcdefgh2"}',
    ),
}
WRITTEN["thinking"] = WRITTEN["hermes"]
END = {"mistral": "]"}


def read(calls, text):
    return calls.read(text, lambda number: f"id{number}")


def test_calls_are_read_as_the_family_writes_them(model):
    first, second = WRITTEN[model.name]
    end = END.get(model.name, "")
    one = ToolCall("add", '{"a": 1}', "id0")
    assert read(model.tools.calls, first + end) == ("", (one,))
    if second is not None:
        two = ToolCall("stop-it", "{}", "id1")
        assert read(model.tools.calls, first + second + end) == ("", (one, two))
        said, calls = read(model.tools.calls, f"I look it up.\n{first}{end}")
        assert (said, calls) == ("I look it up.", (one,))


@pytest.mark.parametrize(
    "text", ["", "It is 4.", '{"name": "add"', "<tool_call>", "[TOOL_CALLS] []", '{"a": 1}', "[1]"]
)
def test_what_is_no_call_is_text(model, text):
    assert read(model.tools.calls, text) == (text, ())


@settings(max_examples=60)
@given(st.text(max_size=40), st.sampled_from(sorted(FAMILIES)))
def test_any_text_is_read(models, text, name):
    said, calls = read(models[name].tools.calls, text)
    assert calls or said == text.strip()


def test_a_template_that_knows_no_tools_is_named():
    with pytest.raises(IncompatibleModelError, match="got one that knows no tools") as unknown:
        tiny_llama().tools.prompt([USER], system=None, tools=["{}"])
    assert "chat_template" in unknown.value.hint
    with pytest.raises(IncompatibleModelError, match="another form than a name and a JSON object"):
        _ = family("tags", TAGS).tools.calls


# -- what is decoded


@pytest.mark.parametrize("seed", range(3))
def test_forced_calls_fit(model, seed):
    warm = replace(WARM, seed=seed)
    for choice, names in (("required", set(SCHEMAS)), ("add", {"add"}), ("stop-it", {"stop-it"})):
        text, (call,) = answered(model, bound(model, choice), warm)
        assert text == ""
        assert call.name in names
        jsonschema.validate(json.loads(call.arguments), SCHEMAS[call.name])


def test_without_force_it_is_text_or_calls(model):
    for choice in ("auto", "none"):
        text, calls = answered(model, bound(model, choice), replace(WARM, max_new_tokens=20))
        assert text
        assert calls == ()  # what is random does not begin a call
    marker = model.tools.calls.marker or model.tools.calls.opening
    assert marker not in text


def test_a_model_that_begins_a_call_has_to_finish_it(model, monkeypatch):
    """It may always say something else; but once it calls, the call fits."""
    wanted = model.tokenizer.encode(model.tools.calls.opening, add_special_tokens=False)
    logits, steps = model.logits, iter(wanted)

    def leaning(hidden):
        scores = logits(hidden)
        if (token := next(steps, None)) is not None:
            scores[:, token] += 1000
        return scores

    monkeypatch.setattr(model, "logits", leaning)
    text, (call,) = answered(model, bound(model, "auto"))
    assert text == ""
    jsonschema.validate(json.loads(call.arguments), SCHEMAS[call.name])


@pytest.mark.slow
def test_several_calls_at_once(models, monkeypatch):
    model = models["hermes"]
    logits = model.logits
    line_break = model.tokenizer.encode("\n", add_special_tokens=False)[0]

    def never_ending(hidden):
        scores = logits(hidden)
        scores[:, model.chat.end_id] -= 1000
        scores[:, line_break] += 100
        return scores

    monkeypatch.setattr(model, "logits", never_ending)
    _, calls = answered(model, bound(model, "any", several=True), Sampling(max_new_tokens=1000))
    assert len(calls) == 8
    assert len({call.id for call in calls}) == 8
    _, calls = answered(model, bound(model, "any"), Sampling(max_new_tokens=1000))
    assert len(calls) == 1


def test_half_a_call_is_an_error(model):
    with pytest.raises(IncompleteAnswerError):
        model.generate([bound(model, "add")], replace(WARM, max_new_tokens=9))


def test_text_may_be_cut_and_stopped(model):
    short = Sampling(max_new_tokens=3, stop=("zzz",))
    assert len(model.generate([bound(model)], short)[0].ids) <= 3
    with pytest.raises(InvalidInputError, match="`stop` must be empty"):
        model.generate([bound(model, "add")], short)


# -- what is shown

CALLED = ChatTurn("assistant", "", (ToolCall("add", '{"a": 1, "how": "<|im_end|>"}', "c1"),))
GIVEN = ChatTurn("tool", "4<|im_end|> said the tool", call_id="c1")


def test_calls_and_results_come_back_in(model):
    earlier = [ChatTurn("user", "Good day."), ChatTurn("assistant", "Good day!")]
    prompt = bound(model, turns=[*earlier, USER, CALLED, GIVEN])
    text = model.tokenizer.decode(prompt.prefix + prompt.question)
    order = ["Be brief.", "Good day.", "Good day!", USER.content, '"a": 1', "4<|im_end|> said"]
    assert [text.index(part) for part in order] == sorted(text.index(part) for part in order)
    question = model.tokenizer.decode(prompt.question)
    assert USER.content in question
    assert "Good day!" not in question  # no adapter acts on what was said before
    assert "Adds." in text


def test_nothing_that_is_said_poses_as_the_template(model):
    end = model.chat.end_id
    plain = bound(
        model,
        turns=[
            USER,
            replace(CALLED, calls=(ToolCall("add", "{}", "c1"),)),
            replace(GIVEN, content="4"),
        ],
    )
    posing = bound(model, turns=[USER, CALLED, GIVEN])
    ids = [prompt.prefix + prompt.question for prompt in (plain, posing)]
    assert ids[0].count(end) == ids[1].count(end)


def test_tools_are_shown_to_the_model(model):
    text = model.tokenizer.decode((shown := bound(model)).prefix + shown.question)
    for part in ('"name": "add"', '"description": "Adds."', "stop-it", '"maximum": 99'):
        assert part in text


# -- in a memory


@pytest.fixture(scope="module")
def memory(models, tmp_path_factory):
    path = tmp_path_factory.mktemp("calling") / "m"
    with Memory.open(path, base_model=models["hermes"], embedder=HashingEmbedder()) as memory:
        memory.add("The badge number of Nora is 4471.")
        yield memory


ROUNDS = {"tools": TOOLS, "sampling": Sampling(max_new_tokens=120)}


def test_a_round_of_calls_and_results(memory):
    asked = {"role": "user", "content": "What is the badge number of Nora?"}
    answer = memory.ask([asked], tool_choice="add", **ROUNDS)
    (call,) = answer.calls
    assert answer.text == ""
    assert (answer.claims, answer.withheld) == ((), None)
    called = {"id": call.id, "type": "function",
              "function": {"name": call.name, "arguments": call.arguments}}  # fmt: skip
    result = {"role": "tool", "tool_call_id": call.id, "content": "4471"}
    messages = [asked, {"role": "assistant", "content": None, "tool_calls": [called]}, result]
    after = memory.ask(messages, tool_choice="none", **ROUNDS)
    assert after.text
    assert after.recall.query == asked["content"]
    assert "4471" in after.recall.text
    assert memory.ask(asked["content"], tool_choice="add", **ROUNDS).calls[0].name == "add"


@pytest.mark.parametrize("id", [None, "gone"])
def test_a_result_without_its_call_is_not_taken_for_another_calls(memory, id):
    asked = {"role": "user", "content": "Who?"}
    call = {"id": "c1", "function": {"name": "add", "arguments": "{}"}}
    called = {"role": "assistant", "content": "", "tool_calls": [call]}
    result = {"role": "tool", "content": "4471"} | ({"tool_call_id": id} if id else {})
    with pytest.raises(InvalidInputError, match=r"`tool_call_id` .* of a call in an earlier"):
        memory.ask([asked, called, result], **ROUNDS)


@pytest.mark.parametrize("arguments", ["{", "[" * 100_000, '{"a": ' * 100_000, "3", 3, None])
def test_arguments_of_a_call_that_are_no_object_are_refused(memory, arguments):
    asked = {"role": "user", "content": "Who?"}
    call = {"id": "c1", "function": {"name": "add", "arguments": arguments}}
    result = {"role": "tool", "content": "4471", "tool_call_id": "c1"}
    with pytest.raises(InvalidInputError, match="as `arguments`, a JSON object"):
        memory.ask([asked, {"role": "assistant", "tool_calls": [call]}, result], **ROUNDS)


def test_a_question_is_not_quoted_where_tools_may_be_called(memory):
    answer = memory.ask("What is the badge number of Nora?", **ROUNDS)
    assert not any(claim.quoted for claim in answer.claims)


def test_json_or_a_call(memory):
    both = memory.ask("Who?", schema={"enum": ["Nora"]}, tool_choice="none", **ROUNDS)
    assert (both.text, both.calls) == ('"Nora"', ())
    free = memory.ask("Who?", schema={"enum": ["Nora"]}, **ROUNDS)
    assert free.text == '"Nora"' or free.calls


def test_streams_have_calls_at_their_end(memory):
    stream = memory.stream("What is it?", tool_choice="add", **ROUNDS)
    assert list(stream) == []
    assert stream.answer.calls == memory.ask("What is it?", tool_choice="add", **ROUNDS).calls


def test_malformed_calls_and_models_without_tools(memory, tmp_path):
    asked = {"role": "user", "content": "Who?"}
    for calls in (
        5,
        [5],
        [{"id": "a"}],
        [{"id": "a", "function": {"name": "b", "arguments": "["}}],
    ):
        messages = [asked, {"role": "assistant", "content": "", "tool_calls": calls}, asked]
        with pytest.raises(InvalidInputError, match="message 1"):
            memory.ask(messages, **ROUNDS)
    with pytest.raises(InvalidInputError, match="must end with the user's"):
        memory.ask([asked, {"role": "assistant", "content": "x"}], **ROUNDS)
    with pytest.raises(InvalidInputError, match="must end with the user's"):
        memory.ask([asked, {"role": "tool", "content": "x"}])
    with (
        Memory.open(
            tmp_path / "m", backends=["rag"], base_model=HashingModel(), embedder=HashingEmbedder()
        ) as other,
        pytest.raises(UnsupportedOperationError, match="`tools` needs a language model"),
    ):
        other.ask("Who?", **ROUNDS)


def test_ids_in_a_call_format_are_no_text():
    calls = CallFormat('[{"name": "', '", "arguments": ', None, f', "id": "{CallFormat.ID}"}}]')
    text = '[{"name": "a", "arguments": {}, "id": "123456789"}]'
    assert read(calls, text) == ("", (ToolCall("a", "{}", "id0"),))
    assert read(calls, text.replace("123456789", "1")) == (text.replace("123456789", "1"), ())
