"""What a memory holds: records and their versions, conversation turns, adapter modules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, Final, Literal, get_args

from memkit.types.value import Value, counted, printable, shortened

Metadata = Mapping[str, Any]  # JSON values only
Scope = Mapping[str, str]  # e.g. {"user": "u1", "session": "s7"}
All = Literal["all"]
ALL: All = "all"  # instead of a scope: everything of every scope
AnyScope = Scope | All
Role = Literal["system", "user", "assistant", "tool"]
BackendName = Literal["buffer", "rag", "lora"]
Ttl = float | timedelta  # seconds, or a timedelta
Message = Mapping[str, Any]  # of a conversation: {"role": "user", "content": "..."}


class Unchanged(Enum):
    """What stands for a value that an update leaves as it is."""

    UNCHANGED = "unchanged"

    def __repr__(self) -> str:
        return self.name


UNCHANGED: Final = Unchanged.UNCHANGED


def source_of(metadata: Metadata, said_at: datetime | None, order: str | None = None) -> str:
    """Who said something when, to be put behind it; empty if neither is known."""
    role = metadata.get("role")
    name = metadata.get("name")
    # The role stands before the name, which may say "assistant" or anything.
    speaker = (f"{role} {name}" if name else role) if role in get_args(Role) else None
    date = f"{said_at:%Y-%m-%d}" if said_at is not None else None
    parts = [shortened(str(part)) for part in (order, speaker, date) if part is not None]
    return f"  ({', '.join(parts)})" if parts else ""


@dataclass(frozen=True)
class Draft(Value):
    """A record that is about to be stored.

    Attributes:
        answer: The answer to the question, exactly as it should be recalled.
        scope: Who the record is for; see `Record.scope`.
        id: A caller-chosen id; None lets the ledger make one.
        key: What it is about, such as "home:ann": the next draft of this key and scope is the
            next version of the same record. None takes the question, if there is one.
        ttl: How long it lives; None takes the default of its scope, if any.
        pinned: Always part of the evidence; does not expire.
        at: When it was said or happened, with a time zone; None for now.
    """

    text: str
    question: str | None = None
    answer: str | None = None
    scope: Scope = field(default_factory=dict)
    metadata: Metadata = field(default_factory=dict)
    id: str | None = None
    key: str | None = None
    ttl: Ttl | None = None
    pinned: bool = False
    at: datetime | None = None


@dataclass(frozen=True)
class Record(Value):
    """One piece of knowledge, verbatim, as the ledger holds it now.

    Attributes:
        scope: Who may see it: queries whose scope has each of its keys, with the same value.
        created_at: When version 1 was added (UTC).
        updated_at: When this version was written (UTC).
        content_hash: SHA-256 over text, question and answer.
        key: What it is about, as given or derived from its question; unique within its scope.
        expires_at: In UTC; None for never.
        pinned: Always part of the evidence.
        said_at: When it was said or happened (UTC); None if the caller gave no time. See `at`.
    """

    id: str
    text: str
    question: str | None
    answer: str | None
    scope: Scope
    metadata: Metadata
    created_at: datetime
    updated_at: datetime
    version: int
    content_hash: str
    key: str | None = None
    expires_at: datetime | None = None
    pinned: bool = False
    said_at: datetime | None = None

    derived = ("at",)

    @property
    def at(self) -> datetime:
        """The time that `since` and `until` select by: when it was said, else when written."""
        return self.said_at or self.updated_at

    def __str__(self) -> str:
        """Give id and text, and who said it when, as far as that is known."""
        source = source_of(self.metadata, self.said_at)
        return printable(f"{self.id}  {shortened(self.text)}{source}")


@dataclass(frozen=True)
class Version(Value):
    """A record as it was at one version, written at ``created_at``; see `Record.said_at`."""

    record_id: str
    version: int
    text: str
    question: str | None
    answer: str | None
    metadata: Metadata
    created_at: datetime
    said_at: datetime | None = None

    def __str__(self) -> str:
        """Give number and text, and who said it when, as far as that is known."""
        source = source_of(self.metadata, self.said_at)
        return printable(f"v{self.version}  {shortened(self.text)}{source}")


@dataclass(frozen=True)
class Period(Value):
    """Selects records by time."""

    since: datetime | None = None  # earliest `Record.at`, included; None for no bound
    until: datetime | None = None  # latest `Record.at`, excluded; None for no bound
    as_of: datetime | None = None  # only versions written by this moment; None for current ones

    def __bool__(self) -> bool:
        return (self.since, self.until, self.as_of) != (None, None, None)


ALWAYS = Period()


@dataclass(frozen=True)
class Turn(Value):
    """One message of a conversation; ``name`` and ``said_at`` are None if they were not given."""

    id: str
    role: Role
    content: str
    scope: Scope
    created_at: datetime
    record_id: str | None
    name: str | None = None
    said_at: datetime | None = None

    def __str__(self) -> str:
        """Give role, name and content; the role first, as a name may say anything."""
        name = f" ({shortened(self.name)})" if self.name else ""
        return printable(f"{self.role}{name}: {shortened(self.content)}")


@dataclass(frozen=True)
class TurnDraft(Value):
    """A turn that is about to be stored, by `Memory.add_turns`.

    Attributes:
        name: The speaker's name; see `TurnOptions`.
        at: When it was said, with a time zone; None for now.
        remember: Also make a record.
        id: The message's own id: a conversation takes each id once. None adds the turn whatever
            was said before.
    """

    role: Role
    content: str
    name: str | None = None
    at: datetime | None = None
    remember: bool = True
    id: str | None = None


@dataclass(frozen=True)
class Page(Value):
    """One page of a listing; pass ``next`` as ``after`` to get the following one."""

    records: tuple[Record, ...]
    next: str | None


@dataclass(frozen=True)
class Module(Value):
    """One version of one adapter module.

    Attributes:
        name: Stable over retraining.
        records: Ids of the records whose recall from it was verified.
        manifest: How it was made: base fingerprint, data hash, seed, spec, recall.
        created_at: When it was committed (UTC).
        versions: The stored versions, oldest first; a rollback activates another of them.
        active: Whether this version is the one that answers.
    """

    name: str
    version: int
    scope: Scope
    records: tuple[str, ...]
    manifest: Metadata
    created_at: datetime
    versions: tuple[int, ...] = ()
    active: bool = True

    def __str__(self) -> str:
        scope = ", ".join(f"{key}={value}" for key, value in self.scope.items())
        others = ", ".join(f"v{version}" for version in self.versions if version != self.version)
        figures = [
            f"{label} {self.manifest[key]:.2f}"
            for key, label in (
                ("recall", "trained wordings"),
                ("paraphrase_recall", "held-out wordings"),
            )
            if key in self.manifest
        ]
        name = f"{self.name} v{self.version}" + (f" (also kept: {others})" if others else "")
        records = counted(len(self.records), "record") + (f" of {scope}" if scope else "")
        trained = f"trained {self.created_at:%Y-%m-%d %H:%M} UTC"
        return printable("; ".join([name, records, *figures, trained]))
