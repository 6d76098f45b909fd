"""Commands that show what a memory holds; all but ``search`` and ``recall`` load no model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import typer

from memkit.cli.opening import RECORDS_ALONE, open_memory
from memkit.cli.output import (
    print_fields,
    print_json,
    print_note,
    print_result,
    print_rows,
    print_text,
    working,
)
from memkit.cli.parameters import (
    AsJson,
    AsOf,
    Budget,
    EmbedderModel,
    MemoryPath,
    Question,
    RecordId,
    Scopes,
    Since,
    Until,
    Where,
    at_most,
    scope_of,
    seen_by,
    where_of,
)
from memkit.types import BUDGET, HITS, Record
from memkit.types.value import shortened

PANEL = "Read"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for name, command in (
        ("get", get),
        ("list", list_),
        ("history", history),
        ("search", search),
        ("recall", recall),
        ("stats", stats),
    ):
        app.command(name, rich_help_panel=PANEL)(command)


def get(path: MemoryPath, id: RecordId, *, scope: Scopes = None, as_json: AsJson = False) -> None:
    """Show a record as it is now."""
    whose = seen_by(scope)
    with open_memory(path, backends=RECORDS_ALONE) as memory:
        record = memory.get(id, scope=whose)
    if as_json:
        print_json(record)
    else:
        print_fields(_fields_of(record))


def list_(
    path: MemoryPath,
    *,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="At most so many.")] = 100,
    after: Annotated[
        str | None,
        typer.Option(metavar="CURSOR", help="Go on where a list ended.", show_default=False),
    ] = None,
    scope: Scopes = None,
    where: Where = None,
    as_json: AsJson = False,
) -> None:
    """List records in the order in which they were added; without a --scope, of all scopes."""
    whose, filter_ = seen_by(scope), where_of(where)
    with open_memory(path, backends=RECORDS_ALONE) as memory:
        page = memory.records(scope=whose, where=filter_, after=after, limit=limit)
    if as_json:
        print_json(page)
        return
    scoped = any(record.scope for record in page.records)
    columns = ("id", *(["scope"] if scoped else []), "text")
    print_rows(
        columns,
        [(r.id, *([_pairs(r.scope)] if scoped else []), r.text) for r in page.records],
    )
    if page.next is not None:
        print_note(f"there are more: --after {page.next}")


def history(
    path: MemoryPath, id: RecordId, *, scope: Scopes = None, as_json: AsJson = False
) -> None:
    """List the versions of a record, the oldest first."""
    whose = seen_by(scope)
    with open_memory(path, backends=RECORDS_ALONE) as memory:
        versions = memory.history(id, scope=whose)
    if as_json:
        print_json(versions)
    else:
        print_rows(
            ("version", "written", "text"),
            [(v.version, f"{v.created_at:%Y-%m-%d %H:%M}", v.text) for v in versions],
        )


def search(
    path: MemoryPath,
    query: Annotated[str, typer.Argument(metavar="QUERY", show_default=False)],
    *,
    k: Annotated[int, at_most(HITS)] = HITS,
    scope: Scopes = None,
    where: Where = None,
    since: Since = None,
    until: Until = None,
    as_of: AsOf = None,
    embedder: EmbedderModel = None,
    as_json: AsJson = False,
) -> None:
    """Find the records that match best, by meaning and by words."""
    whose, filter_ = scope_of(scope), where_of(where)
    with (
        working("searching"),
        open_memory(path, backends=("rag",), embedder=embedder) as memory,
    ):
        hits = memory.search(
            query, k, scope=whose, where=filter_, since=since, until=until, as_of=as_of
        )
    if as_json:
        print_json(hits)
    else:
        print_rows(("score", "id", "text"), [(f"{h.score:.3f}", h.id, h.text) for h in hits])


def recall(
    path: MemoryPath,
    question: Question,
    *,
    budget: Budget = BUDGET,
    k: Annotated[int, at_most(HITS)] = HITS,
    scope: Scopes = None,
    where: Where = None,
    since: Since = None,
    until: Until = None,
    as_of: AsOf = None,
    embedder: EmbedderModel = None,
    as_json: AsJson = False,
) -> None:
    """Gather evidence for the prompt of any language model, within a token budget."""
    whose, filter_ = scope_of(scope), where_of(where)
    with working("recalling"), open_memory(path, embedder=embedder) as memory:
        found = memory.recall(
            question, budget, k=k, scope=whose, where=filter_,
            since=since, until=until, as_of=as_of,
        )  # fmt: skip
    if as_json:
        print_json(found)
        return
    print_text(found.text)
    omitted = f"; {found.omitted} more did not fit" if found.omitted else ""
    print_note(f"{found.tokens} of {found.budget} tokens, by {found.counter}{omitted}")
    print_note(f"from: {', '.join(found.citations) or 'nothing'}")


def stats(path: MemoryPath, *, scope: Scopes = None, as_json: AsJson = False) -> None:
    """Count what the memory holds, or what of it is of a scope."""
    whose = scope_of(scope) or None
    with open_memory(path, backends=RECORDS_ALONE) as memory:
        print_result(memory.stats(scope=whose), as_json=as_json)


def _fields_of(record: Record) -> Mapping[str, object]:
    """What there is to be said of a record, by label."""
    times = {
        "said": record.said_at, "added": record.created_at,
        "updated": record.updated_at if record.version > 1 else None,
        "expires": record.expires_at,
    }  # fmt: skip
    facts: dict[str, object] = {
        "id": record.id,
        "text": record.text,
        "question": record.question,
        "answer": record.answer,
        "key": None if record.question else record.key,  # which is made of the question
        "scope": _pairs(record.scope),
        "metadata": ", ".join(f"{name}={value}" for name, value in record.metadata.items()),
        "version": record.version,
        **{label: f"{time:%Y-%m-%d %H:%M} UTC" for label, time in times.items() if time},
        "pinned": "yes" if record.pinned else None,
    }
    return {label: value for label, value in facts.items() if value not in (None, "")}


def _pairs(scope: Mapping[str, str]) -> str:
    return shortened(", ".join(f"{key}={value}" for key, value in scope.items()))
