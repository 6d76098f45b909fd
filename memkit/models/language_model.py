"""A local causal language model with frozen weights: prompts in, hidden states or text out."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn import functional
from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerBase

from memkit.models.acting_tokens import ActingTokens
from memkit.models.cache_bounds import CacheBounds, room_beside, stated_context, token_bytes
from memkit.models.chat_template import ChatFormat, Message
from memkit.models.constrained import Constraints
from memkit.models.decode import Decoder
from memkit.models.fingerprint import fingerprint
from memkit.models.kv_cache import KVCache, cache_argument
from memkit.models.load_model import load_model
from memkit.models.machine_memory import memory_of
from memkit.models.model_lock import ModelLock
from memkit.models.model_probe import (
    Traits,
    check_kind,
    decoder_of,
    probe,
    sees_chunks,
    smallest_window,
)
from memkit.models.output_head import OutputHead
from memkit.models.placement import Placement
from memkit.models.quantization import keep_differentiable, quantization_of
from memkit.models.stop_tokens import eos_ids
from memkit.models.tool_template import ToolTemplate
from memkit.models.whole_rows import read_again, turning_length, turns
from memkit.types import GREEDY, CacheUse, Completion, Prompt, Sampling
from memkit.types.bounded_cache import BoundedCache

Layers = list[tuple[Tensor, Tensor]]  # keys and values, each (1, heads, tokens, head_dim)


class TransformersModel:
    """A language model that continues prompts; implements `memkit.protocols.LanguageModel`.

    Adapters are not its business: whoever installs them hands `generate` a context manager
    that turns them on and off. Whoever computes holds the model (`hold`): one thread at a time,
    which decodes for all that ask at once (`memkit.models.decode_shared`).

    Args:
        model: A causal language model of transformers; its weights are frozen.
        tokenizer: The model's fast tokenizer.
        name: For messages and reports.
        max_memory: Bytes that it may take on its device, with its caches; None for what is
            free there. A training step is computed in parts if it would take more.

    Attributes:
        context: The most tokens that the model can attend to, or None if it states no limit.
        special_tokens: Texts of the tokenizer's added tokens, which no evidence spells.
        window: How many columns every layer can see, or None if there is no such limit.
        turning_length: Beyond it rows have other frequencies; see `memkit.models.whole_rows`.
        stop_ids: Tokens that end an answer.
        head: Makes logits of hidden states.
        traits: What the model keeps of what it has read, and which of its layers see tokens.
        acting: On which tokens of a forward pass adapters act.
        constraints: What keeps answers to a schema, or to calls of tools.
        tools: How tools are shown to the model, and how it calls them.
        max_memory: As above.
        token_bytes: Of keys and values of one token.
        room: Bytes that weights and caches leave for computing.
        bounds: Of the caches that belong to the model.

    Raises:
        InvalidInputError: If its weights take more than ``max_memory``.
        IncompatibleModelError: If nothing ends an answer, or it is no decoder whose logits are
            the output embedding of the last hidden state (`memkit.models.model_probe`).
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        name: str,
        max_memory: int | None = None,
    ) -> None:
        check_kind(model)
        self.model = model.requires_grad_(requires_grad=False)
        self.model.eval()  # type: ignore[no-untyped-call]
        self.decoder: Any = decoder_of(model)  # gives hidden states
        self._cache_name = cache_argument(self.decoder)
        self.tokenizer: Any = tokenizer  # its methods carry no usable annotations
        self.name = name
        self.device: torch.device = model.device
        self.context = stated_context(model.config)
        self.chat = ChatFormat(tokenizer)
        self.special_tokens = self.chat.special_tokens
        self.stop_ids = frozenset({self.chat.end_id, *eos_ids(model, tokenizer)})
        self.tools = ToolTemplate(self.chat, tokenizer)
        self.constraints = Constraints(
            tokenizer, name=name, stop_ids=self.stop_ids, tools=self.tools
        )
        self.quantization = quantization_of(model)
        keep_differentiable(model)
        # Adapters add to the model later; these are the weights as they came.
        self._weights = dict(model.state_dict())
        self.max_memory = max_memory
        self.token_bytes = token_bytes(model.config, model.dtype.itemsize)
        self.bounds, self.room = self._budget()
        self._prefixes: BoundedCache[tuple[int, ...], Layers] = BoundedCache(
            self.bounds.prefixes, lambda layers: sum(k.nbytes + v.nbytes for k, v in layers)
        )
        self._lock = ModelLock()
        self._answers = Decoder(self, self._lock)
        self.window = smallest_window(model)
        self.turning_length = turning_length(model)
        self.head = OutputHead(model)
        self.acting = ActingTokens()
        self.traits = Traits(caches=True, layers=frozenset())  # until it is tried
        self.traits = probe(self)

    @classmethod
    def load(
        cls,
        spec: str | Path | None = None,
        *,
        device: str | torch.device | None = None,
        dtype: str | torch.dtype | None = None,
        attn_implementation: str | None = None,
        max_memory: int | str | None = None,
        quantization: str | None = None,
    ) -> Self:
        """Load a model from a folder, a GGUF file, an installed package or the hub.

        Args:
            spec: Path or hub id; None for the default, SmolLM2-135M-Instruct.
            device: Where it computes; see `memkit.models.placement.Placement`, also for the rest.
            dtype: What it computes in.
            attn_implementation: How it computes attention.
            max_memory: Bytes that it may take with its caches; or a size such as "8GiB".
            quantization: What its linear layers are quantized to.

        Raises:
            InvalidInputError: If there is no such device here, one of the others is unknown, or
                the weights take more than ``max_memory``.
            ModelUnavailableError: If no source has the model.
            CorruptFileError: If its weights cannot be read.
            IncompatibleModelError: If it is no causal language model with a tokenizer, or cannot
                compute so.
        """
        placement = Placement.of(device, dtype, attn_implementation, max_memory, quantization)
        model, tokenizer, name = load_model(spec, placement)
        return cls(model, tokenizer, name=name, max_memory=placement.max_memory)

    @property
    def size(self) -> int:
        """How many parameters the model has."""
        return self.model.num_parameters()  # quantized ones are stored several to a number

    @property
    def weight_bytes(self) -> int:
        """How many bytes the weights take."""
        return sum(weights.nbytes for weights in self.model.parameters())

    @property
    def cached(self) -> CacheUse:
        """What the remembered prefixes take, and may take."""
        return self._prefixes.use

    def hold(self, *, patient: bool = False) -> AbstractContextManager[None]:
        """Hold the model for the enclosed block; see `memkit.models.model_lock.ModelLock.hold`."""
        return self._lock.hold(patient=patient)

    # -- prompts and texts ---------------------------------------------------------------

    def count(self, text: str) -> int:
        """Number of tokens in ``text``."""
        return self.chat.count(text)

    def prompt(
        self, question: str, *, system: str | None = None, history: Sequence[Message] = ()
    ) -> Prompt:
        """Render and tokenize a conversation that ends with ``question``.

        With a chat template the prefix ends where the template opens the last message, or, if
        the system message or another is part of the last one, where the question's words begin.
        What the template has no place for is put into a user's message. Text that looks like a
        special token stays text. `InvalidInputError` if a role is unknown or a text is not valid
        Unicode, `IncompatibleModelError` if the template cannot be brought to show all messages.
        """
        return self.chat.prompt(question, system=system, history=history)

    def answer_ids(self, answer: str) -> tuple[int, ...]:
        """Token ids that the model has to produce for ``answer``, stop token included."""
        return self.chat.answer_ids(answer)

    def decode(self, ids: Sequence[int]) -> str:
        """Text of token ids, special tokens left out."""
        return str(
            self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        )

    # -- hidden states, for training and decoding alike ------------------------------------

    def past(self, prefixes: Sequence[tuple[int, ...]]) -> KVCache:
        """Encode one prefix per row; equal prefixes are encoded once and remembered.

        Call it while no adapter is on: what it remembers is the untouched model's.
        """
        lengths = torch.tensor([len(prefix) for prefix in prefixes], device=self.device)
        widest = int(lengths.max())
        mask = (torch.arange(widest, device=self.device) < lengths[:, None]).long()
        cache = DynamicCache()
        distinct = dict.fromkeys(prefixes) if self.traits.caches else ()
        layers = {prefix: self._encoded(prefix) for prefix in distinct if prefix}
        if layers:
            some = next(iter(layers.values()))
            layers[()] = [(keys[:, :, :0], values[:, :, :0]) for keys, values in some]
            for number in range(len(some)):
                rows = [layers[prefix][number] for prefix in prefixes]
                keys, values = (_padded([row[part] for row in rows], widest) for part in (0, 1))
                cache.update(keys, values, number)
        return KVCache(cache=cache, mask=mask, lengths=lengths, tokens=list(prefixes))

    def forget_prefixes(self) -> None:
        """Let go of the prefixes that `past` remembers: they may hold what was forgotten."""
        self._prefixes.clear()

    def extend(
        self, past: KVCache, sequences: Sequence[Sequence[int]], *, embedded: Tensor | None = None
    ) -> Tensor:
        """Feed every row its next tokens and note them in ``past``.

        Gradients flow if the caller has them enabled.

        Args:
            past: From `past`; changed in place.
            sequences: One per row, each with at least one token; they may differ in length.
            embedded: What enters the first layer instead of the tokens' embeddings, shape
                ``(rows, longest, hidden)``.

        Returns:
            Hidden states after the final norm, shape ``(rows, longest, hidden)``; row ``i`` is
            meaningful up to ``len(sequences[i])``.
        """
        past.tokens = [(*row, *ids) for row, ids in zip(past.tokens, sequences, strict=True)]
        lengths = torch.tensor([len(ids) for ids in sequences], device=self.device)
        columns = torch.arange(int(lengths.max()), device=self.device)
        ids = torch.zeros(len(sequences), len(columns), dtype=torch.long)
        for row, sequence in enumerate(sequences):
            ids[row, : len(sequence)] = torch.tensor(sequence)
        mask = torch.cat([past.mask, (columns < lengths[:, None]).long()], dim=1)
        # Padding repeats the row's last position, so that it stays within the model's context.
        steps = torch.minimum(columns[None, :], lengths[:, None] - 1)
        positions = past.lengths[:, None] + steps
        entering = ids.to(self.device) if embedded is None else embedded
        if self._keeps(past, mask):
            hidden = self.hidden(entering, mask, positions, past.cache)
        else:
            hidden = self._read_again(past, positions)
        past.mask, past.lengths = mask, past.lengths + lengths
        return hidden

    @property
    def splits(self) -> bool:
        """Whether rows are always computed part by part, from keys and values."""
        return self.traits.caches and self.window is None and self.turning_length is None

    @property
    def shares_passes(self) -> bool:
        """Whether threads that ask at the same time share forward passes, without holding it.

        They do where a row can join others by its keys and values, whatever lies in front of it.
        """
        return self.traits.caches and self.turning_length is None and not sees_chunks(self.model)

    def hidden(
        self, ids: Tensor, mask: Tensor, positions: Tensor, cache: DynamicCache | None = None
    ) -> Tensor:
        """Hidden states after the final norm.

        Args:
            ids: Shape ``(rows, t)``; or what enters the first layer, ``(rows, t, hidden)``.
            mask: Shape ``(rows, cached + t)``; 1 where a token is.
            positions: Shape ``(rows, t)``.
            cache: Keys and values of what came before; appended to.

        Returns:
            Shape ``(rows, t, hidden)``.
        """
        output = self.decoder(
            **{"input_ids" if ids.dim() == 2 else "inputs_embeds": ids},
            attention_mask=mask,
            position_ids=positions,
            **{self._cache_name: cache},
            use_cache=cache is not None,
        )
        hidden: Tensor = output.last_hidden_state
        return hidden

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores of the next token, shape ``(n, vocab)``, for hidden states ``(n, hidden)``."""
        return self.head(hidden)

    # -- text out --------------------------------------------------------------------------

    def generate(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling = GREEDY,
        *,
        adapters: AbstractContextManager[object] | None = None,
    ) -> list[Completion]:
        """One completion per prompt; see `memkit.protocols.LanguageModel.generate`."""
        return self._answers.generate(prompts, sampling, adapters)

    def stream(
        self,
        prompt: Prompt,
        sampling: Sampling = GREEDY,
        *,
        adapters: AbstractContextManager[object] | None = None,
    ) -> Generator[str, None, Completion]:
        """Pieces of text as they come; see `memkit.protocols.LanguageModel.stream`."""
        self._answers.check([prompt], sampling)
        return self._answers.stream(prompt, sampling, adapters)

    # -- identity ----------------------------------------------------------------------------

    @cached_property
    def fingerprint(self) -> str:
        """Tells this base model from others; see `memkit.models.fingerprint.fingerprint`."""
        return fingerprint(self._weights, self.tokenizer)

    @property
    def attn_implementation(self) -> str:
        """How attention is computed, in transformers' words."""
        return str(self.model.config.get_text_config()._attn_implementation)  # noqa: SLF001

    @property
    def computes(self) -> dict[str, str]:
        """Where and how the model computes, in words, for manifests."""
        return {
            "device": self.device.type,
            "dtype": str(self.model.dtype).removeprefix("torch."),
            "attn_implementation": self.attn_implementation,
            **({"quantization": self.quantization} if self.quantization else {}),
        }

    # -- inside --------------------------------------------------------------------------------

    def _budget(self) -> tuple[CacheBounds, int]:
        """Bounds of the caches, and what is left for computing."""
        room = room_beside(
            self.weight_bytes,
            limit=self.max_memory,
            free=memory_of(self.device).free,
            name=self.name,
        )
        bounds = CacheBounds.within(room, token=self.token_bytes, context=self.context)
        return bounds, room - sum(bounds)

    def _encoded(self, prefix: tuple[int, ...]) -> Layers:
        """Keys and values of a prefix, from memory if it is there."""
        kept = self._prefixes.get(prefix)
        if kept is not None:
            return kept
        ids = torch.tensor([prefix], device=self.device)
        cache = DynamicCache()
        with torch.no_grad():
            positions = torch.arange(len(prefix), device=self.device)[None]
            self.hidden(ids, torch.ones_like(ids), positions, cache)
        encoded: list[Any] = cache.layers  # the union's other members have no keys and values
        layers = [(layer.keys, layer.values) for layer in encoded]
        self._prefixes.put(prefix, layers)
        return layers

    def _keeps(self, past: KVCache, mask: Tensor) -> bool:
        """Whether columns under a mask can be computed from keys and values.

        A layer with a window counts columns: with holes between them it would see too few.
        """
        rows, columns = mask.shape
        beyond = rows > 1 and self.window is not None and columns > self.window
        holes = beyond and bool((mask.diff(dim=1) < 0).any())  # behind some token
        return self.traits.caches and not holes and not turns(past, self.turning_length)

    def _read_again(self, past: KVCache, positions: Tensor) -> Tensor:
        """The states of the newest tokens; the prefixes stay as the untouched model's."""
        hidden = read_again(self, past)
        return hidden.gather(1, positions[:, :, None].expand(-1, -1, hidden.shape[-1]))


def _padded(rows: Sequence[Tensor], widest: int) -> Tensor:
    return torch.cat([functional.pad(row, (0, 0, 0, widest - row.shape[2])) for row in rows])
