"""Find out where your documents are best kept: in the prompt, in the index or in weights.

    python examples/choose_places.py

Writes four documents with a question each, and lets `memkit eval` compare the places on them with
the default models: it trains, so it takes a minute or two. Your own file has the same form, and
needs no questions: then memkit writes them, and says so.
"""

import json
import sys
import tempfile
from pathlib import Path

from memkit.cli.main import main

DOCUMENTS = [
    ("Nora Feldt works in the archive. Her extension is 4417.", "Nora Feldt's extension?", "4417"),
    ("The canteen opens at noon and closes at two.", "When does the canteen open?", "noon"),
    ("Emil Brandt has locker 88, beside the lift.", "Which locker is Emil Brandt's?", "88"),
    ("The night porter has badge 4471.", "Which badge does the night porter have?", "4471"),
]

with tempfile.TemporaryDirectory() as folder:
    file = Path(folder, "documents.jsonl")
    with file.open("w", encoding="utf-8") as lines:
        for text, question, answer in DOCUMENTS:
            asked = [{"question": question, "answer": answer}]
            lines.write(json.dumps({"text": text, "questions": asked}) + "\n")
    sys.exit(main(["eval", str(file)]))
