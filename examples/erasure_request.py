"""A person asks to be forgotten: everything is erased, weights included, and there is a receipt.

    python examples/erasure_request.py

The receipt is what to file: it names no content, says which files were destroyed, and has the
checks that were made on the files afterwards. Small random models, so that this runs in seconds.
"""

import json
import tempfile
from pathlib import Path

from memkit import Memory
from memkit.testing import HashingEmbedder, tiny_llama, tiny_recipe

ANN = {"user": "ann"}


def erase(memory: Memory, person: dict[str, str], file: Path) -> bool:
    """Erase all that is of a person's scope, sessions included; write the receipt to a file."""
    receipt = memory.forget(scope=person)
    file.write_text(receipt.to_json(indent=2) + "\n", encoding="utf-8")
    return all(receipt.checks.values())


options = {
    "base_model": tiny_llama(),
    "embedder": HashingEmbedder(),
    "recipe": tiny_recipe(records_per_module=2),
}
with tempfile.TemporaryDirectory() as folder:
    place, receipts = Path(folder, "agent.mem"), Path(folder, "receipt.json")
    with Memory.open(place, **options) as memory:
        for name, badge, scope in (("Ann", "8812", ANN), ("Nora", "4471", {})):
            text, question = f"{name} has badge {badge}.", f"Which badge has {name}?"
            memory.add(text, question=question, answer=badge, scope=scope)
        memory.add_turn("user", "My badge is 8812.", scope={**ANN, "session": "s1"})
        memory.consolidate()
        print("before:", memory.ask("Which badge has Ann?", budget=0, scope=ANN).text)

        print("all checks passed:", erase(memory, ANN, receipts))

        receipt = json.loads(receipts.read_text(encoding="utf-8"))
        print(f"{len(receipt['records'])} records, {receipt['turns']} turns,", end=" ")
        print(f"modules dropped: {', '.join(receipt['dropped'])}")
        print("after:", memory.search("Which badge has Ann?", scope=ANN)[0].text)
        print("Nora's is still held:", memory.ask("Which badge has Nora?", budget=0).text)
    left = [
        path.name for path in place.rglob("*") if path.is_file() and b"8812" in path.read_bytes()
    ]
    print("files with the number:", left)
