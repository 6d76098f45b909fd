"""An agent that needs no service: the base model runs here, and says only what is stored.

Run it, with a directory for the memory if it is to stay:  python examples/local_agent.py agent.mem
"""

import sys
import tempfile

from memkit import Memory

HANDBOOK = (
    "Deliveries are taken in at gate 3 until half past four.",
    "The spare keys hang in the cupboard behind the reception.",
    "The fire drill is on the first Monday of each month.",
)
SESSION = {"user": "ann", "session": "monday"}


def reply(memory: Memory, said: str) -> str:
    """Answer from what is stored; what nothing supports is not said."""
    text = "Noted."
    if said.endswith("?"):
        answer = memory.ask(said, scope=SESSION, strict=True)
        text = answer.text if answer.withheld is None else "I have nothing on that."
    memory.add_turn("user", said, scope=SESSION)  # after asking, or it would find itself
    memory.add_turn("assistant", text, scope=SESSION)
    return text


def main(path: str) -> None:
    """Talk about a handbook and about what was said a moment ago."""
    with Memory.open(path) as memory:
        memory.add(HANDBOOK)  # shared by all users
        for said in (
            "Until when are deliveries taken in?",
            "My locker is number 12, next to the boiler room.",
            "Where is my locker?",
            "What is the capital of Australia?",
        ):
            print(f"ann: {said}\n  -> {reply(memory, said)}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:  # where no directory is given
        main(*sys.argv[1:] or [folder])
