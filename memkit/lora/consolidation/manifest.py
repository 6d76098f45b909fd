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
from memkit.lora.verify import RecallResult
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
    """What was measured when a candidate was asked: by record, and on other answers."""

    candidate: Candidate
    results: Sequence[RecallResult]
    locality: Locality

    @property
    def recall(self) -> float:
        """Mean recall by the trained wordings."""
        return _mean([result.trained for result in self.results])

    @property
    def paraphrase_recall(self) -> float:
        """Mean recall by the held-out wordings."""
        return _mean([result.reworded for result in self.results])

    def held(self, reworded_bar: float) -> dict[str, float]:
        """Ids of the records that pass, and their recall by the held-out wordings."""
        return {r.record_id: r.reworded for r in self.results if r.passes(reworded_bar)}

    def manifest(
        self, base: TransformersModel, synthesizer: str, prompt_format: PromptFormat
    ) -> dict[str, Any]:
        """JSON form; ``synthesizer`` is the key of what made the examples."""
        contents = [[record.id, record.content_hash] for record in self.candidate.records]
        return {
            "memkit": __version__,
            "base_model": base.name,
            "fingerprint": base.fingerprint,
            "verified": base.computes,
            "data": hashlib.sha256(json.dumps(contents).encode()).hexdigest(),
            "lora": self.candidate.lora.as_dict(),
            "synthesizer": synthesizer,
            "prompt_format": {"key": prompt_format.key, **asdict(prompt_format)},
            **self.candidate.origin,
            "recall": self.recall,
            "paraphrase_recall": self.paraphrase_recall,
            "records": {
                result.record_id: {"recall": result.trained, "paraphrase_recall": result.reworded}
                for result in self.results
            },
            "locality": asdict(self.locality),
        }


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
