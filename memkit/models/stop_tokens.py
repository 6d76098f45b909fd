"""The tokens at which a model ends what it says."""

from __future__ import annotations

from transformers import PreTrainedModel, PreTrainedTokenizerBase


def eos_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """All that tokenizer, configuration and generation settings name: they need not agree."""
    ids: set[int] = set()
    for stated in (
        tokenizer.eos_token_id,
        model.config.get_text_config().eos_token_id,
        model.generation_config.eos_token_id if model.generation_config else None,
    ):
        ids.update(stated if isinstance(stated, list) else [stated] if stated is not None else [])
    return ids
