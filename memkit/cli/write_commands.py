"""Commands that change what a memory knows: ``add``, ``consolidate`` and ``forget``."""

from __future__ import annotations

import argparse

from memkit import InvalidInputError, Memory
from memkit.cli.arguments import Commands, memory_path_and_scope


def register(commands: Commands) -> None:
    """Add the commands."""
    scoped = memory_path_and_scope()
    add = commands.add_parser("add", parents=[scoped], help="remember; print the ids")
    add.set_defaults(command=_add)
    add.add_argument("texts", nargs="+", metavar="text", help="each becomes a record")
    add.add_argument("--question", help="what the text answers; of a single text")
    add.add_argument("--answer", help="the answer to it, in a few words")

    consolidate = commands.add_parser(
        "consolidate", parents=[scoped], help="train adapters; print the report"
    )
    consolidate.set_defaults(command=_consolidate)

    forget = commands.add_parser("forget", parents=[scoped], help="erase; print the receipt")
    forget.set_defaults(command=_forget)
    forget.add_argument("id", nargs="?", help="a record; without one, all of the --scope")


def _add(arguments: argparse.Namespace) -> int:
    texts, scope = arguments.texts, dict(arguments.scope)
    question, answer = arguments.question, arguments.answer
    with Memory.open(arguments.path) as memory:
        if question is None and answer is None:
            records = memory.add(texts, scope=scope)
        elif len(texts) > 1:
            raise InvalidInputError(
                f"a question belongs to one text, got {len(texts)}", hint="add them one by one"
            )
        else:
            records = [memory.add(texts[0], question=question, answer=answer, scope=scope)]
        for record in records:
            print(record.id)
    return 0


def _consolidate(arguments: argparse.Namespace) -> int:
    with Memory.open(arguments.path, create=False) as memory:
        print(memory.consolidate(scope=dict(arguments.scope) or None))
    return 0


def _forget(arguments: argparse.Namespace) -> int:
    if (arguments.id is None) != bool(arguments.scope):
        raise InvalidInputError("name either a record or a scope", hint="`memkit forget --help`")
    with Memory.open(arguments.path, create=False) as memory:
        print(memory.forget(arguments.id, scope=dict(arguments.scope) or "all"))
    return 0
