"""Puts a memory's parts together: which backends, over which ledger, with which models."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self, TypeGuard, TypeVar

from memkit.answering.prompt import PromptFormat
from memkit.buffer import BufferBackend
from memkit.errors import ModelUnavailableError, UnsupportedOperationError
from memkit.ledger import Ledger
from memkit.memory.assembly import Parts, recover
from memkit.memory.config import Config, CountTokens, check_embedder
from memkit.memory.place import check_place
from memkit.memory.telemetry import creating
from memkit.models.sources import settled
from memkit.protocols import Backend, Embedder, LanguageModel, Reranker
from memkit.types import BackendName, CacheUse
from memkit.types.validate import check_flag

if TYPE_CHECKING:
    from memkit.answering.generate import Answerer
    from memkit.answering.quote import Quoter
    from memkit.answering.relevance import Relevance
    from memkit.lora.consolidation.consolidate import Consolidator
    from memkit.lora.lora_backend import LoraBackend
    from memkit.models.language_model import TransformersModel
    from memkit.rag.index import FactIndex
    from memkit.rag.rag_backend import RagBackend

logger = logging.getLogger(__name__)

Part = TypeVar("Part")

# Parameters: smaller base models quote by default, as SmolLM2-135M words every other answer wrong
# (docs/decisions/0013-quotations.md); no larger model was measured.
QUOTES_BELOW = 1_000_000_000


class Counter(NamedTuple):
    """What counts the tokens of evidence, and which special tokens evidence must not spell."""

    name: str
    count: CountTokens
    special_tokens: tuple[str, ...] = ()


class Engine:
    """The parts of one open memory; heavy ones are made when they are first needed.

    Args:
        ledger: Open already.
        config: Which parts there are.
    """

    def __init__(self, ledger: Ledger, config: Config) -> None:
        self.ledger = ledger
        self.config = replace(
            config, base_model=settled(config.base_model), embedder=settled(config.embedder)
        )
        self._base: LanguageModel | None = None
        self._parts: Parts | None = None
        self._loading, self._making = threading.Lock(), threading.RLock()
        self._closed = False

    @classmethod
    def open(cls, path: str | Path, config: Config | None = None, *, create: bool = True) -> Self:
        """Open a memory's ledger, and bring what is derived from it in line."""
        config = config or Config()
        place = check_place(path)
        check_flag("create", create)
        with creating(place, create=create):
            ledger = Ledger.open(place, create=create, busy_timeout=config.busy_timeout)
        engine = cls(ledger, config)
        try:
            recover(engine)
        except BaseException as exc:
            try:
                engine.close()
            except Exception as of_cleanup:  # noqa: BLE001 - must not hide why opening failed
                exc.add_note(f"closing failed as well: {of_cleanup!r}")
            raise
        return engine

    @property
    def needs_parts(self) -> bool:
        """Whether there is anything among the backends that needs an embedder."""
        return bool({"rag", "lora"} & set(self.names))

    @property
    def parts(self) -> Parts:
        """The heavy parts; made when they are first needed, by one thread while others wait.

        A transaction of the ledger must not be open then: the thread that makes them reads it.
        """
        if self._parts is None:
            with self._making:
                if self._parts is None:
                    self._parts = Parts.of(self)
        return self._parts

    @property
    def index(self) -> FactIndex | None:
        """The index of facts: rag searches it, the adapter router lets its facts vote."""
        return self.parts.indexing.facts if self.needs_parts else None

    def load_index(self) -> FactIndex:
        """Load the embedder, and the index of what it has embedded."""
        from memkit.rag.index import FactIndex

        return FactIndex(
            self.ledger,
            self.load_embedder(self.config.embedder),
            rebuild=self.config.rebuild,
            ranking=self.config.ranking,
            reranker=self.load_reranker(),
            vector_index=self.config.vector_index,
        )

    @cached_property
    def buffer(self) -> BufferBackend | None:
        """Recent turns; also the records themselves where no index can find them."""
        if "buffer" not in self.names:
            return None
        return BufferBackend(self.ledger, with_records=self.names == ("buffer",))

    @property
    def rag(self) -> RagBackend | None:
        """Retrieval."""
        return self.parts.indexing if "rag" in self.names else None

    @property
    def lora(self) -> LoraBackend | None:
        """Adapters."""
        return self.parts.lora if "lora" in self.names else None

    def make_lora(self, index: FactIndex) -> LoraBackend:
        """The backend of adapters, with the router that the recipe names."""
        from memkit.lora.compatibility import adaptable
        from memkit.lora.lora_backend import LoraBackend
        from memkit.routing.registry import router_of

        given = self.config.base_model
        if not (given is None or isinstance(given, str | Path)):
            adaptable(given)
        recipe = self.consolidator.recipe
        router = router_of(recipe.router, index, self.ledger)
        return LoraBackend(
            self.ledger,
            router,
            lambda: self.base,
            recipe.prompt_format,
            row_dtype=recipe.row_dtype,
        )

    @cached_property
    def consolidator(self) -> Consolidator:
        """Trains records into adapters."""
        from memkit.lora.consolidation.consolidate import Consolidator, Recipe

        recipe = self.config.recipe or Recipe()
        return Consolidator(recipe, lock_timeout=self.config.busy_timeout)

    @property
    def base(self) -> LanguageModel:
        """The language model."""
        with self._loading:  # threads share one
            if self._base is None:
                self._base = self.load_base()
            return self._base

    @property
    def base_name(self) -> str:
        """Name of the local language model, loaded or not."""
        given = self.config.base_model
        if not (given is None or isinstance(given, str | Path)):
            return given.name
        from memkit.models.sources import find_base

        return find_base(given).name

    @cached_property
    def answerer(self) -> Answerer:
        """Answers with the local language model."""
        from memkit.answering.generate import Answerer

        base = self.base if self.lora is None else self.lora.base
        # A format or a language model of the caller's own is used as it is.
        examples = False
        if _is_local(base) and self.prompt_format == PromptFormat():
            from memkit.answering.reading import has_room

            examples = has_room(base)
        return Answerer(base, self.lora, self.prompt_format, examples=examples)

    @cached_property
    def relevance(self) -> Relevance | None:
        """Judges passages with the base model; None where a part of the caller's own does."""
        if self.config.reranker is not None or not _is_local(self.base):
            return None
        from memkit.answering.relevance import Relevance

        return Relevance(self.base, self.prompt_format)

    @cached_property
    def quoter(self) -> Quoter | None:
        """Answers in stored words; None where nothing judges them, or gives their vectors."""
        if self.relevance is None or self.index is None:
            return None
        from memkit.answering.quote import Quoter

        return Quoter(self.relevance, self.index.similarities)

    @property
    def words_well(self) -> bool:
        """Whether the base model words answers itself, rather than quote what is stored."""
        return not _is_local(self.base) or self.base.size >= QUOTES_BELOW

    @property
    def prompt_format(self) -> PromptFormat:
        """How evidence is put before a question."""
        recipe = self.config.recipe
        return PromptFormat() if recipe is None else recipe.prompt_format

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the backends that the memory was opened with."""
        return self.config.names

    @cached_property
    def backends(self) -> Sequence[Backend]:
        """All that is written to and deleted from."""
        made = self.parts if self.needs_parts else None
        derived = [None, None] if made is None else [made.indexing, made.lora]
        parts = [self.buffer, derived[0], *self.config.own_backends, derived[1]]
        return [part for part in parts if part is not None]

    @cached_property
    def backends_asked(self) -> Sequence[Backend]:
        """Those that contribute evidence, in order of precedence."""
        return [backend for backend in self.backends if backend.name in self.names]

    @cached_property
    def counter(self) -> Counter:
        """What counts the tokens of a budget."""
        given = self.config.base_model
        if self.config.count_tokens is not None:
            return Counter("count_tokens", self.config.count_tokens)
        if not (given is None or isinstance(given, str | Path)):
            return Counter(given.name, given.count, getattr(given, "special_tokens", ()))
        from memkit.models.token_counter import load_tokenizer

        try:
            tokenizer = load_tokenizer(given)
            return Counter("the base model's tokenizer", tokenizer.count, tokenizer.special_tokens)
        except ModelUnavailableError as exc:
            if given is not None:
                raise
            logger.warning("counting tokens by length, as there is no base model: %s", exc.message)
            return Counter("an estimate of 3 bytes a token", lambda t: -(-len(t.encode()) // 3))

    def need_index(self, verb: str) -> FactIndex:
        """The index of facts, for a verb that cannot do without.

        Raises:
            UnsupportedOperationError: If the memory was opened without "rag" and "lora".
        """
        return self._need(self.index, "rag", verb)

    def need_rag(self, verb: str) -> RagBackend:
        """The rag backend, for a verb that cannot do without.

        Raises:
            UnsupportedOperationError: If the memory was opened without it.
        """
        return self._need(self.rag, "rag", verb)

    def need_lora(self, verb: str) -> LoraBackend:
        """The lora backend, for a verb that cannot do without.

        Raises:
            UnsupportedOperationError: If the memory was opened without it.
        """
        return self._need(self.lora, "lora", verb)

    def require(self, name: BackendName, verb: str) -> None:
        """Refuse a verb without its backend, which is not made for that.

        Raises:
            UnsupportedOperationError: If the memory was opened without it.
        """
        self._need(name if name in self.names else None, name, verb)

    def _need(self, part: Part | None, name: BackendName, verb: str) -> Part:
        if part is None:
            raise UnsupportedOperationError(
                f"{verb} needs the {name!r} backend, the memory was opened with "
                f"backends={self.config.backends!r}",
                hint=f"open it with {name!r} among the backends",
            )
        return part

    def drop_caches(self) -> None:
        """Let go of what the base model and training remember of earlier texts."""
        if self._base is not None:
            self._base.forget_prefixes()
        if "consolidator" in self.__dict__:
            self.consolidator.forget_examples()

    @property
    def caches(self) -> dict[str, CacheUse]:
        """What the caches of all that is loaded by now take, and may take."""
        found: dict[str, CacheUse] = {}
        if self._parts is not None:
            found["queries"] = self._parts.indexing.facts.cached
            if self._parts.lora is not None:
                found |= self._parts.lora.cached
        if self._base is not None and _is_local(self._base):
            found["prefixes"] = self._base.cached
        if "consolidator" in self.__dict__:
            found |= self.consolidator.cached
        return found

    def catch_up(self) -> None:
        """Let the backends take in what the ledger holds and they do not have."""
        for backend in self.backends:
            backend.sync(self.ledger.records)

    def close(self) -> None:
        """Close what is open; the ledger last. Repeating it changes nothing."""
        if self._closed:
            return
        self._closed = True
        with ExitStack() as parts:  # all are closed, whichever fails; the last one first
            parts.enter_context(closing(self.ledger))
            for backend in self.config.own_backends[::-1]:
                parts.enter_context(closing(backend))
            if self._parts is not None:
                parts.enter_context(closing(self._parts))
        self._base = None

    def load_base(self) -> LanguageModel:
        """Give the language model as it is, or load it by folder or hub id."""
        given, placement = self.config.base_model, self.config.placement
        if not (given is None or isinstance(given, str | Path)):
            return given
        from memkit.models.language_model import TransformersModel

        return TransformersModel.load(
            given,
            device=placement.device,
            dtype=placement.dtype,
            attn_implementation=placement.attn_implementation,
            max_memory=placement.max_memory,
            quantization=placement.quantization,
        )

    def load_reranker(self) -> Reranker | None:
        """Give a reranker as it is, or load it by folder or hub id."""
        given = self.config.reranker
        if not isinstance(given, str):
            return given
        from memkit.rag.reranker import CrossEncoderReranker

        return CrossEncoderReranker.load(given, device=self.config.placement.device)

    def load_embedder(self, given: str | Path | Embedder | None) -> Embedder:
        """Give an embedder as it is, or load it by folder or hub id; None for the default."""
        check_embedder(given)
        if not (given is None or isinstance(given, str | Path)):
            return given
        from memkit.models.embedder import SentenceEmbedder

        return SentenceEmbedder.load(given, device=self.config.placement.device)


def _is_local(base: LanguageModel) -> TypeGuard[TransformersModel]:
    """Whether a language model is memkit's own; torch is not loaded to find that out."""
    if "memkit.models.language_model" not in sys.modules:
        return False
    from memkit.models.language_model import TransformersModel

    return isinstance(base, TransformersModel)
