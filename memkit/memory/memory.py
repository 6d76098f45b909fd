"""One memory over three places: adapters, an index and the prompt. The verbs, no algorithms."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, Unpack, overload

from memkit.memory import ask, forget, learning, lookup, recall, statistics, transfer, write
from memkit.memory.chat_log import import_messages
from memkit.memory.config import OpenOptions
from memkit.memory.engine import Engine
from memkit.memory.memory_jobs import Job, Jobs
from memkit.memory.modules import Modules
from memkit.memory.options import (
    AskOptions,
    BatchOptions,
    ConsolidateOptions,
    DraftOptions,
    ExplainOptions,
    ImportOptions,
    MessageOptions,
    Question,
    RecallOptions,
    Selection,
    TurnOptions,
    config_of,
)
from memkit.memory.reach import SHARED, seen_by, selected_by
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
from memkit.types.validate import check_flag

if TYPE_CHECKING:
    from memkit.answering.generate import AnswerStream
    from memkit.ledger.items import ItemTable
    from memkit.types.explanation import Explanation


class Memory:
    """A memory for language-model agents, in one directory.

    ``Memory(path)`` is ``Memory.open(path)``, options included. Threads may share a `Memory`, and
    several processes a directory.

    A query sees a record if the query's scope has every key of the record's scope, with the same
    value. Without a scope, verbs see and change shared records only; ``scope="all"`` means every
    scope. Verbs that list, count or forget take a scope with all narrower ones; those that move
    or maintain the memory as a whole take all of it by default.

    Bad input raises `InvalidInputError`, and nothing changes. An id that is unknown, or that the
    given scope may not see, raises `RecordNotFoundError`; a turn's id stands for its record. A
    verb whose backend is missing raises `UnsupportedOperationError`.

    Attributes:
        items: JSON objects under a namespace and a key, for stores of agents.
        jobs: Consolidation in the background: list, wait, cancel, work.
        modules: The adapter modules: list, roll back, retrain, export, import.
        retention: How long records live: pin, expire, sweep.
        vectors: Search and read by vector, and change the embedder.
    """

    def __init__(
        self, path: str | Path, *, create: bool = True, **options: Unpack[OpenOptions]
    ) -> None:
        self._engine = engine = Engine.open(path, config_of(options), create=create)
        self.items: ItemTable = engine.ledger.items
        self.jobs = Jobs(engine)
        self.modules = Modules(engine)
        self.retention = Retention(engine)
        self.vectors = Vectors(engine)

    @classmethod
    def open(cls, path: str | Path, *, create: bool = True, **options: Unpack[OpenOptions]) -> Self:
        """Open a memory, or make one.

        Args:
            path: Its directory, or ``postgresql://user@host/db?schema=notes``.
            create: Whether to make the memory if it does not exist.
            **options: Backends, models and settings; see `OpenOptions`.

        Raises:
            NotAMemoryError: If the path holds something else.
            IncompatibleModelError: If it was made with another embedder or for another base model.
            FormatVersionError: If a newer memkit wrote it.
            CorruptFileError: If the ledger is damaged.
        """
        return cls(path, create=create, **options)

    def close(self) -> None:
        """Write the index file and close the ledger. A second call does nothing."""
        self.jobs.stop()
        self._engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Memory({self._engine.ledger.name!r}, {self._engine.names})"

    @overload
    def add(  # type: ignore[overload-overlap]  # a string is one text, not an iterable of them
        self, text: DraftLike, **options: Unpack[DraftOptions]
    ) -> Record: ...

    @overload
    def add(self, text: Iterable[DraftLike], **options: Unpack[DraftOptions]) -> list[Record]: ...

    def add(
        self, text: DraftLike | Iterable[DraftLike], **options: Unpack[DraftOptions]
    ) -> Record | list[Record]:
        """Store knowledge. It can be found as soon as this returns, and survives a crash.

        The same text is stored once in a scope. New metadata or a question for it, another text
        under its key, or another answer to its question make the record's next version.

        Args:
            text: A text, a `Draft` or a dict of its fields; or many of them, all stored or none.
            **options: What goes with the text; see `DraftOptions`.
        """
        return write.store(self._engine, text, options)

    def add_turn(self, role: str, content: str, **options: Unpack[TurnOptions]) -> Turn:
        """Note what somebody said in a conversation; see `TurnOptions`."""
        return write.note(self._engine, role, content, options)

    def add_turns(self, turns: Iterable[TurnDraft], *, scope: Scope = SHARED) -> list[Turn]:
        """Note several turns, all or none; returns those whose id was new to the conversation."""
        return write.note_all(self._engine, turns, scope)

    def add_messages(
        self, messages: Sequence[Mapping[str, Any]], **options: Unpack[MessageOptions]
    ) -> ImportReport:
        """Take in a chat log in OpenAI's format, as turns of a conversation and as records.

        Results of tools become turns only; instructions and recalled evidence are left out. You
        can hand in a log again when it has grown: a message is recognized by its ``id``, or else
        by what it says and how often that was said before; see `MessageOptions`.
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
        """Write a new version of a record. What you leave out stays; None takes it away.

        ``metadata`` replaces all there is of it, so give the keys that are to stay as well.
        Adapters that hold the old version stop answering for the record until `consolidate` has
        trained the new one. A text without the answer that would stay is refused.
        """
        changes = write.Changes(text, question, answer, metadata)
        return write.rewrite(self._engine, id, changes, scope=seen_by(scope))

    def merge(self, ids: Sequence[str], *, scope: AnyScope | None = None) -> Record:
        """Make one record of two or more of the same scope; the pinned or else the newest stays.

        What the others said becomes part of its history, and their turns belong to it. It
        expires when the first of them would have.
        """
        return write.merge(self._engine, ids, scope=seen_by(scope))

    @overload
    def consolidate(
        self, *, wait: Literal[True] = True, **options: Unpack[ConsolidateOptions]
    ) -> ConsolidationReport: ...

    @overload
    def consolidate(
        self, *, wait: Literal[False], **options: Unpack[ConsolidateOptions]
    ) -> Job: ...

    def consolidate(
        self, *, wait: bool = True, **options: Unpack[ConsolidateOptions]
    ) -> ConsolidationReport | Job:
        """Move knowledge into the weights: train, verify and commit adapter modules.

        Takes every record that no module holds in its current version. A record counts as held
        once it was recalled from the weights in a test; the others stay with the index. Modules
        that hold an older text, or lost their file, are trained again. Expired records are
        destroyed.

        Args:
            wait: False makes a job of it, and returns at once; see `Jobs`.
            **options: Which records; see `ConsolidateOptions`.

        Raises:
            BusyError: If another process is consolidating this memory.
            TrainingError: If training diverges; modules that were finished stay.
        """
        check_flag("wait", wait)
        if wait:
            return learning.consolidate(self._engine, options)
        job = self.jobs.put(**options)
        self.jobs.start()
        return job

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
            id: A record or turn, or several; if any is unknown, nothing is erased.
            scope: Everything of this scope, turns included; with ``id``, refuse other records.
            where: Only records that pass this metadata filter.
            retrain: Train the modules that held the records again, without them. False drops
                these modules, as a failure does, and leaves their other records to rag.
        """
        return forget.forget(self._engine, id, scope=scope, where=where, retrain=retrain)

    def forget_all(self) -> Receipt:
        """Erase all records, turns, items and modules of all scopes; an empty memory is left."""
        return forget.forget_all(self._engine)

    def clear(self, scope: Scope = SHARED) -> Receipt:
        """Erase the turns of exactly this conversation; records made of them stay."""
        return forget.clear(self._engine, scope)

    def get(self, id: str, *, scope: AnyScope | None = None) -> Record:
        """Return a record as it is now."""
        return self._engine.ledger.records.get([id], scope=seen_by(scope))[0]

    def get_many(self, ids: Sequence[str], *, scope: AnyScope | None = None) -> list[Record]:
        """Return several records in the order asked; missing or invisible ones are left out."""
        return self._engine.ledger.records.find(ids, scope=seen_by(scope))

    def get_by_prefix(
        self, prefix: str, *, scope: AnyScope | None = None, limit: int = 10
    ) -> list[Record]:
        """Return the first ``limit`` records, by id, whose id begins with ``prefix``."""
        return self._engine.ledger.records.beginning(prefix, scope=seen_by(scope), limit=limit)

    def __contains__(self, id: object) -> bool:
        return lookup.has(self._engine, id)

    def __iter__(self) -> Iterator[Record]:
        """Iterate over all shared records, oldest first; `records` lists others, too."""
        return lookup.every(self._engine)

    def records(
        self,
        *,
        scope: AnyScope | None = None,
        where: Metadata | None = None,
        after: str | None = None,
        limit: int = 100,
    ) -> Page:
        """List records, oldest first, selected as by `forget`."""
        return lookup.page(self._engine, scope, where=where, after=after, limit=limit)

    def count(self, *, scope: AnyScope | None = None, where: Metadata | None = None) -> int:
        """Count the records that `records` would list."""
        return self._engine.ledger.records.count(**selected_by(scope), where=where)

    def history(self, id: str, *, scope: AnyScope | None = None) -> list[Version]:
        """List the versions of a record, oldest first; the last one is current."""
        return self._engine.ledger.records.history(self.get(id, scope=scope).id)

    def turns(self, *, scope: Scope = SHARED, limit: int = 50) -> list[Turn]:
        """List the newest turns of exactly this conversation, oldest first."""
        return self._engine.ledger.turns.recent(scope, limit)[::-1]

    def scopes(self) -> list[Scope]:
        """List the scopes that have records or turns, sorted by keys and values."""
        return self._engine.ledger.scopes()

    def search(self, query: Question, k: int = 5, **selection: Unpack[Selection]) -> list[Hit]:
        """Find the ``k`` best records by meaning and by words; see `Selection` and `recall`."""
        return recall.search(self._engine, query, k, selection)

    def stats(self, *, scope: Scope | None = None) -> Stats:
        """Count what the memory holds, or what a scope and narrower ones hold."""
        return statistics.stats(self._engine, scope)

    @property
    def model_name(self) -> str:
        """The name of the base model that answers; reading it loads no model."""
        return self._engine.base_name

    def count_tokens(self, text: str) -> int:
        """Count the tokens of a text as a budget does, with the base model's tokenizer."""
        return statistics.count_tokens(self._engine, text)

    def recall(
        self, question: Question, budget: int = BUDGET, **options: Unpack[RecallOptions]
    ) -> Recall:
        """Gather evidence for any language model, within a token budget; runs no model itself.

        Args:
            question: The user's words, or messages that end with them; the last one counts.
            budget: The most tokens that the evidence may take; 0 for the route alone.
            **options: What takes part; see `RecallOptions`.
        """
        return recall.recall(self._engine, question, budget, options)

    def explain(
        self, question: Question, budget: int = BUDGET, **options: Unpack[ExplainOptions]
    ) -> Explanation:
        """Show route, evidence and prompt without generating an answer. Print the result."""
        return recall.explain(self._engine, question, budget, options)

    def ask(
        self, question: Question, budget: int = BUDGET, **options: Unpack[AskOptions]
    ) -> Answer:
        """Answer with the local base model, the routed adapters and what was recalled.

        `Answer.claims`, `citations` and `conflict` say how it compares with what is stored.

        Args:
            question: The user's words; or messages that end with them, whose opening system
                messages take the place of the usual one.
            budget: The most tokens of evidence in the prompt; 0 answers from the weights alone.
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
        """Like `ask`, for several questions at once, each with its own adapters."""
        return ask.ask_batch(self._engine, questions, budget, options)

    def stream(
        self, question: Question, budget: int = BUDGET, **options: Unpack[AskOptions]
    ) -> AnswerStream:
        """Like `ask`, piece by piece (strict: in one); ``answer`` is there at the end."""
        return ask.stream(self._engine, question, budget, options)

    def export(
        self, path: str | Path, *, scope: Scope | None = None, adapters: bool = False
    ) -> TransferReport:
        """Write records with their versions, turns, items and times to live to one file.

        The file has JSON lines, compressed with zstd, with a checksum, as of one moment. Vectors
        are computed again by `import_`. `forget` does not reach the file.

        Args:
            path: The file. It is replaced as a whole, or stays as it was.
            scope: Only what is of this scope.
            adapters: Also write each module as a folder for PEFT, below ``path + ".adapters"``.
        """
        return transfer.export(self._engine, path, scope=scope, adapters=adapters)

    def import_(self, path: str | Path, **options: Unpack[ImportOptions]) -> TransferReport:
        """Take in what `export` wrote, with its ids, versions and times, all or nothing.

        Args:
            path: The file; nothing in it is executed.
            **options: What of it, and how; see `ImportOptions`.

        Raises:
            CorruptFileError: If the file is damaged, cut off, or no export.
            FormatVersionError: If a newer memkit wrote it.
            IncompatibleModelError: If the adapters are for another base model.
        """
        return transfer.import_(self._engine, path, options)
