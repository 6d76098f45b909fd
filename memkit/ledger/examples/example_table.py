"""Training examples: what synthesizers have made of records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from memkit.ledger.engine.checksums import CHECKED, checked_columns, stamp, verify, with_checksum
from memkit.ledger.engine.database import Database
from memkit.ledger.engine.dialect import in_list, list_parameter
from memkit.ledger.records.where import LIVE
from memkit.types import Example
from memkit.types.validate import check_text

_CHECKED = f"{checked_columns('syntheses')}, {checked_columns('examples')}"
_WIDTH = len(CHECKED["syntheses"].columns) + 1
_ANY: Mapping[str, str] = MappingProxyType({})
_CURRENT = (
    "syntheses.record = records.number AND syntheses.content_hash = records.content_hash "
    "AND syntheses.synthesizer = coalesce(?, syntheses.synthesizer)"
)


class ExampleTable:
    """Examples of records, by the content and by the synthesizer that they were made of and by.

    One synthesis is one call of a synthesizer for one record: its examples in order, perhaps
    none. It counts while the record says what it said then. Syntheses of older contents stay
    until the record is deleted, so that an update that is undone finds them again.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(
        self,
        synthesizer: str,
        examples: Mapping[str, Sequence[Example]],
        *,
        content_hashes: Mapping[str, str] = _ANY,
    ) -> None:
        """Store what a synthesizer made of records as they are now, in place of what it had made.

        Args:
            synthesizer: Identifies the synthesizer, its version and its settings.
            examples: By record id, in order; an empty list says that it made none. Records that
                do not exist, or have expired, are left out.
            content_hashes: Of the records as the synthesizer saw them, by id; those that say
                something else by now are left out.

        Raises:
            InvalidInputError: If a text cannot be stored.
        """
        check_text("synthesizer", synthesizer)
        for example in (example for made in examples.values() for example in made):
            for name in ("question", "answer", "origin"):
                check_text(name, getattr(example, name))
        with self._database.transaction():
            sql = f"SELECT id, number, content_hash FROM records WHERE {LIVE} AND {in_list('id')}"
            rows = self._database.rows(sql, list_parameter("ids", examples))
            current = {id: (record, digest) for id, record, digest in rows}
            for id, made in examples.items():
                if id in current and content_hashes.get(id, current[id][1]) == current[id][1]:
                    replace_synthesis(self._database, *current[id], synthesizer, made)

    def get(self, ids: Sequence[str], synthesizer: str | None = None) -> dict[str, list[Example]]:
        """Read the examples of records as they are now, in the order of the ids.

        They are of one synthesizer; None for what was made last. Records without examples are left
        out; the ``context`` of each example is the text of its record.
        """
        rows = self._database.rows(
            f"SELECT current.id, current.text, {_CHECKED} FROM ("
            "SELECT records.id, records.text, max(syntheses.number) AS latest "
            f"FROM records JOIN syntheses ON {_CURRENT} "
            f"WHERE {LIVE} AND {in_list('records.id')} "
            "GROUP BY records.number) AS current "
            "JOIN syntheses ON syntheses.number = latest "
            "JOIN examples ON examples.synthesis = latest ORDER BY latest, position",
            synthesizer,
            list_parameter("ids", ids),
        )
        examples: dict[str, list[Example]] = {}
        for id, text, *row in rows:
            if id not in examples:
                verify("syntheses", row[:_WIDTH])
            examples.setdefault(id, []).append(_example(id, row[_WIDTH:], text))
        return {id: examples[id] for id in dict.fromkeys(ids) if id in examples}

    def missing(self, ids: Sequence[str], synthesizer: str) -> list[str]:
        """List those of the records, as they are now, that a synthesizer has not seen yet.

        The order is kept; unknown and expired records are left out.
        """
        missing = self._database.column(
            f"SELECT id FROM records WHERE NOT EXISTS (SELECT 1 FROM syntheses WHERE {_CURRENT}) "
            f"AND {LIVE} AND {in_list('id')}",
            *(synthesizer, list_parameter("ids", ids)),
        )
        return [id for id in dict.fromkeys(ids) if id in set(missing)]

    def ever(self, ids: Sequence[str]) -> dict[str, list[Example]]:
        """Read all examples that were ever made of records, of older contents and expired ones too.

        Returns:
            By record id, in the order in which they were made; without ``context``.
        """
        rows = self._database.rows(
            f"SELECT records.id, {_CHECKED} FROM records JOIN syntheses ON record = records.number "
            "JOIN examples ON synthesis = syntheses.number "
            f"WHERE {in_list('records.id')} ORDER BY syntheses.number, position",
            list_parameter("ids", ids),
        )
        for synthesis in dict.fromkeys(tuple(row[1 : 1 + _WIDTH]) for row in rows):
            verify("syntheses", synthesis)
        examples: dict[str, list[Example]] = {}
        for id, *row in rows:
            examples.setdefault(id, []).append(_example(id, row[_WIDTH:]))
        return examples

    def texts(self, ids: Sequence[str]) -> list[str]:
        """List all questions and answers that were ever made of records, expired or not."""
        examples = (example for made in self.ever(ids).values() for example in made)
        return list(dict.fromkeys(text for e in examples for text in (e.question, e.answer)))


def replace_synthesis(
    database: Database,
    record: int,
    content_hash: str,
    synthesizer: str,
    examples: Sequence[Example],
) -> None:
    """Store one synthesis in place of an earlier one; runs inside a transaction.

    The content hash is that of the text that the examples, in order, were made of.
    """
    # Deleted and added, not updated: the number says what was made last.
    database.execute(
        "DELETE FROM syntheses WHERE record = ? AND content_hash = ? AND synthesizer = ?",
        *(record, content_hash, synthesizer),
    )
    number = database.value(
        "INSERT INTO syntheses (record, content_hash, synthesizer) VALUES (?, ?, ?) "
        "RETURNING number",
        *(record, content_hash, synthesizer),
    )
    stamp(database, "syntheses", "number = ?", number)
    database.execute_many(
        "INSERT INTO examples (synthesis, position, question, answer, held_out, origin, checksum) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            with_checksum(
                "examples",
                *(number, position, made.question, made.answer, made.held_out, made.origin),
            )
            for position, made in enumerate(examples)
        ],
    )


def _example(id: str, row: Sequence[Any], context: str | None = None) -> Example:
    """Make an example of a record from its checked columns."""
    verify("examples", row)
    _, _, question, answer, held_out, origin, _ = row
    return Example(question, answer, id, bool(held_out), context, origin)
