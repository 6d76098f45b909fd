"""What a module's manifest says: how it was made, and what was found when it was asked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from memkit.answering.prompt import PromptFormat
from memkit.lora.serving.hooks import Adapter
from memkit.lora.spec import LoraSpec
from memkit.lora.verify import Recalled
from memkit.models.language_model import TransformersModel
from memkit.types import Locality, Metadata, Record
from memkit.version import __version__


@dataclass(frozen=True)
class Candidate:
    """Weights that may become a module.

    Attributes:
        records: What they were trained on, or are said to answer.
        lora: Their shape.
        adapter: Their factors.
        origin: How they came about; JSON values.
    """

    records: Sequence[Record]
    lora: LoraSpec
    adapter: Adapter
    origin: Metadata


@dataclass(frozen=True)
class Outcome:
    """What was found when a candidate was asked.

    Attributes:
        candidate: The weights.
        recalled: How its records come back.
        locality: What it does to other answers.
    """

    candidate: Candidate
    recalled: Sequence[Recalled]
    locality: Locality

    @property
    def recall(self) -> float:
        """Mean recall by the trained wordings."""
        return _mean([recalled.trained for recalled in self.recalled])

    @property
    def paraphrase_recall(self) -> float:
        """Mean recall by the held-out wordings."""
        return _mean([recalled.reworded for recalled in self.recalled])

    def held(self, reworded_bar: float) -> list[str]:
        """Ids of the records that pass."""
        return [record.record_id for record in self.recalled if record.passes(reworded_bar)]

    def manifest(
        self, base: TransformersModel, synthesizer: str, prompt_format: PromptFormat
    ) -> dict[str, Any]:
        """JSON form.

        Args:
            base: What the weights belong to.
            synthesizer: Key of what made the examples.
            prompt_format: What the weights were trained and asked behind.
        """
        return {
            "memkit": __version__,
            "base_model": base.name,
            "fingerprint": base.fingerprint,
            "data": data_hash(self.candidate.records),
            "lora": self.candidate.lora.as_dict(),
            "synthesizer": synthesizer,
            "prompt_format": {"key": prompt_format.key, **asdict(prompt_format)},
            **self.candidate.origin,
            "recall": self.recall,
            "paraphrase_recall": self.paraphrase_recall,
            "records": {
                record.record_id: {"recall": record.trained, "paraphrase_recall": record.reworded}
                for record in self.recalled
            },
            "locality": asdict(self.locality),
        }


def data_hash(records: Sequence[Record]) -> str:
    """SHA-256 over ids and contents, in order."""
    parts = [[record.id, record.content_hash] for record in records]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
