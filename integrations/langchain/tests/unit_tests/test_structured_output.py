"""`ChatMemkit.with_structured_output`: objects and dicts, and what is no answer."""

from typing import Annotated, TypedDict

import pytest
from langchain.agents import create_agent
from langchain.agents.structured_output import ProviderStrategy
from langchain_core.messages import AIMessage
from langchain_core.prompts import ChatPromptTemplate
from pydantic import BaseModel, Field

from langchain_memkit import ChatMemkit
from memkit.errors import IncompleteAnswerError, InvalidInputError


@pytest.fixture
def model(terse):
    return ChatMemkit(memory=terse, max_tokens=120)


class Badge(BaseModel):
    """Whose badge it is."""

    number: int = Field(ge=1000, le=9999)
    holder: str = Field(max_length=8)


class Gate(TypedDict):
    """Where to go."""

    gate: Annotated[int, ..., "number of the gate"]


DICT = {"type": "object", "properties": {"open": {"type": "boolean"}}, "required": ["open"]}


def test_a_class_gives_its_objects(model):
    badge = model.with_structured_output(Badge).invoke("Whose badge is it?")
    assert isinstance(badge, Badge)
    assert 1000 <= badge.number <= 9999


@pytest.mark.parametrize("method", ["json_schema", "json_mode", "function_calling"])
def test_a_schema_gives_dicts(model, method):
    titled = {**DICT, "title": "Office", "description": "An office."}
    answer = model.with_structured_output(titled, method=method).invoke("Is it open?")
    assert answer in ({"open": True}, {"open": False})
    if method == "function_calling":  # a function has a name
        with pytest.raises(InvalidInputError, match="`tools` must be tools"):
            model.with_structured_output(DICT, method=method)
    else:
        assert model.with_structured_output(DICT, method=method).invoke("Is it open?") in (
            {"open": True},
            {"open": False},
        )


@pytest.mark.parametrize("include_raw", [True, False])
def test_a_call_gives_objects(model, include_raw):
    chain = model.with_structured_output(Badge, method="function_calling", include_raw=include_raw)
    answer = chain.invoke("Whose badge is it?")
    badge = answer["parsed"] if include_raw else answer
    assert 1000 <= badge.number <= 9999
    if include_raw:
        assert answer["raw"].tool_calls[0]["args"] == badge.model_dump()


def test_the_raw_message_comes_along(model):
    chain = model.with_structured_output(Badge, include_raw=True)
    answer = chain.invoke("Whose badge is it?")
    assert isinstance(answer["raw"], AIMessage)
    assert Badge.model_validate_json(answer["raw"].content) == answer["parsed"]
    assert answer["parsing_error"] is None


async def test_batches_streams_and_chains(model):
    prompt = ChatPromptTemplate.from_template("Whose is badge {number}?")
    chain = prompt | model.with_structured_output(Badge)
    some = [{"number": 1}, {"number": 2}]
    badges = chain.batch(some)
    assert [type(badge) for badge in badges] == [Badge, Badge]
    assert await chain.abatch(some) == badges
    assert [badge async for badge in chain.astream(some[0])][-1] == badges[0]


def test_half_an_answer_is_no_object(model):
    for chain in (
        model.with_structured_output(Badge, max_tokens=5),
        model.with_structured_output(Badge, include_raw=True, max_tokens=5),
    ):
        with pytest.raises(IncompleteAnswerError, match="at most 5 tokens"):
            chain.invoke("Whose badge is it?")
        with pytest.raises(IncompleteAnswerError):
            list(chain.stream("Whose badge is it?"))


def test_a_model_with_a_stop_text_says_why_not(model):
    stopping = model.model_copy(update={"stop": ["}"]})
    with pytest.raises(InvalidInputError, match="`stop` must be empty"):
        stopping.with_structured_output(Badge).invoke("Whose badge is it?")


def test_a_withheld_answer_is_no_object(model):
    strict = model.model_copy(update={"strict": True})
    answer = strict.with_structured_output(Badge, include_raw=True).invoke("Whose badge is it?")
    assert answer["parsed"] is None
    assert answer["parsing_error"] is not None
    assert answer["raw"].response_metadata["withheld"]


@pytest.mark.parametrize("wrong", [3, "text", ["a"]])
def test_no_schema_is_refused(model, wrong):
    with pytest.raises(InvalidInputError, match="`schema` must be a Pydantic class"):
        model.with_structured_output(wrong)
    with pytest.raises(InvalidInputError, match="`method` must be one of"):
        model.with_structured_output(Badge, method="by_heart")


def test_agents_hand_on_a_response_format(model):
    agent = create_agent(model, response_format=ProviderStrategy(Badge))
    messages = {"messages": [("user", "Whose badge is it?")]}
    assert isinstance(agent.invoke(messages)["structured_response"], Badge)
    assert isinstance(model, ChatMemkit)
    open_ended = {"type": "json_object"}
    assert model.invoke("Which?", response_format={"type": "text"}, max_tokens=5).content
    assert model.invoke("Which?", response_format=open_ended).content.startswith("{")
    with pytest.raises(InvalidInputError, match="`response_format` must be like"):
        model.invoke("Which?", response_format={"type": "xml"})
