"""The ledger: records, versions, turns, passages and modules of one memory, in SQLite."""

from memkit.ledger.ledger import Event, Ledger
from memkit.ledger.passage_writes import NewPassage
from memkit.ledger.passages import Change, Passage
from memkit.ledger.versions import ModuleFile

__all__ = ["Change", "Event", "Ledger", "ModuleFile", "NewPassage", "Passage"]
