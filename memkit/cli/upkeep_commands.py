"""Commands that keep a memory in order: ``check`` and ``reembed``."""

from __future__ import annotations

import argparse

from memkit import Memory
from memkit.cli.arguments import Commands, memory_path


def register(commands: Commands) -> None:
    """Add the commands."""
    plain = memory_path()
    check = commands.add_parser("check", parents=[plain], help="verify everything in the memory")
    check.set_defaults(command=_check)
    check.add_argument("--repair", action="store_true", help="rebuild damaged derived state")

    reembed = commands.add_parser("reembed", parents=[plain], help="change the embedder")
    reembed.set_defaults(command=_reembed)
    reembed.add_argument("embedder", help="folder or hub id of the new one")


def _check(arguments: argparse.Namespace) -> int:
    from memkit.memory.check import check

    report = check(arguments.path, repair=arguments.repair)
    print(report)
    return 0 if report.sound else 1


def _reembed(arguments: argparse.Namespace) -> int:
    # The old embedder is not needed; processes that have the memory open use it until the end.
    with Memory.open(
        arguments.path,
        create=False,
        backends=("rag",),
        embedder=arguments.embedder,
        rebuild=True,
    ) as memory:
        print(memory.stats())
    return 0
