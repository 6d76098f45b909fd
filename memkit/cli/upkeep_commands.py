"""Commands that look after a memory: ``export``, ``import``, ``check`` and ``reembed``."""

from __future__ import annotations

import argparse
from pathlib import Path

from memkit import Memory
from memkit.cli.arguments import Commands, memory_path
from memkit.memory.config import ALL_BACKENDS


def register(commands: Commands) -> None:
    """Add the commands."""
    plain = memory_path()
    export = commands.add_parser("export", parents=[plain], help="write everything to one file")
    export.set_defaults(command=_export)
    export.add_argument("file", type=Path, help="is replaced if it exists")
    export.add_argument("--adapters", action="store_true", help="with the modules, beside it")

    import_ = commands.add_parser("import", parents=[plain], help="read what was exported")
    import_.set_defaults(command=_import)
    import_.add_argument("file", type=Path)
    import_.add_argument("--adapters", action="store_true", help="with the modules, beside it")
    import_.add_argument(
        "--on-conflict",
        choices=("error", "skip", "replace"),
        default="error",
        help="where the memory has something else (default: refuse the file)",
    )

    check = commands.add_parser("check", parents=[plain], help="verify everything in the memory")
    check.set_defaults(command=_check)
    check.add_argument("--repair", action="store_true", help="rebuild damaged derived state")

    reembed = commands.add_parser("reembed", parents=[plain], help="change the embedder")
    reembed.set_defaults(command=_reembed)
    reembed.add_argument("embedder", help="folder or hub id of the new one")


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
