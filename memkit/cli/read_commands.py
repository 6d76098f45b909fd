"""Commands that read a memory: ``search``, ``ask``, ``explain`` and ``stats``."""

from __future__ import annotations

import argparse
import sys

from memkit import Memory
from memkit.cli.arguments import Commands, memory_path, memory_path_and_scope
from memkit.types import BUDGET, PASSAGES


def register(commands: Commands) -> None:
    """Add the commands."""
    search = commands.add_parser(
        "search", parents=[memory_path_and_scope()], help="print the best matches"
    )
    search.set_defaults(command=_search)
    search.add_argument("query")
    search.add_argument("-k", type=int, default=5, help="how many at most (default: 5)")

    question = _question_options()
    ask = commands.add_parser("ask", parents=[question], help="answer, with sources")
    ask.set_defaults(command=_ask)
    ask.add_argument("--strict", action="store_true", help="withhold what nothing supports")

    explain = commands.add_parser(
        "explain",
        parents=[question],
        help="show route, evidence and prompt without generating",
    )
    explain.set_defaults(command=_explain)
    explain.add_argument("--json", action="store_true", help="as a JSON object")

    stats = commands.add_parser("stats", parents=[memory_path()], help="count what it holds")
    stats.set_defaults(command=_stats)


def _question_options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False, parents=[memory_path_and_scope()])
    parser.add_argument("question")
    parser.add_argument(
        "--budget",
        type=int,
        default=BUDGET,
        metavar="TOKENS",
        help=f"of evidence in the prompt, at most (default: {BUDGET})",
    )
    parser.add_argument("-k", type=int, default=PASSAGES, help="passages at most")
    return parser


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
