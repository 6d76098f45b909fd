"""The commands that work on a memory: main verbs of `Memory`, and what checks and carries one."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from memkit import InvalidInputError, Memory
from memkit.memory.engine import ALL_BACKENDS
from memkit.memory.options import BUDGET, PASSAGES


def register(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], common: argparse.ArgumentParser
) -> None:
    """Add the commands.

    Args:
        commands: Where they go.
        common: The options that every command has.
    """
    plain = argparse.ArgumentParser(add_help=False, parents=[common])
    plain.add_argument("path", type=Path, help="the memory's directory")
    scoped = argparse.ArgumentParser(add_help=False, parents=[plain])
    scoped.add_argument(
        "--scope",
        type=_pair,
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="whose knowledge it is about; may be given several times",
    )
    _add_writes(commands, scoped)
    _add_reads(commands, scoped)
    stats = commands.add_parser("stats", parents=[plain], help="count what it holds")
    stats.set_defaults(command=_stats)
    _add_transfers(commands, plain)
    _add_upkeep(commands, plain)


def _add_writes(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], scoped: argparse.ArgumentParser
) -> None:
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


def _add_reads(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], scoped: argparse.ArgumentParser
) -> None:
    search = commands.add_parser("search", parents=[scoped], help="print what fits best")
    search.set_defaults(command=_search)
    search.add_argument("query")
    search.add_argument("-k", type=int, default=5, help="how many at most (default: 5)")

    informed = argparse.ArgumentParser(add_help=False, parents=[scoped])
    informed.add_argument("question")
    informed.add_argument(
        "--budget",
        type=int,
        default=BUDGET,
        metavar="TOKENS",
        help=f"of evidence in the prompt, at most (default: {BUDGET})",
    )
    informed.add_argument("-k", type=int, default=PASSAGES, help="passages at most")

    ask = commands.add_parser("ask", parents=[informed], help="answer, and say where from")
    ask.set_defaults(command=_ask)
    ask.add_argument("--strict", action="store_true", help="withhold what nothing supports")

    explain = commands.add_parser(
        "explain", parents=[informed], help="say what an answer would go by"
    )
    explain.set_defaults(command=_explain)
    explain.add_argument("--json", action="store_true", help="as a JSON object")


def _add_transfers(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], plain: argparse.ArgumentParser
) -> None:
    export = commands.add_parser("export", parents=[plain], help="write it all to one file")
    export.set_defaults(command=_export)
    export.add_argument("file", type=Path, help="is replaced if it exists")
    export.add_argument("--adapters", action="store_true", help="with the modules, beside it")

    take_in = commands.add_parser("import", parents=[plain], help="take in what was exported")
    take_in.set_defaults(command=_import)
    take_in.add_argument("file", type=Path)
    take_in.add_argument("--adapters", action="store_true", help="with the modules, beside it")
    take_in.add_argument(
        "--on-conflict",
        choices=("error", "skip", "replace"),
        default="error",
        help="where the memory has something else (default: refuse the file)",
    )


def _add_upkeep(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], plain: argparse.ArgumentParser
) -> None:
    check = commands.add_parser("check", parents=[plain], help="verify everything in it")
    check.set_defaults(command=_check)
    check.add_argument("--repair", action="store_true", help="make damaged derived state anew")

    reembed = commands.add_parser("reembed", parents=[plain], help="change the embedder")
    reembed.set_defaults(command=_reembed)
    reembed.add_argument("embedder", help="folder or hub id of the new one")


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise argparse.ArgumentTypeError(f"expected KEY=VALUE, got {text!r}")
    return key, value


def _add(arguments: argparse.Namespace) -> int:
    scope = dict(arguments.scope)
    with Memory.open(arguments.path) as memory:
        if arguments.question is None and arguments.answer is None:
            records = memory.add(arguments.texts, scope=scope)
        else:
            [text, *more] = arguments.texts
            if more:
                raise InvalidInputError(
                    f"a question belongs to one text, got {len(arguments.texts)}",
                    hint="add them one by one",
                )
            records = [
                memory.add(text, question=arguments.question, answer=arguments.answer, scope=scope)
            ]
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
        print(memory.forget(arguments.id, scope=dict(arguments.scope) or None))
    return 0


def _search(arguments: argparse.Namespace) -> int:
    with Memory.open(arguments.path, create=False) as memory:
        for hit in memory.search(arguments.query, arguments.k, scope=dict(arguments.scope)):
            print(f"{hit.score:.3f}  {hit.id}  {hit.text}")
    return 0


def _ask(arguments: argparse.Namespace) -> int:
    with Memory.open(arguments.path, create=False) as memory:
        answer = memory.ask(
            arguments.question,
            arguments.budget,
            k=arguments.k,
            scope=dict(arguments.scope),
            strict=arguments.strict,
        )
        print(answer)
        print(answer.route, file=sys.stderr)
        print(f"citations: {', '.join(answer.citations) or 'none'}", file=sys.stderr)
        if answer.withheld is not None:
            print(f"withheld: {answer.withheld}", file=sys.stderr)
        if answer.conflict is not None:
            print(f"conflict: {answer.conflict}", file=sys.stderr)
    return 0


def _explain(arguments: argparse.Namespace) -> int:
    with Memory.open(arguments.path, create=False) as memory:
        explanation = memory.explain(
            arguments.question, arguments.budget, k=arguments.k, scope=dict(arguments.scope)
        )
        print(explanation.to_json(indent=2) if arguments.json else explanation)
    return 0


def _stats(arguments: argparse.Namespace) -> int:
    with Memory.open(arguments.path, create=False) as memory:
        print(memory.stats())
    return 0


def _export(arguments: argparse.Namespace) -> int:
    # The records alone need no model.
    backends = ALL_BACKENDS if arguments.adapters else ("buffer",)
    with Memory.open(arguments.path, create=False, backends=backends) as memory:
        print(memory.export(arguments.file, adapters=arguments.adapters))
    return 0


def _import(arguments: argparse.Namespace) -> int:
    with Memory.open(arguments.path) as memory:
        report = memory.import_(
            arguments.file, on_conflict=arguments.on_conflict, adapters=arguments.adapters
        )
        print(report)
    return 0


def _reembed(arguments: argparse.Namespace) -> int:
    # The old embedder is not needed; who has the memory open goes on with it until the end.
    with Memory.open(
        arguments.path,
        create=False,
        backends=("rag",),
        embedder=arguments.embedder,
        rebuild=True,
    ) as memory:
        print(memory.stats())
    return 0


def _check(arguments: argparse.Namespace) -> int:
    from memkit.memory.check import check

    report = check(arguments.path, repair=arguments.repair)
    print(report)
    return 0 if report.sound else 1
