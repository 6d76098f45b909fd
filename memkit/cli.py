"""The command line: ``memkit demo``, and the main verbs of `Memory` on a directory."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from memkit import MemkitError, Memory, __version__
from memkit.wiring import ALL_BACKENDS


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: Arguments without the program's name; None takes those of the process.

    Returns:
        The exit status: 0 if all went well, 1 after an error of memkit's, which is printed
        on stderr, 130 if interrupted.
    """
    arguments = _parser().parse_args(argv)
    command: Callable[[argparse.Namespace], int] = arguments.command
    try:
        return command(arguments)
    except MemkitError as error:
        if arguments.debug:
            raise
        print(f"memkit: {error.message}", file=sys.stderr)
        if error.hint:
            print(f"hint: {error.hint}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("memkit: interrupted", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="memkit", description="Memory for language-model agents.")
    parser.add_argument("--version", action="version", version=f"memkit {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--debug", action="store_true", help="show the traceback of an error")

    demo = commands.add_parser("demo", parents=[common], help="show it on an invented company")
    demo.set_defaults(command=_demo)
    demo.add_argument("--quick", action="store_true", help="a smaller company, in less time")
    demo.add_argument("--seed", type=int, default=0, help="which company (default: 0)")
    demo.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")

    evaluate = commands.add_parser("eval", parents=[common], help="measure what the docs quote")
    evaluate.set_defaults(command=_eval)
    evaluate.add_argument(
        "subject",
        choices=("dial", "forgetting", "locomo", "mixing", "mixtures", "routing", "training"),
    )
    evaluate.add_argument("--seeds", type=int, default=3, help="how often (default: 3)")
    evaluate.add_argument("--data", type=Path, metavar="DIR", help="where data of others is")
    evaluate.add_argument("--facts", type=int, default=387, metavar="N", help="entries of it")
    evaluate.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")

    bench = commands.add_parser("bench", help="measure the engine")
    subjects = bench.add_subparsers(title="subjects", required=True, metavar="SUBJECT")
    measured = argparse.ArgumentParser(add_help=False, parents=[common])
    measured.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")

    train = subjects.add_parser("train", parents=[measured], help="time until facts are recalled")
    train.set_defaults(command=_bench_train)
    train.add_argument("--seeds", type=int, default=3, help="how often memkit trains (default: 3)")
    train.add_argument("--data", type=Path, metavar="DIR", help="where the study's PhoneBook is")

    capacity = subjects.add_parser(
        "capacity", parents=[measured], help="how much an adapter holds; goes on where it was"
    )
    capacity.set_defaults(command=_bench_capacity)
    capacity.add_argument("--ranks", type=_numbers, metavar="R,R", help="ranks to try")
    capacity.add_argument("--loads", type=_numbers, metavar="N,N", help="numbers of facts to try")
    capacity.add_argument("--base", metavar="MODEL", help="folder or hub id of a base model")

    mix = subjects.add_parser("mix", parents=[measured], help="mixtures of adapters, beside PEFT")
    mix.set_defaults(command=_bench_mix)
    bank = subjects.add_parser("bank", parents=[measured], help="the cost of many modules")
    bank.set_defaults(command=_bench_bank)
    store = subjects.add_parser("store", parents=[measured], help="adding, finding and keeping")
    store.set_defaults(command=_bench_store)
    store.add_argument("--records", type=int, default=100_000, metavar="N", help="default: 100000")

    _add_memory_commands(commands, common)
    return parser


def _add_memory_commands(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], common: argparse.ArgumentParser
) -> None:
    """Add what works on a memory."""
    on_memory = argparse.ArgumentParser(add_help=False, parents=[common])
    on_memory.add_argument("path", type=Path, help="the memory's directory")

    stats = commands.add_parser("stats", parents=[on_memory], help="count what it holds")
    stats.set_defaults(command=_stats)

    add = commands.add_parser("add", parents=[on_memory], help="remember; print the ids")
    add.set_defaults(command=_add)
    add.add_argument("texts", nargs="+", metavar="text", help="each becomes a record")

    search = commands.add_parser("search", parents=[on_memory], help="print what fits best")
    search.set_defaults(command=_search)
    search.add_argument("query")

    ask = commands.add_parser("ask", parents=[on_memory], help="answer, and say where from")
    ask.set_defaults(command=_ask)
    ask.add_argument("question")

    _add_transfers(commands, on_memory)
    forget = commands.add_parser("forget", parents=[on_memory], help="erase; print the receipt")
    forget.set_defaults(command=_forget)
    forget.add_argument("id")


