"""An agent loop around any hosted chat model: memory in front of each call, and as two tools.

    python examples/agent_loop.py

The model is scripted, so that this runs anywhere. In its place goes one line, such as
`client.chat.completions.create(model=..., messages=messages, tools=SCHEMAS)` of OpenAI's client.
"""

import json
import tempfile
from collections.abc import Callable
from typing import Any

from memkit import Memory
from memkit.testing import HashingEmbedder, ScriptedChat
from memkit.types import Message, Scope

Model = Callable[[list[Message]], dict[str, Any]]


def remember(memory: Memory, scope: Scope, text: str) -> str:
    return f"Stored as {memory.add(text, scope=scope).id}."


def look_up(memory: Memory, scope: Scope, query: str) -> str:
    return memory.recall(query, budget=256, scope=scope).text or "Nothing is known about that."


TOOLS = {"remember": remember, "look_up": look_up}
SCHEMAS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": description,
            "parameters": {
                "type": "object",
                "properties": {argument: {"type": "string"}},
                "required": [argument],
            },
        },
    }
    for name, description, argument in (
        ("remember", "Keep a fact about the user or the work, in one sentence.", "text"),
        ("look_up", "Find what was said or written before.", "query"),
    )
]


def reply(memory: Memory, model: Model, user: str, said: str) -> str:
    """One turn of the user: the model may call tools until it has an answer."""
    scope = {"user": user}  # the model never chooses whose memory it sees
    notes = memory.recall(said, budget=256, scope=scope).text
    messages: list[Message] = [
        {"role": "system", "content": f"You are a helpful colleague.\n\n{notes}".strip()},
        {"role": "user", "content": said},
    ]
    while True:
        answer = model(messages)
        messages.append(answer)
        if not answer.get("tool_calls"):
            return str(answer["content"])
        for call in answer["tool_calls"]:
            function = call["function"]
            result = TOOLS[function["name"]](memory, scope, **json.loads(function["arguments"]))
            messages.append({"role": "tool", "tool_call_id": call["id"], "content": result})


def from_notes(messages: list[Message]) -> str:
    """What a model would make of the notes that it was given."""
    notes = messages[0]["content"]
    return "At gate 3." if "gate 3" in notes else "I do not know."


if __name__ == "__main__":
    model = ScriptedChat(
        [
            {"remember": {"text": "Parcels for Ann are handed out at gate 3."}},
            "I will remember that.",
            from_notes,
            from_notes,
            {"look_up": {"query": "parcels gate"}},
            lambda messages: f"I have looked: {messages[-1]['content'].splitlines()[-1]}",
        ]
    )
    # A small embedder and counter, so that this loads no model; leave them out for the defaults.
    options = {"backends": ["rag"], "embedder": HashingEmbedder(), "count_tokens": len}
    with tempfile.TemporaryDirectory() as folder, Memory.open(folder, **options) as memory:
        for user, said in (
            ("ann", "My parcels are handed out at gate 3 from now on."),
            ("ann", "Where do I get my parcels?"),
            ("bob", "Where do I get my parcels?"),
            ("ann", "What do you know about the gates?"),
        ):
            print(f"{user}: {said}\n  -> {reply(memory, model, user, said)}")
