"""A program of somebody who checks types strictly; a mistake in it must be noticed."""

from memkit import Answer, Memory, Record


def remember(path: str) -> tuple[Record, Answer]:
    """Add a record and ask for it."""
    with Memory.open(path) as memory:
        record = memory.add("The archive is on the second floor.", metadata={"source": "hr"})
        memory.add(5)  # type: ignore[call-overload]
        return record, memory.ask("Where is the archive?", budget=256)
