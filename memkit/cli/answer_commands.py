"""Commands that answer: ``ask`` once, ``chat`` in a conversation that is remembered."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from memkit.cli.exit_status import WITHHELD
from memkit.cli.opening import open_memory
from memkit.cli.output import fitted, print_json, print_note, print_text, working
from memkit.cli.parameters import (
    AsJson,
    AsOf,
    BaseModel,
    Budget,
    EmbedderModel,
    Fields,
    MemoryPath,
    Question,
    Scopes,
    Since,
    Until,
    Where,
    at_most,
    json_file,
    scope_of,
    selection_of,
    where_of,
)
from memkit.types import ALL, BUDGET, PASSAGES, Answer, Sampling
from memkit.types.value import counted

if TYPE_CHECKING:
    from memkit import Memory

PANEL = "Answer"

Strict = Annotated[
    bool, typer.Option("--strict", help="Withhold an answer that nothing stored supports.")
]
Quote = Annotated[
    bool | None,
    typer.Option(
        "--quote/--no-quote",
        help="Answer in stored words, or in the model's; by default small models quote.",
        show_default=False,
    ),
]


SchemaFile = Annotated[
    Fields | None,
    typer.Option(
        "--schema",
        parser=json_file,
        metavar="FILE",
        help="Answer in JSON that fits the JSON schema in this file; needs the extra structured.",
        show_default=False,
    ),
]
MaxTokens = Annotated[
    int | None,
    typer.Option(
        "--max-tokens",
        min=1,
        metavar="N",
        help="Most tokens that the model words an answer in.",
        show_default=False,
    ),
]
CHATTY = 48  # tokens: a small model that is told something goes on and on


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("ask", rich_help_panel=PANEL)(ask)
    app.command("chat", rich_help_panel=PANEL)(chat)


def ask(
    path: MemoryPath,
    question: Question,
    *,
    budget: Budget = BUDGET,
    k: Annotated[int, at_most(PASSAGES)] = PASSAGES,
    strict: Strict = False,
    quote: Quote = None,
    schema: SchemaFile = None,
    max_tokens: MaxTokens = None,
    scope: Scopes = None,
    where: Where = None,
    since: Since = None,
    until: Until = None,
    as_of: AsOf = None,
    base_model: BaseModel = None,
    embedder: EmbedderModel = None,
    as_json: AsJson = False,
) -> None:
    """Answer a question, as it is written; then say on stderr where the answer is from.

    Exits with 3 if a --strict answer was withheld.
    """
    if schema is not None and quote:
        raise typer.BadParameter(
            "stored words fit no --schema: leave one of them out", param_hint="--quote"
        )
    options: dict[str, Any] = {
        **selection_of(scope, where, since=since, until=until, as_of=as_of),
        "k": k, "strict": strict, "quote": quote,
    }  # fmt: skip
    if schema is not None:
        options["schema"] = schema.values
    if max_tokens is not None:
        options["sampling"] = Sampling(max_new_tokens=max_tokens)
    with open_memory(path, base_model=base_model, embedder=embedder) as memory:
        if as_json:
            with working("answering"):
                answer = memory.ask(question, budget, **options)
            print_json(answer)
        else:
            answer = streamed(memory, question, budget, options)
            print_sources(memory, answer)
    if answer.withheld is not None:
        raise typer.Exit(WITHHELD)


def streamed(memory: Memory, question: str, budget: int, options: dict[str, Any]) -> Answer:
    """Print an answer piece by piece, as it is made; gives the whole of it."""
    with working("answering"):  # until the first piece is there
        stream = memory.stream(question, budget, **options)
        piece = next(stream, None)
    while piece is not None:
        sys.stdout.write(piece)
        sys.stdout.flush()
        piece = next(stream, None)
    print_text("")
    return cast("Answer", stream.answer)  # which is there once the last piece has come


def print_sources(memory: Memory, answer: Answer) -> None:
    """Print on stderr what an answer rests on, or why there is none."""
    for record in memory.get_many(answer.citations, scope=ALL):
        print_note(fitted(f"source: {record.id} {record.text}"))
    if not answer.citations and answer.withheld is None:
        print_note("source: none; nothing stored says so")
    print_note(_way(answer))
    if answer.withheld is not None:
        print_note(f"withheld: {answer.withheld}")
    if answer.conflict is not None:
        print_note(f"conflict: {answer.conflict}")


def _way(answer: Answer) -> str:
    """By which way an answer came."""
    modules = ", ".join(f"{name} x {weight:.2f}" for name, weight in answer.route.weights.items())
    prompt = f"{counted(answer.prompt_tokens, 'token')} of prompt"
    if modules:
        return f"adapters: {modules}; {prompt}"
    if not answer.prompt_tokens:  # nothing was worded, so the model read nothing
        return "found in the index; no adapter and no prompt were needed"
    return f"no adapter was used; {prompt}"


def chat(
    path: MemoryPath,
    *,
    budget: Budget = BUDGET,
    k: Annotated[int, at_most(PASSAGES)] = PASSAGES,
    strict: Strict = False,
    quote: Quote = None,
    max_tokens: MaxTokens = CHATTY,
    scope: Scopes = None,
    where: Where = None,
    base_model: BaseModel = None,
    embedder: EmbedderModel = None,
    as_json: AsJson = False,
) -> None:
    """Talk to a memory, which is made if there is none, and which remembers what you say.

    The next chat of the same --scope goes on where this one ended. What you tell becomes a
    record; questions and answers stay turns of the conversation. With a pipe each line is a
    message, and --json prints an answer a line. Ctrl-D ends it; Ctrl-C stops an answer, and what
    was told stays.
    """
    from memkit.cli.conversation import Conversation

    sampling = Sampling(max_new_tokens=max_tokens or CHATTY)
    options: dict[str, Any] = {"k": k, "strict": strict, "quote": quote, "sampling": sampling}
    whose, options["where"] = scope_of(scope), where_of(where)
    with open_memory(path, create=True, base_model=base_model, embedder=embedder) as memory:
        Conversation(memory, whose, budget, options, as_json=as_json).run()
