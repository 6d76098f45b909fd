"""Texts to unit vectors, with a model of sentence-transformers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np
from safetensors import SafetensorError
from sentence_transformers import SentenceTransformer

from memkit.errors import CorruptFileError, InvalidInputError, NonFiniteError
from memkit.models.placement import Placement
from memkit.models.sources import find_embedder, quiet
from memkit.text.scripts import terms
from memkit.text.word_hash import hashed
from memkit.types.validate import shown

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from tokenizers import Encoding

    Floats2d = NDArray[np.float32]

_LETTERS = 16  # of a text that are looked at for each token that the model reads
_BATCH = 64  # texts at once; short passages fill two cores at this size


class SentenceEmbedder:
    """Embeds with a sentence-transformers model; implements `memkit.protocols.Embedder`.

    A model gives nearly the same vector to all texts whose words its tokenizer does not know, as
    those of scripts that it has never seen. The vector of such a text says which words it has,
    and nothing of their meaning: `memkit.text.word_hash`.

    Args:
        model: A loaded model.
        name: Identifies the model's weights; see `load`.
    """

    def __init__(self, model: SentenceTransformer, *, name: str) -> None:
        self.name = name
        self._model = cast("Any", model)  # its methods carry no usable annotations
        tokenizer: Any = getattr(model, "tokenizer", None)
        tells = getattr(tokenizer, "is_fast", False) and tokenizer.unk_token_id is not None
        self._tokenizer = tokenizer if tells else None  # one that tells which words it knows
        self.dim = int(self._model.get_embedding_dimension())
        self.device = str(self._model.device)

    @classmethod
    def load(cls, spec: str | Path | None = None, *, device: str | None = None) -> Self:
        """Load a model from a folder, an installed package or the hub.

        Its name is the model's name and the start of its weights' SHA-256, so it is the same on
        every machine and another one for other weights.

        Args:
            spec: Path or hub id; None for the default, all-MiniLM-L6-v2.
            device: None for CUDA if there is one, else the CPU.

        Raises:
            InvalidInputError: If there is no such device here.
            ModelUnavailableError: If no source has the model.
            CorruptFileError: If its weights cannot be read.
        """
        on = str(Placement.of(device).torch_device())
        source = find_embedder(spec)
        try:
            with quiet():
                model = SentenceTransformer(
                    str(source.path),
                    device=on,
                    local_files_only=True,
                    model_kwargs={"use_safetensors": True},
                )
        except SafetensorError as error:
            raise CorruptFileError(
                f"the weights in {str(source.path)!r} cannot be read: {error}",
                hint="delete the folder and fetch the model again",
            ) from error
        label = source.name.rpartition("/")[2]
        digest = hashlib.sha256()
        for file in sorted(source.path.rglob("*.safetensors")):
            with file.open("rb") as handle:
                while chunk := handle.read(1 << 20):
                    digest.update(chunk)
        return cls(model.eval(), name=f"{label}@{digest.hexdigest()[:8]}")

    def encode_query(self, texts: Sequence[str], /) -> Floats2d:
        """Embed queries; `NonFiniteError` if the model makes NaN or infinity of a text."""
        return self._encode(self._model.encode_query, texts)

    def encode_document(self, texts: Sequence[str], /) -> Floats2d:
        """Embed passages; errors as `encode_query`."""
        return self._encode(self._model.encode_document, texts)

    @property
    def longest(self) -> int | None:
        """How many tokens of a text are embedded at most; None if the model states no limit."""
        most = self._model.max_seq_length
        return int(most) - 2 if most else None  # it counts the marks of start and end as well

    def count(self, text: str) -> int:
        """Number of tokens in ``text``; what lies beyond `longest` is not embedded."""
        return len(self._model.tokenizer(text, add_special_tokens=False, verbose=False).input_ids)

    def _unreadable(self, texts: Sequence[str]) -> list[int]:
        """Places of the texts of whose words the tokenizer knows less than half."""
        if self._tokenizer is None:
            return []
        most = int(self._model.max_seq_length or self._tokenizer.model_max_length) - 2
        beginnings = [text[: _LETTERS * most] for text in texts]
        encodings = self._tokenizer.backend_tokenizer.encode_batch(
            beginnings, add_special_tokens=False
        )
        unknown = self._tokenizer.unk_token
        return [
            place
            for place, (text, encoding) in enumerate(zip(beginnings, encodings, strict=True))
            if _mostly_unknown(text, encoding, most, unknown)
        ]

    def _encode(self, encode: Callable[..., Any], texts: Sequence[str]) -> Floats2d:
        if isinstance(texts, str):
            raise InvalidInputError(
                f"`texts` must be a sequence of str, got the str {shown(texts)}"
            )
        if not texts:
            return np.zeros((0, self.dim), dtype=np.float32)
        vectors = encode(
            list(texts),
            batch_size=_BATCH,
            normalize_embeddings=True,
            convert_to_numpy=True,
            show_progress_bar=False,
        ).astype(np.float32, copy=False)
        for place in self._unreadable(texts):
            vectors[place] = hashed(terms(texts[place]) or [texts[place]], self.dim)
        finite = np.isfinite(vectors).all(axis=1)
        if not finite.all():
            raise NonFiniteError(
                f"expected finite vectors, {self.name} made NaN or infinity of "
                f"{texts[int(finite.argmin())]!r}"
            )
        checked: Floats2d = vectors
        return checked


def _mostly_unknown(text: str, encoding: Encoding, most: int, unknown: str) -> bool:
    """Whether of the words with letters more are the unknown token than are known.

    Unknown signs, such as emoji, count only where no word is known. Single letters of other
    scripts than Latin tell nothing.
    """
    known: set[int | None] = set()
    missed: set[int | None] = set()
    signs = False
    tokens = zip(encoding.tokens, encoding.word_ids, encoding.offsets, strict=True)
    for token, word, (start, end) in islice(tokens, most):
        if word is None:  # padding
            continue
        if token != unknown:
            letters = sum(map(str.isalpha, token))
            if letters > 1 or (letters and token.isascii()):
                known.add(word)
        elif any(map(str.isalpha, text[start:end])):
            missed.add(word)
        else:
            signs = True
    return len(missed) > len(known) or (signs and not known)