def _add_transfers(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    on_memory: argparse.ArgumentParser,
) -> None:
    """Add what carries a memory elsewhere."""
    export = commands.add_parser("export", parents=[on_memory], help="write it all to one file")
    export.set_defaults(command=_export)
    export.add_argument("file", type=Path, help="is replaced if it exists")
    export.add_argument("--adapters", action="store_true", help="with the modules, beside it")

    take_in = commands.add_parser("import", parents=[on_memory], help="take in what was exported")
    take_in.set_defaults(command=_import)
    take_in.add_argument("file", type=Path)
    take_in.add_argument("--adapters", action="store_true", help="with the modules, beside it")
    take_in.add_argument(
        "--on-conflict",
        choices=("error", "skip", "replace"),
        default="error",
        help="where the memory has something else (default: refuse the file)",
    )

    check = commands.add_parser("check", parents=[on_memory], help="verify everything in it")
    check.set_defaults(command=_check)
    check.add_argument("--repair", action="store_true", help="make damaged derived state anew")

    reembed = commands.add_parser("reembed", parents=[on_memory], help="change the embedder")
    reembed.set_defaults(command=_reembed)
    reembed.add_argument("embedder", help="folder or hub id of the new one")


def _demo(arguments: argparse.Namespace) -> int:
    from memkit.demo import run

    return run.main(quick=arguments.quick, seed=arguments.seed, json_path=arguments.json)


def _eval(arguments: argparse.Namespace) -> int:
    from memkit.evals import dial, forgetting, locomo, mixing, mixtures, routing, training

    seeds, json_path, data = arguments.seeds, arguments.json, _data(arguments)
    if arguments.subject in {"dial", "mixing"}:
        several = {"dial": dial.main, "mixing": mixing.main}[arguments.subject]
        return several(data=data, facts=arguments.facts, seeds=seeds, json_path=json_path)
    if arguments.subject == "locomo":
        return locomo.main(data=data, json_path=json_path)
    if arguments.subject == "mixtures":
        return mixtures.main(data=data, seeds=seeds, json_path=json_path)
    if arguments.subject == "routing":
        return routing.main(data=data, seeds=seeds, json_path=json_path)
    mains = {"forgetting": forgetting.main, "training": training.main}
    return mains[arguments.subject](seeds=seeds, json_path=json_path)


def _data(arguments: argparse.Namespace) -> Path | None:
    """The folder with data of others, if one is named."""
    named = arguments.data or os.environ.get("MEMKIT_EVAL_DATA")
    return Path(named) if named else None


def _bench_train(arguments: argparse.Namespace) -> int:
    from memkit.bench import train

    return train.main(data=_data(arguments), seeds=arguments.seeds, json_path=arguments.json)


def _bench_capacity(arguments: argparse.Namespace) -> int:
    from memkit.bench import capacity

    return capacity.main(
        ranks=arguments.ranks or capacity.RANKS,
        loads=arguments.loads or capacity.LOADS,
        base=arguments.base,
        json_path=arguments.json,
    )


def _bench_mix(arguments: argparse.Namespace) -> int:
    from memkit.bench import mix

    return mix.main(json_path=arguments.json)


def _bench_bank(arguments: argparse.Namespace) -> int:
    from memkit.bench import bank

    return bank.main(json_path=arguments.json)


def _bench_store(arguments: argparse.Namespace) -> int:
    from memkit.bench import store

    return store.main(json_path=arguments.json, records=arguments.records)


def _numbers(text: str) -> tuple[int, ...]:
    """Whole numbers above 0, separated by commas."""
    numbers = tuple(int(part) for part in text.split(","))
    if min(numbers) < 1:
        raise ValueError(text)
    return numbers


def _stats(arguments: argparse.Namespace) -> int:
    with Memory.open(arguments.path, create=False) as memory:
        print(memory.stats())
    return 0


def _add(arguments: argparse.Namespace) -> int:
    with Memory.open(arguments.path) as memory:
        for record in memory.add(arguments.texts):
            print(record.id)
    return 0


def _search(arguments: argparse.Namespace) -> int:
    with Memory.open(arguments.path, create=False) as memory:
        for hit in memory.search(arguments.query):
            print(f"{hit.score:.3f}  {hit.id}  {hit.text}")
    return 0


def _ask(arguments: argparse.Namespace) -> int:
    with Memory.open(arguments.path, create=False) as memory:
        answer = memory.ask(arguments.question)
        print(answer)
        print(answer.route.explain(), file=sys.stderr)
        print(f"citations: {', '.join(answer.citations) or 'none'}", file=sys.stderr)
        if answer.conflict is not None:
            print(f"conflict: {answer.conflict}", file=sys.stderr)
    return 0


def _forget(arguments: argparse.Namespace) -> int:
    with Memory.open(arguments.path, create=False) as memory:
        print(memory.forget(arguments.id))
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
    from memkit.check import check

    report = check(arguments.path, repair=arguments.repair)
    print(report)
    return 0 if report.sound else 1
