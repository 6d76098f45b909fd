"""One memory over three places: adapters, an index and the prompt. The verbs, no algorithms."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, Unpack, overload

from memkit.memory import ask, forget, learning, recall, statistics, transfer, write
from memkit.memory.chat_log import import_messages
from memkit.memory.engine import Engine
from memkit.memory.modules import Modules
from memkit.memory.options import (
    AskOptions,
    BatchOptions,
    DraftOptions,
    ExplainOptions,
    MessageOptions,
    OpenOptions,
    Question,
    RecallOptions,
    Selection,
    TurnOptions,
    config_of,
)
from memkit.memory.reach import seen_by, selected_by
from memkit.memory.retention import Retention
from memkit.memory.vectors import Vectors
from memkit.types import (
    BUDGET,
    UNCHANGED,
    Answer,
    AnyScope,
    ConsolidationReport,
    Hit,
    ImportReport,
    Metadata,
    Page,
    Recall,
    Receipt,
    Record,
    Scope,
    Stats,
    TransferReport,
    Turn,
    TurnDraft,
    Unchanged,
    Version,
)
from memkit.types.drafts import DraftLike

if TYPE_CHECKING:
    from memkit.answering.explain import Explanation
    from memkit.answering.generate import AnswerStream
    from memkit.ledger.items import ItemTable
    from memkit.ledger.transfer.import_ import OnConflict

SHARED: Scope = {}  # what everybody may see


class Memory:
    """A memory for language-model agents, in one directory.

    ``Memory(path)`` is ``Memory.open(path)``, options included. Threads may share a `Memory`, and
    several processes a directory.

    A query with a scope sees a record if every key of the record's scope has the same value in
    the query's. Without a scope, no verb shows, changes or forgets other than shared records;
    ``scope="all"`` is every scope. Verbs that list, count or forget take a scope and all narrower
    ones; those that move or maintain the memory as a whole take all of it by default.

    Bad input raises `InvalidInputError`, and nothing is changed. An id that is unknown, or of a
    record that the given scope may not see, raises `RecordNotFoundError`; a turn's id stands for
    its record. A verb without its backend raises `UnsupportedOperationError`.

    Attributes:
        items: JSON objects under a namespace and a key; what stores for agents are made of.
        modules: The adapter modules: list, roll back, retrain, export, import.
        retention: How long records live: pin, expire, sweep.
        vectors: Search and read by vector, and change the embedder.
    """

    def __init__(
        self, path: str | Path, *, create: bool = True, **options: Unpack[OpenOptions]
    ) -> None:
        self._engine = engine = Engine.open(path, config_of(options), create=create)
        self.items: ItemTable = engine.ledger.items
        self.modules = Modules(engine)
        self.retention = Retention(engine)
        self.vectors = Vectors(engine)

    @classmethod
    def open(cls, path: str | Path, *, create: bool = True, **options: Unpack[OpenOptions]) -> Self:
        """Open a memory, or make one.

        Args:
            path: Its directory.
            create: Whether to make the memory if there is none.
            **options: Backends, models and settings; see `OpenOptions`.

        Raises:
            NotAMemoryError: If the path holds something else.
            IncompatibleModelError: If it was made with another embedder or for another base model.
            FormatVersionError: If a newer memkit wrote it.
            CorruptFileError: If the ledger is damaged.
        """
        return cls(path, create=create, **options)

    def close(self) -> None:
        """Write the index file and close the ledger. Repeating it changes nothing."""
        self._engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Memory({str(self._engine.ledger.directory)!r}, {self._engine.names})"

    @overload
    def add(  # type: ignore[overload-overlap]  # a string is one text, not an iterable of them
        self, text: DraftLike, **options: Unpack[DraftOptions]
    ) -> Record: ...

    @overload
    def add(self, text: Iterable[DraftLike], **options: Unpack[DraftOptions]) -> list[Record]: ...

    def add(
        self, text: DraftLike | Iterable[DraftLike], **options: Unpack[DraftOptions]
    ) -> Record | list[Record]:
        """Store knowledge; it can be recalled as soon as this returns, and survives a crash.

        The same text is stored once in a scope. New metadata of it, a question, another text
        under its key or another answer to its question become the record's next version.

        Args:
            text: A text, a `Draft` or a dict of its fields; or an iterable, stored all or not.
            **options: What goes with a text; see `DraftOptions`.
        """
        return write.store(self._engine, text, options)

    def add_turn(self, role: str, content: str, **options: Unpack[TurnOptions]) -> Turn:
        """Note who said what in a conversation; see `TurnOptions`."""
        return write.note(self._engine, role, content, options)

    def add_turns(self, turns: Iterable[TurnDraft], *, scope: Scope = SHARED) -> list[Turn]:
        """Note several turns or none; returns those whose id the conversation did not have yet."""
        return write.note_all(self._engine, turns, scope)

    def add_messages(
        self, messages: Sequence[Mapping[str, Any]], **options: Unpack[MessageOptions]
    ) -> ImportReport:
        """Take in a chat log in OpenAI's format, as turns of a conversation and as records.

        What tools returned becomes turns only; instructions and recalled evidence are left out.
        A log that has grown can be handed in again: messages that are there are known by their
        ``id``, or else by what they say and how often it was said before; see `MessageOptions`.
        """
        return import_messages(self._engine, messages, options)

    def update(
        self,
        id: str,
        text: str | Unchanged = UNCHANGED,
        *,
        question: str | Unchanged | None = UNCHANGED,
        answer: str | Unchanged | None = UNCHANGED,
        metadata: Metadata | Unchanged | None = UNCHANGED,
        scope: AnyScope | None = None,
    ) -> Record:
        """Write a new version of a record; what is not given stays, and None takes it away.

        Adapters that hold the old version no longer answer for it; `consolidate` trains the new
        one. A text that contradicts the answer that would stay is refused.
        """
        changes = write.Changes(text, question, answer, metadata)
        return write.rewrite(self._engine, id, changes, scope=seen_by(scope))

    def merge(self, ids: Sequence[str], *, scope: AnyScope | None = None) -> Record:
        """Make one record of at least two of the same scope: the pinned one, or the newest.

        What the others said becomes part of its history until it is forgotten; their turns
        belong to it. It expires when the first of them would have.
        """
        return write.merge(self._engine, ids, scope=seen_by(scope))

    def consolidate(
        self,
        *,
        scope: Scope | None = None,
        where: Metadata | None = None,
        include_turns: bool = False,
        retry_missed: bool = False,
    ) -> ConsolidationReport:
        """Move knowledge into the weights: train, verify and commit adapter modules.

        Takes every record that no module holds as it is now. A record counts as held only after
        its recall from the weights was verified; the others stay with rag. Modules that hold an
        older text, or have lost their file, are trained again; what has expired is destroyed.

        Args:
            scope: Only records of this scope.
            where: Only records that pass this metadata filter.
            include_turns: Also learn the turns of conversations.
            retry_missed: Also try records on which the same training has failed before.

        Raises:
            BusyError: If another process is consolidating this memory.
            TrainingError: If training diverges; modules that are done stay.
        """
        selection = learning.Learnable(scope, where, include_turns, retry_missed)
        return learning.consolidate(self._engine, selection)

    def forget(
        self,
        id: str | Sequence[str] | None = None,
        *,
        scope: AnyScope | None = None,
        where: Metadata | None = None,
        retrain: bool = True,
    ) -> Receipt:
        """Erase records from the ledger, the indexes, the caches and the weights.

        Args:
            id: One record or turn, or several; if one is unknown, nothing is erased.
            scope: Everything of this scope, turns included; with ``id``, refuse other records.
            where: Only records that pass this metadata filter.
            retrain: Train the modules that held the records anew without them; False drops
                them, as does a failure, and leaves their other records to rag.
        """
        return forget.forget(self._engine, id, scope=scope, where=where, retrain=retrain)

    def forget_all(self) -> Receipt:
        """Erase all records, turns, items and modules of all scopes; the empty memory stays."""
        return forget.forget_all(self._engine)

    def clear(self, scope: Scope = SHARED) -> Receipt:
        """Erase the turns of exactly this conversation; records that were made of them stay."""
        return forget.clear(self._engine, scope)

    def get(self, id: str, *, scope: AnyScope | None = None) -> Record:
        """Give a record as it is now."""
        return self._engine.ledger.records.get([id], scope=seen_by(scope))[0]

    def get_many(self, ids: Sequence[str], *, scope: AnyScope | None = None) -> list[Record]:
        """Give several records in the order asked; what is missing or not visible is left out."""
        return self._engine.ledger.records.find(ids, scope=seen_by(scope))

    def __contains__(self, id: object) -> bool:
        id = id.id if isinstance(id, Record) else id
        return self._engine.ledger.records.has(id, scope=SHARED)

    def __iter__(self) -> Iterator[Record]:
        """All shared records, in the order in which they were added; `records` lists others."""
        page = self.records()
        yield from page.records
        while page.next is not None:
            page = self.records(after=page.next)
            yield from page.records

    def records(
        self,
        *,
        scope: AnyScope | None = None,
        where: Metadata | None = None,
        after: str | None = None,
        limit: int = 100,
    ) -> Page:
        """List records in the order in which they were added, selected as by `forget`."""
        reach = selected_by(scope)
        return self._engine.ledger.records.page(**reach, where=where, after=after, limit=limit)

    def count(self, *, scope: AnyScope | None = None, where: Metadata | None = None) -> int:
        """Count the records that `records` would list."""
        return self._engine.ledger.records.count(**selected_by(scope), where=where)

    def history(self, id: str, *, scope: AnyScope | None = None) -> list[Version]:
        """List the versions of a record, the oldest first and the current one last."""
        return self._engine.ledger.records.history(self.get(id, scope=scope).id)

    def turns(self, *, scope: Scope = SHARED, limit: int = 50) -> list[Turn]:
        """List the newest turns of exactly this conversation, the oldest of them first."""
        return self._engine.ledger.turns.recent(scope, limit)[::-1]

    def scopes(self) -> list[Scope]:
        """List the scopes that have records or turns, in the order of their keys and values."""
        return self._engine.ledger.scopes()

    def search(self, query: Question, k: int = 5, **selection: Unpack[Selection]) -> list[Hit]:
        """Find the ``k`` best records by meaning and by words; see `Selection` and `recall`."""
        return recall.search(self._engine, query, k, selection)

    def stats(self, *, scope: Scope | None = None) -> Stats:
        """Count what the memory holds, or what of it is of a scope or of narrower ones."""
        return statistics.stats(self._engine, scope)

    @property
    def model_name(self) -> str:
        """Name of the base model that answers; it is not loaded for that."""
        return self._engine.base_name

    def count_tokens(self, text: str) -> int:
        """Count the tokens of a text as for a budget: with the base model's tokenizer."""
        return statistics.count_tokens(self._engine, text)

    def recall(
        self, question: Question, budget: int = BUDGET, **options: Unpack[RecallOptions]
    ) -> Recall:
        """Gather evidence for any language model, within a token budget; needs none itself.

        Args:
            question: The user's words, or messages that end with them: the last one decides.
            budget: Most tokens that the evidence may take; 0 for the route alone.
            **options: What takes part; see `RecallOptions`.
        """
        return recall.recall(self._engine, question, budget, options)

    def explain(
        self, question: Question, budget: int = BUDGET, **options: Unpack[ExplainOptions]
    ) -> Explanation:
        """Show route, evidence and prompt without generating an answer; print the result."""
        return recall.explain(self._engine, question, budget, options)

    def ask(
        self, question: Question, budget: int = BUDGET, **options: Unpack[AskOptions]
    ) -> Answer:
        """Answer with the local base model, the routed adapters and what is recalled.

        `Answer.claims`, `citations` and `conflict` say how it compares with what is stored.

        Args:
            question: The user's words; or messages that end with them, whose opening system
                messages take the place of the usual one.
            budget: Most tokens of evidence in the prompt; 0 answers from the weights alone.
                Passages are left out where the routed modules are sure of the answer.
            **options: What takes part, and how it is answered; see `AskOptions`.

        Raises:
            ModelUnavailableError: If there is no base model.
            IncompatibleModelError: If the adapters were trained for another one.
        """
        return self.ask_batch([question], budget, **options)[0]

    def ask_batch(
        self, questions: Sequence[Question], budget: int = BUDGET, **options: Unpack[BatchOptions]
    ) -> list[Answer]:
        """Like `ask`, for several questions at once; each row has its own adapters."""
        return ask.ask_batch(self._engine, questions, budget, options)

    def stream(
        self, question: Question, budget: int = BUDGET, **options: Unpack[AskOptions]
    ) -> AnswerStream:
        """Like `ask`, piece by piece (strict: in one piece); at the end ``answer`` is there."""
        return ask.stream(self._engine, question, budget, options)

    def export(
        self, path: str | Path, *, scope: Scope | None = None, adapters: bool = False
    ) -> TransferReport:
        """Write records with their versions, turns, items and times to live to one file.

        JSON lines under zstd with a checksum, all as it is at one moment; vectors are made again
        by `import_`. `forget` does not reach the file.

        Args:
            path: The file; it is replaced as a whole, or stays as it was.
            scope: Only what is of this scope.
            adapters: Also write each module as a folder for PEFT, below ``path + ".adapters"``.
        """
        return transfer.export(self._engine, path, scope=scope, adapters=adapters)

    def import_(
        self,
        path: str | Path,
        *,
        scope: Scope | None = None,
        on_conflict: OnConflict = "error",
        adapters: bool = False,
    ) -> TransferReport:
        """Take in what `export` has written, with its ids, versions and times, as a whole.

        Args:
            path: The file; nothing in it is executed.
            scope: Only what is of this scope; nothing else is changed (`TransferReport.renamed`).
            on_conflict: Where the memory has something else under the same id, key or content:
                "error" refuses the whole file, "skip" keeps what is here, "replace" takes what
                comes and leaves its modules to be trained again by `consolidate`.
            adapters: Also take in the modules beside the file, as by `Modules.import_`.

        Raises:
            CorruptFileError: If the file is damaged, cut off, or no export.
            FormatVersionError: If a newer memkit wrote it.
            IncompatibleModelError: If the adapters are for another base model.
        """
        return transfer.import_(
            self._engine, path, scope=scope, on_conflict=on_conflict, adapters=adapters
        )
