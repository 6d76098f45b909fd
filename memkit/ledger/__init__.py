"""The ledger: records, versions, turns, passages and modules of one memory, in SQLite."""

from memkit.ledger.ledger import Event, Ledger
from memkit.ledger.modules.module_versions import ModuleFile
from memkit.ledger.passages.passage_table import Change, Passage
from memkit.ledger.passages.passage_writes import NewPassage

__all__ = ["Change", "Event", "Ledger", "ModuleFile", "NewPassage", "Passage"]
