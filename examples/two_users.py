"""Keep the knowledge of users apart with scopes, and erase all that is known about one.

Run it, with a directory for the memory if it is to stay:  python examples/two_users.py agent.mem
"""

import sys
import tempfile

from memkit import Memory

ANN = {"user": "ann"}
BOB = {"user": "bob"}


def main(path: str) -> None:
    """Show who sees what, before and after Ann has asked to be forgotten."""
    with Memory.open(path, backends=("rag",)) as memory:
        memory.add("The canteen opens at noon.")  # no scope: shared by everybody
        memory.add("Ann's locker has the code 8812.", scope=ANN)
        memory.add("Ann is on holiday this week.", scope={**ANN, "session": "s7"})
        memory.add("Bob's locker has the code 3057.", scope=BOB)

        for scope in ({}, ANN, {**ANN, "session": "s7"}, BOB):
            hits = memory.search("locker code", k=10, scope=scope)
            print(f"{scope} sees:", *sorted(hit.record.text for hit in hits), sep="\n  ")

        print(memory.forget(scope=ANN))  # what is narrower, such as her session, goes too
        print("Ann now sees:", [hit.record.text for hit in memory.search("locker", scope=ANN)])


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:  # where no directory is given
        main(*sys.argv[1:] or [folder])
