"""`ChatMemkit` as agents, runnables and streams of events call it."""

from langchain.agents import create_agent
from langchain_core.load import dumpd
from langchain_core.runnables import ConfigurableField

NORA, TARA = (f"What is the badge number of {name}?" for name in ("Nora", "Tara"))


async def test_events_of_a_stream(model):
    events = [event async for event in model.astream_events(NORA, version="v2")]
    kinds = [event["event"] for event in events]
    assert (kinds[0], kinds[-1]) == ("on_chat_model_start", "on_chat_model_end")
    pieces = [
        event["data"]["chunk"].content
        for event in events
        if event["event"] == "on_chat_model_stream"
    ]
    assert "".join(pieces) == "4471"
    whole = events[-1]["data"]["output"]
    assert whole.response_metadata["citations"] == ["Nora"]
    assert whole.usage_metadata["input_tokens"] > whole.usage_metadata["output_tokens"] > 0
    agent = create_agent(model)
    streamed = [
        message.content
        async for message, _ in agent.astream(
            {"messages": [("user", NORA)]}, stream_mode="messages"
        )
    ]
    assert "".join(streamed) == "4471"


async def test_it_is_a_runnable_in_every_way(model):
    temperature = model.configurable_fields(temperature=ConfigurableField(id="t"))
    for runnable in (
        model.with_config(tags=["a"]),
        model.with_retry(),
        model.with_fallbacks([model]),
        temperature.with_config(configurable={"t": 0.0}),
    ):
        assert runnable.invoke(NORA).content == "4471"
        assert (await runnable.ainvoke(NORA)).content == "4471"
        assert [m.content for m in runnable.batch([NORA, TARA])] == ["4471", "9876"]
        assert [m.content for m in await runnable.abatch([NORA, TARA])] == ["4471", "9876"]
    dumped = dumpd(model)
    assert (dumped["type"], dumped["id"][-1]) == ("not_implemented", "ChatMemkit")
