"""The command line: ``memkit demo``, what measures, and the verbs of `memkit.cli.memory_commands`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from memkit import MemkitError
from memkit.cli import memory_commands as on_memory
from memkit.version import __version__


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
        choices=(
            "arrow",
            "dial",
            "forgetting",
            "locomo",
            "mixing",
            "mixtures",
            "routing",
            "training",
        ),
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
    store.add_argument(
        "--records",
        type=_numbers,
        default=(100_000, 1_000_000),
        metavar="N,N",
        help="among how many to search (default: 100000,1000000)",
    )

    on_memory.register(commands, common)
    return parser


def _demo(arguments: argparse.Namespace) -> int:
    from memkit.cli.demo import demo_run as run

    return run.main(quick=arguments.quick, seed=arguments.seed, json_path=arguments.json)


def _eval(arguments: argparse.Namespace) -> int:
    from benchmarks.evals import (
        arrow,
        dial,
        forgetting,
        locomo,
        mixing,
        mixtures,
        routing,
        training,
    )

    seeds, json_path, data = arguments.seeds, arguments.json, _data(arguments)
    several = {"arrow": arrow.main, "dial": dial.main, "mixing": mixing.main}
    if arguments.subject in several:
        main = several[arguments.subject]
        return main(data=data, facts=arguments.facts, seeds=seeds, json_path=json_path)
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
    from benchmarks.engine import train

    return train.main(data=_data(arguments), seeds=arguments.seeds, json_path=arguments.json)


def _bench_capacity(arguments: argparse.Namespace) -> int:
    from benchmarks.engine import capacity

    return capacity.main(
        ranks=arguments.ranks or capacity.RANKS,
        loads=arguments.loads or capacity.LOADS,
        base=arguments.base,
        json_path=arguments.json,
    )


def _bench_mix(arguments: argparse.Namespace) -> int:
    from benchmarks.engine import mix

    return mix.main(json_path=arguments.json)


def _bench_bank(arguments: argparse.Namespace) -> int:
    from benchmarks.engine import bank

    return bank.main(json_path=arguments.json)


def _bench_store(arguments: argparse.Namespace) -> int:
    from benchmarks import store

    return store.main(json_path=arguments.json, records=arguments.records)


def _numbers(text: str) -> tuple[int, ...]:
    """Whole numbers above 0, separated by commas."""
    numbers = tuple(int(part) for part in text.split(","))
    if min(numbers) < 1:
        raise ValueError(text)
    return numbers
