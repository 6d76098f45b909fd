"""Training examples: made once for each content of a record, then read from the ledger."""

from __future__ import annotations

from collections.abc import Sequence

from memkit.errors import InvalidInputError
from memkit.ledger import Ledger
from memkit.protocols import Synthesizer
from memkit.types import Example, Record
from memkit.types.validate import check_results

BATCH = 32  # records that a synthesizer is handed at once; what it made of them is committed


def make_missing(ledger: Ledger, synthesizer: Synthesizer, records: Sequence[Record]) -> None:
    """Have a synthesizer make examples of those records that it has not seen as they are now.

    What it made of a batch is committed before the next one, so that nothing is paid for twice.
    A record that is changed or forgotten meanwhile is left out.

    Raises:
        InvalidInputError: If it makes an example of a record that it was not handed.
    """
    missing = set(ledger.examples.missing([record.id for record in records], synthesizer.key))
    unseen = list({record.id: record for record in records if record.id in missing}.values())
    for start in range(0, len(unseen), BATCH):
        batch = unseen[start : start + BATCH]
        ledger.examples.put(
            synthesizer.key,
            _by_record(synthesizer, batch),
            content_hashes={record.id: record.content_hash for record in batch},
        )


def stored_examples(
    ledger: Ledger, synthesizer: Synthesizer, records: Sequence[Record]
) -> list[Example]:
    """What a synthesizer has made of records as they are now, in their order."""
    stored = ledger.examples.get([record.id for record in records], synthesizer.key)
    return [example for examples in stored.values() for example in examples]


def _by_record(synthesizer: Synthesizer, records: Sequence[Record]) -> dict[str, list[Example]]:
    made: dict[str, list[Example]] = {record.id: [] for record in records}
    examples = synthesizer.examples(records)
    check_results("`synthesizer.examples`", examples, Example, "a list of `Example`")
    for example in examples:
        if example.record_id not in made:
            raise InvalidInputError(
                f"expected examples of the records {list(made)[:3]}, got one of "
                f"{example.record_id!r}",
                hint="a synthesizer sets `record_id` of each example to the id of its record",
            )
        made[example.record_id].append(example)
    return made
