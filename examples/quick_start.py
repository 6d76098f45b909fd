"""The first steps: remember, search, ask, see why, correct and forget. Nothing is trained here.

Run it, with a directory for the memory if it is to stay:  python examples/quick_start.py agent.mem
"""

import sys
import tempfile

from memkit import Memory


def main(path: str) -> None:
    """Go through the verbs that every program needs."""
    with Memory.open(path) as memory:
        archive = memory.add("The archive is on the second floor of the mill building.")
        memory.add("The night porter's badge number is 4471.", metadata={"source": "hr"})

        hit = memory.search("Which badge does the porter have?", k=1)[0]
        print("search:", hit.text, dict(hit.record.metadata))

        answer = memory.ask("Where is the archive?")
        print("ask:", answer.text)
        print("from:", memory.get(answer.citations[0]).text)
        print("none of it:", memory.ask("Who painted the Mona Lisa?", strict=True).withheld)

        memory.update(archive.id, "The archive is in the old boiler house.")
        print("now:", memory.ask("Where is the archive?").text)
        print("before:", memory.history(archive.id)[0].text)

        print(memory.forget(archive.id))  # the receipt
        print("left:", [record.text for record in memory])


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:  # where no directory is given
        main(*sys.argv[1:] or [folder])
