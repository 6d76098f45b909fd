"""A LangGraph agent's long-term store that survives it, is searched by meaning, and forgets.

Run it with a directory for the memory:  python langgraph_store.py notes.mem
"""

import sys
from dataclasses import dataclass

from langgraph.graph import START, MessagesState, StateGraph
from langgraph.runtime import Runtime

from langchain_memkit import MemkitEmbeddings, MemkitStore
from memkit import Memory


@dataclass
class Context:
    user_id: str


def open_store(memory: Memory) -> MemkitStore:
    """Namespaces begin with the user, and so do scopes: forgetting a user reaches both."""
    index = {"embed": MemkitEmbeddings(), "dims": 384, "fields": ["text"]}
    return MemkitStore(memory, index=index, scope=lambda namespace: {"user": namespace[0]})


def note(state: MessagesState, runtime: Runtime[Context]) -> dict:
    """Keep what the user says, and answer with what fits it best."""
    notes, text = (runtime.context.user_id, "notes"), str(state["messages"][-1].content)
    (best, *_) = [*runtime.store.search(notes, query=text, limit=1), None]
    runtime.store.put(notes, f"note {len(runtime.store.search(notes, limit=99))}", {"text": text})
    reply = f"That reminds me: {best.value['text']} ({best.score:.2f})" if best else "Noted."
    return {"messages": [("assistant", reply)]}


def talk(path: str, user: str, *lines: str) -> None:
    """A new run of the program, as far as the memory can tell."""
    with Memory.open(path, backends=["rag"]) as memory:
        graph = StateGraph(MessagesState, context_schema=Context)
        graph.add_node(note)
        graph.add_edge(START, "note")
        agent = graph.compile(store=open_store(memory))
        for line in lines:
            answer = agent.invoke({"messages": [("user", line)]}, context=Context(user))
            print(f"{user}: {line}\n  agent: {answer['messages'][-1].text}")


def main(path: str) -> None:
    """Two users talk, twice; then one is forgotten."""
    talk(path, "ann", "I never eat mushrooms.", "My sister lives in Trondheim.")
    talk(path, "bob", "I bake bread on Sundays.")
    print("-- the program ends, and starts again --")
    talk(path, "ann", "What should I cook for dinner?", "Which city shall I travel to?")
    talk(path, "bob", "What should I cook for dinner?")

    with Memory.open(path, backends=["rag"]) as memory:
        store = open_store(memory)
        print("namespaces:", store.list_namespaces())
        print(memory.forget(scope={"user": "ann"}))
        print("namespaces:", store.list_namespaces())


if __name__ == "__main__":
    main(*sys.argv[1:])
