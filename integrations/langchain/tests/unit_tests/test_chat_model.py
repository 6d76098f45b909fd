"""`ChatMemkit`: what the standard suites do not look at."""

from datetime import UTC, datetime

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.globals import set_llm_cache
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda, RunnablePassthrough

from langchain_memkit import ChatMemkit
from memkit import InvalidInputError, Memory
from memkit.testing import HashingEmbedder
from memkit.types import Sampling

NORA, TARA = (f"What is the badge number of {name}?" for name in ("Nora", "Tara"))


def test_an_answer_says_where_it_comes_from(model, trained):
    message = model.invoke(NORA)
    asked = trained.ask(NORA, budget=0, sampling=Sampling(max_new_tokens=12))
    assert message.content == asked.text == "4471"
    (module,) = asked.route.modules
    assert message.response_metadata["model_name"] == "tiny-llama-0"
    assert message.response_metadata["route"]["weights"] == {module: 1.0}
    assert message.response_metadata["citations"] == ["Nora"]
    assert message.usage_metadata == {
        "input_tokens": asked.prompt_tokens,
        "output_tokens": asked.completion_tokens,
        "total_tokens": asked.prompt_tokens + asked.completion_tokens,
    }


def test_options_of_a_call_take_the_place_of_the_models(model):
    message = model.invoke(NORA, modules=[])
    assert message.response_metadata["route"]["weights"] == {}
    assert model.bind(max_tokens=1).invoke(NORA).usage_metadata["output_tokens"] == 1
    assert model.invoke(NORA, stop=["7"]).content == "44"
    assert model.model_copy(update={"stop": ["71"]}).invoke(NORA).content == "44"
    quoted = model.invoke(NORA, budget=64, modules=[])
    assert (quoted.content, quoted.usage_metadata["output_tokens"]) == ("4471", 0)
    told = model.invoke(NORA, budget=64, modules=[], quote=False)
    assert told.usage_metadata["input_tokens"] > message.usage_metadata["input_tokens"]
    where = model.invoke(NORA, budget=64, modules=[], where={"source": "nowhere"})
    assert where.response_metadata["citations"] == []


def test_scopes_hold(tmp_path, tiny):
    with Memory.open(tmp_path / "m", base_model=tiny, embedder=HashingEmbedder()) as memory:
        record = memory.add("Ann's locker has the code 8812.", scope={"user": "ann"})
        model = ChatMemkit(memory=memory, max_tokens=2)
        ann = ChatMemkit(memory=memory, max_tokens=2, scope={"user": "ann"})
        question = "Which code has Ann's locker?"
        cited = [
            asked.response_metadata["citations"]
            for asked in (
                ann.invoke(question),
                model.invoke(question, scope={"user": "ann"}),
                model.invoke(question),
                model.invoke(question, scope={"user": "bob"}),
                ann.invoke(question, scope={"user": "bob"}),
            )
        ]
        assert cited == [[record.id], [record.id], [], [], []]


def test_what_speaks_against_an_answer_is_told(model):
    corrected = [
        HumanMessage("The badge number of Nora is 8080."),
        AIMessage("Noted."),
        HumanMessage(NORA),
    ]
    message = model.invoke(corrected)
    assert message.content == "4471"
    assert message.response_metadata["conflict"] == {
        "answered": "4471",
        "recorded": "The badge number of Nora is 8080.",
        "source": "buffer",
        "record_id": None,
        "version": None,
    }
    assert message.response_metadata["withheld"] is None
    agreed = model.invoke(NORA).response_metadata
    assert (agreed["conflict"], agreed["withheld"]) == (None, None)


def test_strict_answers_are_withheld_unless_something_says_so(model):
    strict = model.model_copy(update={"strict": True})
    unknown = strict.invoke(NORA, modules=[])
    assert unknown.content == ""
    assert "says" in unknown.response_metadata["withheld"]
    assert model.invoke(NORA, modules=[]).content
    assert strict.invoke(NORA).content == "4471"
    pieces = list(strict.stream(NORA, modules=[]))
    whole = sum(pieces[1:], pieces[0])
    assert whole.response_metadata == unknown.response_metadata
    assert whole.content == ""
    rows = strict.batch([NORA, "Who keeps the keys of the mill?"])
    assert [bool(row.response_metadata["withheld"]) for row in rows] == [False, True]


def test_several_modules_answer_as_they_are_told_to(model, trained):
    with pytest.raises(InvalidInputError, match=r"`combine` must be one of .*, got 'blend'"):
        model.invoke(NORA, combine="blend")
    both = f"{NORA} {TARA}"
    modules = [module.name for module in trained.modules]
    for combine in ("mix", "confident"):
        sampling = Sampling(max_new_tokens=12)
        asked = trained.ask(both, 0, modules=modules, combine=combine, sampling=sampling)
        said = model.model_copy(update={"combine": combine}).invoke(both, modules=modules)
        assert said.content == asked.text
        assert said.usage_metadata["output_tokens"] == asked.completion_tokens


def test_times_are_passed_on(model):
    now = datetime.now(UTC)
    past = model.invoke(NORA, as_of=now).response_metadata["route"]
    assert past == {"weights": {}, "reason": "weights hold what is current, not the past"}
    told = {"budget": 64, "modules": [], "quote": False}
    recent = model.model_copy(update={"since": now})
    lengths = [
        one.invoke(NORA, **told, **times).usage_metadata["input_tokens"]
        for one, times in ((model, {}), (model, {"until": now}), (recent, {}))
    ]
    assert lengths[0] == lengths[1] > lengths[2]
    with pytest.raises(InvalidInputError, match="`until` must have a time zone"):
        model.invoke(NORA, until=datetime(2026, 1, 1))


def test_unknown_options_are_refused(model, trained):
    with pytest.raises(InvalidInputError, match=r"got \['scop'\]"):
        model.invoke(NORA, scop={"user": "ann"})
    with pytest.raises(InvalidInputError, match="each of `tools` must be a function"):
        model.bind(tools=[{"name": "look_up"}]).invoke(NORA)
    with pytest.raises(ValueError, match="scop"):
        ChatMemkit(memory=trained, scop={})


def test_answers_are_not_cached_unasked(model):
    cache = InMemoryCache()
    set_llm_cache(cache)
    try:
        model.invoke(NORA)
        assert cache._cache == {}
        cached = model.model_copy(update={"cache": True, "scope": {"user": "ann"}})
        cached.invoke(NORA)
        ((_, key),) = cache._cache
        assert "'scope', {'user': 'ann'}" in key  # never another tenant's answer
    finally:
        set_llm_cache(None)


def test_tokens_are_the_base_models(model, tiny):
    assert model.get_num_tokens("The night porter") == tiny.count("The night porter")
    assert model.get_num_tokens_from_messages([HumanMessage("The night porter")]) > 0


def test_a_chain_of_retriever_prompt_and_model(trained, tiny):
    retriever = RunnableLambda(lambda question: trained.search(question, k=1))
    prompt = ChatPromptTemplate.from_messages([("system", "{facts}"), ("human", "{question}")])
    facts = retriever | (lambda hits: hits[0].text)
    chain = (
        {"facts": facts, "question": RunnablePassthrough()}
        | prompt
        | ChatMemkit(memory=trained, budget=0, modules=[], max_tokens=8)
        | StrOutputParser()
    )
    told = tiny.prompt(NORA, system="The badge number of Nora is 4471.")
    assert chain.invoke(NORA) == tiny.generate([told], Sampling(max_new_tokens=8))[0].text
