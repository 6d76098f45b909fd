"""The chat model that stands for a hosted one."""

import json

import pytest

from memkit import InvalidInputError
from memkit.testing import ScriptedChat

ASKED = [{"role": "user", "content": "What is our SLA?"}]


def test_texts_tools_and_functions_take_their_turn():
    chat = ScriptedChat([{"look_up": {"word": "SLA"}}, lambda m: m[-1]["content"].upper(), "Bye."])

    called, shouted, said = chat(ASKED), chat(ASKED), chat([])

    (call,) = called["tool_calls"]
    assert called["content"] is None
    assert call["type"] == "function"
    assert call["function"]["name"] == "look_up"
    assert json.loads(call["function"]["arguments"]) == {"word": "SLA"}
    assert shouted == {"role": "assistant", "content": "WHAT IS OUR SLA?"}
    assert said == {"role": "assistant", "content": "Bye."}
    assert chat.calls == [ASKED, ASKED, []]


def test_several_calls_of_tools_have_ids_of_their_own():
    chat = ScriptedChat([{"a": {}, "b": {}}, {"a": {}}])

    ids = [call["id"] for _ in range(2) for call in chat(ASKED)["tool_calls"]]

    assert len(set(ids)) == 3


def test_what_it_was_given_stays_as_it_was():
    chat, messages = ScriptedChat(["Yes."]), list(ASKED)
    messages.append(chat(messages))

    assert chat.calls == [ASKED]


def test_a_script_ends():
    chat = ScriptedChat(["Yes."])
    chat(ASKED)

    with pytest.raises(InvalidInputError, match="the script has 1 replies"):
        chat(ASKED)
