"""Memories with many modules of random weights, for measurements of their number."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from memkit.ledger import Ledger
from memkit.lora.serving.hooks import AdapterLayers
from memkit.lora.serving.layout import Frame, Layout, Row
from memkit.lora.spec import LoraSpec
from memkit.lora.store.adapter_rows import written_row
from memkit.models.language_model import TransformersModel
from memkit.types import Draft

_SCALE = 0.02  # standard deviation of the weights: about what training leaves


class NoEmbedder:
    """A stand-in for an embedder where embeddings are not what is measured."""

    dim = 8
    name = "none"

    def encode_query(self, texts: Sequence[str], /) -> NDArray[np.float32]:
        """One coordinate a text, by its length."""
        return np.eye(self.dim, dtype=np.float32)[[len(text) % self.dim for text in texts]]

    def encode_document(self, texts: Sequence[str], /) -> NDArray[np.float32]:
        """As for queries."""
        return self.encode_query(texts)


def random_row(layers: AdapterLayers, spec: LoraSpec, seed: int, dtype: torch.dtype) -> Row:
    """An adapter of random weights for all target layers."""
    layout = Layout(Frame(layers.targets(spec)), spec.rank, dtype)
    random = torch.Generator().manual_seed(seed)
    return Row(layout, (_SCALE * torch.randn(layout.size, generator=random)).to(dtype), spec.scale)


def add_modules(
    ledger: Ledger, base: TransformersModel, layers: AdapterLayers, spec: LoraSpec, count: int
) -> list[str]:
    """Commit modules until there are ``count``, each for a record of its own; gives the names."""
    first = random_row(layers, spec, 0, torch.float16)
    manifest = {
        "base_model": base.name,
        "fingerprint": base.fingerprint,
        "lora": spec.as_dict(),
    }
    names = [module.name for module in ledger.modules.active()]
    with ledger.transaction():  # one flush for all that the ledger writes
        for number in range(len(names), count):
            (record,) = ledger.records.add([Draft(f"Fact number {number}.")])
            row = Row(first.layout, first.data.roll(number), first.scale)
            with written_row(ledger, row) as file:
                module = ledger.modules.commit(
                    ledger.modules.next_name(),
                    {},
                    manifest,
                    file=file.path,
                    digest=file.digest,
                    size=file.size,
                    members=[record],
                    held={record.id: 1.0},
                )
            names.append(module.name)
    return names
