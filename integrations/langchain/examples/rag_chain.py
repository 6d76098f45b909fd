"""Answer from a memory in a chain: retriever, prompt, model; all of it local.

Run it with a directory for the memory:  python rag_chain.py handbook.mem
"""

import sys

from langchain_core.documents import Document
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnablePassthrough

from langchain_memkit import ChatMemkit, MemkitRetriever
from memkit import Memory

HANDBOOK = {
    "badges": "The night porter's badge number is 4471.",
    "archive": "The archive is on the second floor of the mill building.",
    "parcels": "Parcels are taken in at gate 3 until half past four.",
    "canteen": "The canteen opens at noon; soup is served until two.",
}
PROMPT = ChatPromptTemplate.from_messages(
    [("system", "Answer from these notes, briefly.\n\n{notes}"), ("human", "{question}")]
)


def notes(documents: list[Document]) -> str:
    return "\n".join(f"- {document.page_content}" for document in documents)


def main(path: str) -> None:
    """Ask the handbook; show what each answer rests on."""
    with Memory.open(path) as memory:
        for section, text in HANDBOOK.items():
            memory.add(text, metadata={"section": section})

        retriever = MemkitRetriever(memory=memory, k=2)
        # The chain brings the notes, so the model adds no evidence of its own.
        model = ChatMemkit(memory=memory, budget=0, modules=[], max_tokens=40)
        chain = (
            {"notes": retriever | notes, "question": RunnablePassthrough()}
            | PROMPT
            | model
            | StrOutputParser()
        )

        for question in ("Where is the archive?", "Until when are parcels taken in?"):
            print(f"Q: {question}\nA: {chain.invoke(question)}")
            for document in retriever.invoke(question):
                similarity = document.metadata["memkit"]["similarity"]
                print(f"   {similarity:.2f}  {document.page_content}")


if __name__ == "__main__":
    main(*sys.argv[1:])
