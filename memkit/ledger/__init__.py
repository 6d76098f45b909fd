"""The ledger: records, versions, turns, passages and modules of one memory, in a database."""

from memkit.ledger.engine.postgres.address import is_address, shown_address
from memkit.ledger.ledger import Event, Ledger
from memkit.ledger.modules.module_versions import ModuleFile
from memkit.ledger.passages.passage_table import Change, Passage
from memkit.ledger.passages.passage_writes import NewPassage

__all__ = [
    "Change",
    "Event",
    "Ledger",
    "ModuleFile",
    "NewPassage",
    "Passage",
    "is_address",
    "shown_address",
]
