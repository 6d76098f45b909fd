"""Commands that show what a memory holds; all but ``search`` and ``recall`` load no model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import typer

from memkit.cli.finding import fields_shown, unused_scope, whole_id, why_nothing
from memkit.cli.opening import RECORDS_ALONE, open_memory
from memkit.cli.output import (
    on_terminal,
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
    selection_of,
    where_of,
)
from memkit.types import BUDGET, HITS, Record
from memkit.types.value import shortened

PANEL = "Read"
LONGEST = 200  # characters of a text in a list


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
        record = memory.get(whole_id(memory, id, whose), scope=whose)
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
    """List records in the order in which they were added; without a --scope, of all scopes.

    Of a long text the beginning is shown; `get` and --json give all of it.
    """
    whose, filter_ = seen_by(scope), where_of(where)
    with open_memory(path, backends=RECORDS_ALONE) as memory:
        page = memory.records(scope=whose, where=filter_, after=after, limit=limit)
        notes = [] if page.records else list(why_nothing(memory, where, whose))
    if as_json:
        print_json(page)
    else:
        _print_records(page.records)
    if not page.records:
        notes.append("there are no more records" if after else "there are no such records")
    if page.next is not None and not as_json:
        notes.append(f"there are more: --after {page.next}")
    for note in notes:
        print_note(note)


def history(
    path: MemoryPath, id: RecordId, *, scope: Scopes = None, as_json: AsJson = False
) -> None:
    """List the versions of a record, the oldest first; of long texts the beginning."""
    whose = seen_by(scope)
    with open_memory(path, backends=RECORDS_ALONE) as memory:
        versions = memory.history(whole_id(memory, id, whose), scope=whose)
    if as_json:
        print_json(versions)
    else:
        print_rows(
            ("version", "written", "metadata", "text"),
            [
                (
                    v.version,
                    f"{v.created_at:%Y-%m-%d %H:%M}",
                    shortened(fields_shown(v.metadata)),
                    shortened(v.text, LONGEST),
                )
                for v in versions
            ],
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
    bounds = selection_of(scope, where, since=since, until=until, as_of=as_of)
    with (
        working("searching"),
        open_memory(path, backends=("rag",), embedder=embedder) as memory,
    ):
        hits = memory.search(query, k, **bounds)
        whose = bounds["scope"]
        notes = [*unused_scope(memory, whose), *([] if hits else why_nothing(memory, where, whose))]
    if as_json:
        print_json(hits)
    else:
        print_rows(("score", "id", "text"), [(f"{h.score:.3f}", h.id, h.text) for h in hits])
    for note in notes:
        print_note(note)


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
    bounds = selection_of(scope, where, since=since, until=until, as_of=as_of)
    with working("recalling"), open_memory(path, embedder=embedder) as memory:
        found = memory.recall(question, budget, k=k, **bounds)
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


def _print_records(records: Sequence[Record]) -> None:
    """Rows of a list; through a pipe they have the same columns whatever the records are."""
    scoped = not on_terminal() or any(record.scope for record in records)
    print_rows(
        ("id", *(["scope"] if scoped else []), "text"),
        [
            (r.id, *([_pairs(r.scope)] if scoped else []), shortened(r.text, LONGEST))
            for r in records
        ],
    )


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
        "metadata": fields_shown(record.metadata),
        "version": record.version,
        **{label: f"{time:%Y-%m-%d %H:%M} UTC" for label, time in times.items() if time},
        "pinned": "yes" if record.pinned else None,
    }
    return {label: value for label, value in facts.items() if value not in (None, "")}


def _pairs(scope: Mapping[str, str]) -> str:
    return shortened(fields_shown(scope))
