"""Counting tokens without loading weights, torch or transformers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from memkit.models.gguf import converted
from memkit.models.sources import find_base

if TYPE_CHECKING:
    from tokenizers import Tokenizer


class TokenCounter:
    """Counts the tokens of one tokenizer; implements `memkit.protocols.Tokens`.

    Args:
        tokenizer: Of the tokenizers library; special tokens in a text count as plain text.

    Attributes:
        special_tokens: Texts of all tokens that were added to its vocabulary.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        tokenizer.encode_special_tokens = True
        self._tokenizer = tokenizer
        added = tokenizer.get_added_tokens_decoder().values()
        self.special_tokens = tuple(token.content for token in added)

    def count(self, text: str) -> int:
        """Number of tokens in ``text``."""
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)


def load_tokenizer(spec: str | Path | None = None) -> TokenCounter:
    """Load a base model's tokenizer alone; see `memkit.models.sources.find_base`."""
    from tokenizers import Tokenizer

    source = find_base(spec)
    folder = converted(source.path) if source.gguf else source.path
    file = folder / "tokenizer.json"
    if file.is_file():
        return TokenCounter(Tokenizer.from_file(str(file)))
    from transformers import AutoTokenizer  # knows the older formats

    return TokenCounter(AutoTokenizer.from_pretrained(folder).backend_tokenizer)
