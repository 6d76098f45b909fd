"""Trained memories that measurements share: they stay in memkit's cache folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from memkit.lora.consolidation.consolidate import Recipe
from memkit.memory.memory import Memory
from memkit.models.embedder import SentenceEmbedder
from memkit.models.gguf import cache_dir
from memkit.models.language_model import TransformersModel
from memkit.types import Draft

PART = "part"  # metadata: which of the parts, in file order, a record was put into


def parts_of(drafts: Sequence[Draft], most: int) -> list[Sequence[Draft]]:
    """Cut drafts in order into the fewest parts of at most ``most``, as even as can be."""
    parts = -(-len(drafts) // most)
    bounds = [round(i * len(drafts) / parts) for i in range(parts + 1)]
    return [drafts[start:end] for start, end in pairwise(bounds)]


def trained_memory(
    models: tuple[TransformersModel, SentenceEmbedder],
    parts: Sequence[Sequence[Draft]],
    recipe: Recipe,
) -> Memory:
    """Open a memory that holds drafts in its weights, and train the modules that are missing.

    An interrupted run continues with the parts that are left. Other drafts, another recipe and
    other models have a memory of their own; delete the folder after a change of the trainer.

    Args:
        models: The base model and the embedder.
        parts: What goes into each module; modules for missed records may come beside them.
        recipe: How it is trained.
    """
    base, embedder = models
    about = [[(d.text, d.question, d.answer) for d in part] for part in parts]
    identity = json.dumps([about, recipe.key(base), embedder.name])
    folder = cache_dir() / "evals" / hashlib.sha256(identity.encode()).hexdigest()[:16]
    recipe = replace(recipe, records_per_module=max(map(len, parts)))
    memory = Memory.open(folder, base_model=base, embedder=embedder, recipe=recipe)
    for number, part in enumerate(parts):
        memory.add([replace(draft, metadata={PART: number}) for draft in part])
    for number in range(len(parts)):
        memory.consolidate(where={PART: number})
    return memory
