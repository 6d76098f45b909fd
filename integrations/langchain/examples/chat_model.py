"""A chain whose model has learned part of what it says, and reads the rest.

Run it with a directory for the memory:  python chat_model.py agent.mem
"""

import sys

from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate

from langchain_memkit import ChatMemkit
from memkit import Draft, Memory

EXTENSIONS = {"Nora Lindqvist": "4417", "Emil Okafor": "2250"}


def main(path: str) -> None:
    """Learn two facts, store a third, and ask for all of them at once."""
    with Memory.open(path) as memory:
        memory.add(
            [
                Draft(f"{name}'s extension is {number}.", f"What is {name}'s extension?", number)
                for name, number in EXTENSIONS.items()
            ]
        )
        print(memory.consolidate())  # the two extensions are in the weights now
        memory.add("Parcels are handed out at gate 3.")  # this is in the index

        model = ChatMemkit(memory=memory, k=1, max_tokens=24)
        chain = ChatPromptTemplate.from_template("{question}") | model
        questions = [*(f"What is {name}'s extension?" for name in EXTENSIONS), "Where are parcels?"]
        # One batch: each row has its own adapters, and its own evidence.
        for question, answer in zip(
            questions, chain.batch([{"question": question} for question in questions]), strict=True
        ):
            print(f"\n{question}\n  {answer.content}")
            print(f"  weights: {answer.response_metadata['route']['weights'] or 'untouched'}")
            print(f"  tokens:  {answer.usage_metadata['input_tokens']} in the prompt")
            for record in answer.response_metadata["citations"]:
                print(f"  from:    {memory.get(record).text}")

        print("\nPiece by piece: ", end="")
        for piece in (chain | StrOutputParser()).stream({"question": questions[0]}):
            print(piece, end="|", flush=True)
        print()


if __name__ == "__main__":
    main(*sys.argv[1:])
