"""Commands that change what a memory knows: ``init``, ``add``, ``update`` and ``forget``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from memkit.cli.finding import whole_id
from memkit.cli.opening import RECORDS_ALONE, open_memory, open_to_train
from memkit.cli.output import print_json, print_note, print_result, print_text, working
from memkit.cli.parameters import (
    AsJson,
    BaseModel,
    EmbedderModel,
    MemoryPath,
    MetadataFields,
    RecordId,
    Scopes,
    Where,
    metadata_of,
    moment,
    scope_of,
    seen_by,
    where_of,
)
from memkit.cli.placing import placed
from memkit.cli.reading_files import STDIN, Form, drafts_of, messages_of, read_files, read_stdin
from memkit.errors import InvalidInputError
from memkit.types import UNCHANGED, Draft, Metadata
from memkit.types.validate import shown
from memkit.types.value import counted

PANEL = "Write"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (init, add, update, forget):
        app.command(command.__name__, rich_help_panel=PANEL)(command)


def init(path: MemoryPath, *, as_json: AsJson = False) -> None:
    """Make an empty memory; one that is there already stays as it is."""
    from memkit.errors import NotAMemoryError
    from memkit.memory.place import shown_place

    try:
        open_memory(path, backends=RECORDS_ALONE).close()
        fresh = False
    except NotAMemoryError:  # if there is something else, it says so again
        fresh = True
    with open_memory(path, create=True, backends=RECORDS_ALONE) as memory:
        stats = memory.stats()
    place = str(shown_place(path))
    if as_json:
        print_json({"path": place, "created": fresh, "records": stats.records})
    elif fresh:
        print_text(f"made the memory {place}")
    else:
        print_text(f"{place} is a memory already: {stats}")


def add(
    path: MemoryPath,
    texts: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TEXT",
            help="Each becomes a record; - reads one from the standard input.",
            show_default=False,
        ),
    ] = None,
    *,
    files: Annotated[
        list[Path] | None,
        typer.Option(
            "--from",
            metavar="FILE",
            help="A text file, a folder of these, a .jsonl of records, or a .json chat log; may "
            "be repeated.",
            show_default=False,
        ),
    ] = None,
    form: Annotated[
        Form, typer.Option("--format", help="How files and - are read; auto goes by the name.")
    ] = Form.AUTO,
    question: Annotated[
        str | None, typer.Option(help="What a single text answers.", show_default=False)
    ] = None,
    answer: Annotated[
        str | None, typer.Option(help="The answer, in a few words.", show_default=False)
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(
            help="What a single text is about: the next text of this key replaces it.",
            show_default=False,
        ),
    ] = None,
    at: Annotated[
        datetime | None,
        typer.Option(
            parser=moment,
            metavar="TIME",
            help="When it was said; now unless given.",
            show_default=False,
        ),
    ] = None,
    ttl: Annotated[
        float | None,
        typer.Option(min=1, metavar="SECONDS", help="How long it lives.", show_default=False),
    ] = None,
    pinned: Annotated[
        bool, typer.Option("--pinned", help="Always part of the evidence; never expires.")
    ] = False,
    scope: Scopes = None,
    metadata: MetadataFields = None,
    embedder: EmbedderModel = None,
    as_json: AsJson = False,
) -> None:
    """Remember texts, files, or a chat log; print the ids of the records.

    A file that is added again after it was changed becomes the next version of its record. All
    of it is stored or, if something is wrong, nothing.
    """  # fmt: skip
    given = Draft(
        "", question, answer, scope_of(scope), metadata_of(metadata),
        key=key, ttl=ttl, pinned=pinned, at=at,
    )  # fmt: skip
    drafts, logs = _gathered(texts or [], files or [], form, given)
    if (question or answer or key) and len(drafts) + len(logs) != 1:
        raise typer.BadParameter(
            "a question, an answer and a key belong to one text, "
            f"got {len(drafts) + len(logs)}; add them one by one"
        )
    with working("remembering"), open_memory(path, create=True, embedder=embedder) as memory:
        reports = [memory.add_messages(log, scope=given.scope, at=at) for log in logs]
        records = memory.add(drafts)
    if as_json:
        print_json(reports or records)
    else:
        for report in reports:
            print_note(report)
        for id in [*(id for report in reports for id in report.records), *(r.id for r in records)]:
            print_text(id)


def _gathered(
    texts: Sequence[str], files: Sequence[Path], form: Form, given: Draft
) -> tuple[list[Draft], list[list[dict[str, Any]]]]:
    """The drafts and the chat logs that a command line names, all of them read and checked."""
    from dataclasses import replace

    if not texts and not files:
        raise typer.BadParameter("expected a text, - or --from FILE")
    for text in texts:
        if _is_file(text):
            raise typer.BadParameter(
                f"there is a file {text!r}: --from {text} adds what it says; to add its name as "
                "a text, pipe it in with -"
            )
    drafts = [replace(given, text=text) for text in texts if text != STDIN]
    skipped: list[str] = []
    documents = [read_stdin(form)] if STDIN in texts else []
    documents += [document for file in files for document in read_files(file, form, skipped)]
    logs = [messages_of(document) for document in documents if document.form is Form.CHAT]
    for document in documents:
        if document.form is not Form.CHAT:
            drafts += drafts_of(document, given)
    if skipped:
        print_note(
            f"left out {counted(len(skipped), 'file that is', 'files that are')} no text: "
            + ", ".join(skipped[:5])
        )
    if logs and drafts:
        raise typer.BadParameter("add chat logs and other texts one after the other")
    if logs and (given.metadata or given.ttl or given.pinned):
        raise typer.BadParameter("of what goes with a text, chat logs take --scope and --at only")
    if not logs and not drafts:
        raise typer.BadParameter("there is no text in what was given")
    return drafts, logs


def _is_file(text: str) -> bool:
    try:
        return text not in {STDIN, ""} and Path(text).exists()
    except (OSError, ValueError):  # too long for a name, or with null characters
        return False


def update(
    path: MemoryPath,
    id: RecordId,
    text: Annotated[
        str | None, typer.Argument(metavar="TEXT", help="The new text.", show_default=False)
    ] = None,
    *,
    question: Annotated[
        str | None, typer.Option(help="The new question; '' takes it away.", show_default=False)
    ] = None,
    answer: Annotated[
        str | None, typer.Option(help="The new answer; '' takes it away.", show_default=False)
    ] = None,
    scope: Scopes = None,
    metadata: MetadataFields = None,
    remove_metadata: Annotated[
        list[str] | None,
        typer.Option(
            "--remove-metadata",
            metavar="KEY",
            help="Take this key out of the metadata; may be repeated.",
            show_default=False,
        ),
    ] = None,
    embedder: EmbedderModel = None,
    as_json: AsJson = False,
) -> None:
    """Write a new version of a record; what is not given stays. Print the record.

    --metadata sets the keys that it names and leaves the others as they are. Adapters that hold
    the old version no longer answer for it.
    """
    given, removed = metadata_of(metadata), remove_metadata or ()
    both = sorted(given.keys() & set(removed))
    if both:
        raise typer.BadParameter(f"the key {both[0]!r} is to be set and to be taken out")
    if text is None and question is None and answer is None and not given and not removed:
        raise typer.BadParameter("expected a new text, question, answer or metadata")
    changes: dict[str, Any] = {
        "text": UNCHANGED if text is None else text,
        "question": _changed(question),
        "answer": _changed(answer),
    }
    whose = seen_by(scope)
    with working("updating"), open_memory(path, embedder=embedder) as memory:
        id = whole_id(memory, id, whose)
        if given or removed:
            old = memory.get(id, scope=whose).metadata
            changes["metadata"] = {**_without(removed, old), **given}
        record = memory.update(id, scope=whose, **changes)
    print_result(record, as_json=as_json)


def _without(keys: Sequence[str], metadata: Metadata) -> Metadata:
    for key in keys:
        if key not in metadata:
            raise InvalidInputError(
                f"expected a key of the record's metadata, got {shown(key)}",
                hint=f"it has {', '.join(sorted(metadata)) or 'none'}",
            )
    return {key: value for key, value in metadata.items() if key not in keys}


def _changed(value: str | None) -> Any:  # noqa: ANN401 - a text, None, or what says "unchanged"
    return UNCHANGED if value is None else value or None


def forget(
    path: MemoryPath,
    id: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="ID",
            help="Records, or turns; the first characters of a record's id will do.",
            show_default=False,
        ),
    ] = None,
    *,
    retrain: Annotated[
        bool,
        typer.Option(
            help="Train the modules that held them anew without them; else they are dropped, "
            "which loads no model."
        ),
    ] = True,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Do not ask before all of a scope or filter goes.")
    ] = False,
    scope: Scopes = None,
    where: Where = None,
    base_model: BaseModel = None,
    embedder: EmbedderModel = None,
    as_json: AsJson = False,
) -> None:
    """Erase records everywhere, the weights included; print the receipt.

    Name the records, or take all of a --scope, or all that pass --where; together they narrow
    each other down. On a terminal it asks before it takes all of them. Exits with 1 if a check of
    the receipt did not hold.
    """
    if not id and not scope and not where:
        raise typer.BadParameter("expected an ID, a --scope or a --where")
    if not retrain and (base_model or embedder or placed()):
        raise typer.BadParameter("--no-retrain loads no model, so there is none to choose")
    whose, filter_ = seen_by(scope), where_of(where)
    with open_memory(path, backends=RECORDS_ALONE) as memory:
        ids = [whole_id(memory, each, whose) for each in id or ()] or None
        if ids is None and not yes and sys.stdin.isatty():
            count = counted(memory.count(scope=whose, where=filter_), "record")
            typer.confirm(f"Erase {count} for good?", abort=True, err=True)
        trains = retrain and bool(memory.modules.list())
    opened = (
        open_to_train(path, "forgetting", base_model=base_model, embedder=embedder)
        if trains
        else open_memory(path, backends=RECORDS_ALONE)
    )
    with opened as memory:
        receipt = memory.forget(ids, scope=whose, where=filter_, retrain=retrain)
    print_result(receipt, as_json=as_json)
    if not all(receipt.checks.values()):
        raise typer.Exit(1)
