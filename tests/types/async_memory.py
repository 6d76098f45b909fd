"""What type checkers know of `AsyncMemory`; checked by mypy, never run."""

from typing import assert_type

from memkit import Answer, AsyncMemory, ConsolidationReport, Draft, Hit, Record
from memkit.memory.async_memory import AsyncAnswerStream


async def opened() -> None:
    assert_type(await AsyncMemory.open("agent.mem", backends=("rag",)), AsyncMemory)
    async with AsyncMemory.open("agent.mem") as memory:
        assert_type(memory, AsyncMemory)
    AsyncMemory.open(3)  # type: ignore[arg-type]


async def called(memory: AsyncMemory) -> None:
    assert_type(await memory.add("one", scope={"user": "ann"}), Record)
    assert_type(await memory.add(["one", "two"]), list[Record])
    assert_type(await memory.add([Draft("one")]), list[Record])
    assert_type(await memory.search("one", k=3), list[Hit])
    assert_type(await memory.ask("one?"), Answer)
    assert_type(await memory.consolidate(), ConsolidationReport)
    assert_type(memory.stream("one?"), AsyncAnswerStream)
    async for piece in memory.stream("one?"):
        assert_type(piece, str)
    await memory.search(3)  # type: ignore[arg-type]
    await memory.search("one", limit=3)  # type: ignore[call-arg]
