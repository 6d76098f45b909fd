"""An agent of `create_agent` that remembers its users, whatever chat model it runs on.

The model here follows a script, so that the example runs without keys; it prints what it was
sent. Put any chat model in its place: `create_agent("openai:gpt-5.5", ...)`.

Run it with a directory for the memory:  python agent_middleware.py agent.mem
"""

import sys
from dataclasses import dataclass
from typing import Any

from langchain.agents import create_agent
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatResult
from langgraph.checkpoint.memory import InMemorySaver

from langchain_memkit import MemkitMiddleware
from memkit import Memory


@dataclass
class Context:
    user_id: str


class Scripted(GenericFakeChatModel):
    """Says its lines, and prints the recalled facts that it was sent."""

    def _generate(self, messages: list[BaseMessage], *rest: Any, **options: Any) -> ChatResult:
        if messages[0].type == "system":
            facts = [line for line in messages[0].text.splitlines() if line.startswith("- ")]
            print("   (recalled) ", "; ".join(facts))
        return super()._generate(messages, *rest, **options)


SCRIPT = [
    ("ann", "monday", "Please plan dinner. I am allergic to nuts.", "Risotto, then. No nuts."),
    ("bob", "monday", "I love walnut cake, by the way.", "I will keep that in mind."),
    ("ann", "friday", "Which dessert would you bake for me?", "A lemon tart, without nuts."),
    ("bob", "friday", "Which dessert would you bake for me?", "A walnut cake!"),
]


def main(path: str) -> None:
    """Two users, each in two conversations."""
    with Memory.open(path, backends=["buffer", "rag"]) as memory:
        agent = create_agent(
            Scripted(messages=iter([AIMessage(answer) for *_, answer in SCRIPT])),
            middleware=[MemkitMiddleware(memory, budget=64, k=2, tools=False)],
            context_schema=Context,
            checkpointer=InMemorySaver(),
        )
        for user, day, line, _ in SCRIPT:
            print(f"{day}, {user}: {line}")
            state = agent.invoke(
                {"messages": [("user", line)]},
                {"configurable": {"thread_id": f"{user}-{day}"}},
                context=Context(user),
            )
            print(f"   agent:      {state['messages'][-1].text}")

        print("\nWhat is remembered:")
        for record in memory.records().records:
            print(f"  {record.scope['user']}, {record.metadata['role']}: {record.text}")


if __name__ == "__main__":
    main(*sys.argv[1:])
