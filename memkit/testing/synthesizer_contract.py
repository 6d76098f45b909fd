"""Tests that every synthesizer passes."""

from __future__ import annotations

from memkit.protocols import Synthesizer
from memkit.testing.fakes import new_record
from memkit.types import Record


class SynthesizerContract:
    """What every `memkit.protocols.Synthesizer` does. Define the fixture ``synthesizer``.

    Override `make_records` if it knows what to make of other records only.
    """

    def make_records(self) -> list[Record]:
        """Records with a question and without, in order."""
        return [
            new_record(
                "badge", "The badge number of Nora is 4471.", "Which badge has Nora?", "4471"
            ),
            new_record("archive", "The archive is on the third floor."),
            new_record("harbour", "The harbour office closes at six on weekdays."),
        ]

    def test_the_key_is_a_text_that_stays(self, synthesizer: Synthesizer) -> None:
        """Examples are found by it again, so asking for examples does not change it."""
        key = synthesizer.key
        assert isinstance(key, str)
        assert key.strip()
        synthesizer.examples(self.make_records())
        assert synthesizer.key == key

    def test_nothing_makes_no_examples(self, synthesizer: Synthesizer) -> None:
        assert synthesizer.examples([]) == []

    def test_something_is_learned_of_each_record(self, synthesizer: Synthesizer) -> None:
        records = self.make_records()
        examples = synthesizer.examples(records)
        trained = {example.record_id for example in examples if not example.held_out}
        assert trained == {record.id for record in records}

    def test_examples_name_their_records_in_order(self, synthesizer: Synthesizer) -> None:
        records = self.make_records()
        named = [example.record_id for example in synthesizer.examples(records)]
        assert list(dict.fromkeys(named)) == [record.id for record in records]
        place = {record.id: number for number, record in enumerate(records)}
        places = [place[id or ""] for id in named]
        assert places == sorted(places)

    def test_questions_and_answers_are_texts(self, synthesizer: Synthesizer) -> None:
        """Neither is blank: both are trained on and compared."""
        for example in synthesizer.examples(self.make_records()):
            assert example.question.strip()
            assert example.answer.strip()
            assert example.origin.strip()

    def test_no_question_is_both_trained_and_held_out(self, synthesizer: Synthesizer) -> None:
        """What verification asks was never trained, or it would prove nothing."""
        examples = synthesizer.examples(self.make_records())
        trained = {(e.record_id, e.question) for e in examples if not e.held_out}
        assert not trained & {(e.record_id, e.question) for e in examples if e.held_out}
