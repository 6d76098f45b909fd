"""Give any language model a memory: memkit finds the evidence, the model sees a plain prompt.

Run it, with a directory for the memory if it is to stay:  python examples/hosted_model.py agent.mem
"""

import json
import sys
import tempfile

from memkit import Memory


def main(path: str) -> None:
    """Remember three facts, then print the messages for a chat model."""
    with Memory.open(path, backends=("buffer", "rag")) as memory:
        memory.add("The night porter's badge number is 4471.")
        memory.add("The archive is on the second floor of the mill building.")
        memory.add("Deliveries are taken in at gate 3 until half past four.")

        question = "Until when can a parcel be delivered?"
        recall = memory.recall(question, budget=256)
        messages = [
            {"role": "system", "content": f"Answer from these notes.\n\n{recall.text}"},
            {"role": "user", "content": question},
        ]
        print(json.dumps(messages, indent=2))  # send these to the model of your choice
        print(f"{recall.tokens} of {recall.budget} tokens, from {', '.join(recall.citations)}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:  # where no directory is given
        main(*sys.argv[1:] or [folder])
