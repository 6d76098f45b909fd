"""An agent that remembers, looks up, corrects and forgets with tools; two users, one memory.

The model is scripted, so that this runs anywhere; put any chat model that calls tools in its
place. Run it with a directory for the memory:  python tools_agent.py agent.mem
"""

import sys
from dataclasses import dataclass

from langchain.agents import create_agent
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, ToolMessage

from langchain_memkit import memory_tools
from memkit import Memory


@dataclass
class Context:
    """What the application knows about a call, and the model does not."""

    user_id: str


class Scripted(GenericFakeChatModel):
    """Calls the tools that it is told to."""

    def bind_tools(self, _tools: object, **_: object) -> "Scripted":
        return self


def turn(memory: Memory, user: str, tool: str, **arguments: str) -> str:
    """Let the agent call one tool on behalf of a user."""
    call = {"name": tool, "args": arguments, "id": "call-1"}
    model = Scripted(messages=iter([AIMessage("", tool_calls=[call]), AIMessage("Done.")]))
    agent = create_agent(model, memory_tools(memory), context_schema=Context)
    state = agent.invoke({"messages": [("user", "...")]}, context=Context(user))
    result = next(m.text for m in state["messages"] if isinstance(m, ToolMessage))
    print(f"{user:>4}: {tool}({', '.join(map(repr, arguments.values()))})\n      -> {result}")
    return result


def main(path: str) -> None:
    """Show that a correction is found, that users are apart, and what an error looks like."""
    with Memory.open(path, backends=("rag",)) as memory:
        stored = turn(memory, "ann", "remember", text="Ann is allergic to peanuts.")
        id = stored.removesuffix(".").rpartition(" ")[2]
        turn(memory, "ann", "update_memory", id=id, text="Ann is allergic to hazelnuts.")
        turn(memory, "ann", "search_memory", query="Which nuts are bad for Ann?")
        turn(memory, "bob", "search_memory", query="Which nuts are bad for Ann?")
        turn(memory, "bob", "forget", id=id)
        turn(memory, "ann", "forget", id=id)
        turn(memory, "ann", "search_memory", query="Which nuts are bad for Ann?")


if __name__ == "__main__":
    main(*sys.argv[1:])
