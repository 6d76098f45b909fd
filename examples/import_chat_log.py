"""Take in chat logs as other programs keep them, and ask who said what, and when.

Run it with a file of messages in OpenAI's format, or without:  python examples/import_chat_log.py
"""

import json
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from memkit import Memory
from memkit.testing import HashingEmbedder

LOG = [
    {"role": "system", "content": "You are a helpful assistant."},  # no memory: left out
    {"role": "user", "name": "Ann", "content": "My red kite got lost near the old mill."},
    {"role": "assistant", "content": "Shall I put up a note at the mill?"},
    {"role": "user", "name": "Ann", "content": "Please do. Ben has seen it in the poplars."},
]
SESSION = {"user": "ann", "session": "kite"}


def main(log: list[dict[str, str]]) -> None:
    """Import a log, import it again after it has grown, and look something up."""
    # A small embedder, so that this loads no model; leave it out to use the default one.
    options = {"backends": ("buffer", "rag"), "embedder": HashingEmbedder()}
    may = datetime(2026, 5, 8, 14, tzinfo=UTC)
    with tempfile.TemporaryDirectory() as folder, Memory.open(folder, **options) as memory:
        print(memory.add_messages(log, scope=SESSION, at=may))
        grown = [*log, {"role": "user", "name": "Ben", "content": "The kite is in my shed now."}]
        print(memory.add_messages(grown, scope=SESSION, at=may))  # only what is new
        for hit in memory.search("Where is the kite?", k=2, scope=SESSION):
            print(hit.record.metadata.get("name"), hit.record.at.date(), hit.text)
        print(len(memory.turns(scope=SESSION)), "turns in the conversation")


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")) if sys.argv[1:] else LOG)
