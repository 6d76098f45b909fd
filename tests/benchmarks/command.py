"""The command line of the benchmarks: ``python tests/benchmarks NAME``."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.report import PROGRAM
from memkit.cli.exit_status import exit_status

DATA_VARIABLE = "MEMKIT_EVAL_DATA"


def positive_numbers(text: str) -> tuple[int, ...]:
    """Parse whole numbers above 0, separated by commas.

    Raises:
        ArgumentTypeError: If the text is anything else.
    """
    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError:
        numbers = (0,)
    if min(numbers) < 1:
        raise argparse.ArgumentTypeError(f"expected whole numbers above 0 like 1,2, got {text!r}")
    return numbers


@dataclass(frozen=True)
class Benchmark:
    """One measurement.

    Attributes:
        module: Where its ``main`` is.
        help: One line about it.
        options: Names in `OPTIONS` that ``main`` takes, besides ``json_path``.
    """

    module: str
    help: str
    options: tuple[str, ...] = ()


OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "data": {"type": Path, "metavar": "DIR", "help": f"folder of data sets (or {DATA_VARIABLE})"},
    "facts": {"type": int, "default": 387, "metavar": "N", "help": "entries of the phone book"},
    "seeds": {"type": int, "default": 3, "metavar": "N", "help": "how often (default: 3)"},
    "records": {
        "type": positive_numbers,
        "default": (100_000, 1_000_000),
        "metavar": "N,N",
        "help": "among how many to search (default: 100000,1000000)",
    },
    "sizes": {
        "type": positive_numbers,
        "default": (10_000,),
        "metavar": "N,N",
        "help": "among how many to search (default: 10000)",
    },
    "tenants": {
        "type": positive_numbers,
        "default": (1_000,),
        "metavar": "N,N",
        "help": "how many tenants, with 100 records each (default: 1000)",
    },
    "shape": {
        "choices": ("tiny", "1b", "8b"),
        "default": "1b",
        "help": "of the model: Llama 3.2 1B (default), Llama 3.1 8B, or a tiny one",
    },
    "dtypes": {
        "type": lambda text: tuple(filter(None, text.split(","))),
        "default": ("float32", "bfloat16"),
        "metavar": "TYPE,TYPE",
        "help": "what to compute in (default: float32,bfloat16)",
    },
    "device": {"default": "cpu", "metavar": "DEVICE", "help": "where (default: cpu)"},
    "model": {
        "choices": ("default", "tiny"),
        "default": "default",
        "help": "the default base model (default), or a tiny one",
    },
    "peers": {
        "type": lambda text: tuple(filter(None, text.split(","))),
        "default": ("sqlitestore", "mem0", "txtai"),
        "metavar": "NAME,NAME",
        "help": "stores to compare with (default: sqlitestore,mem0,txtai); '' for none",
    },
}

BENCHMARKS = {
    "train": Benchmark(
        "engine.train", "time until facts are recalled, beside PEFT", ("data", "seeds")
    ),
    "mix": Benchmark("engine.mix", "mixtures of adapters, beside PEFT"),
    "bank": Benchmark("engine.bank", "time and memory that many modules cost"),
    "shapes": Benchmark(
        "engine.shapes",
        "a base model of one billion parameters: load, train, mix, decode",
        ("shape", "dtypes", "device"),
    ),
    "ask": Benchmark("engine.ask", "what one warm question costs outside the language model"),
    "users": Benchmark("engine.users", "many users at once, through `ask_batch` and the server"),
    "store": Benchmark(
        "store.compare", "adding, searching and durability, beside peers", ("records", "peers")
    ),
    "engines": Benchmark(
        "store.engines", "a memory in a directory and on a PostgreSQL server", ("sizes",)
    ),
    "tenants": Benchmark(
        "store.tenants", "many tenants in one memory, in a directory and on a server", ("tenants",)
    ),
    "arrow": Benchmark("evals.arrow", "PEFT's Arrow as a router", ("data", "facts", "seeds")),
    "dial": Benchmark("evals.dial", "accuracy against prompt tokens", ("data", "facts", "seeds")),
    "forgetting": Benchmark("evals.forgetting", "what weights know after forget()", ("seeds",)),
    "locomo": Benchmark("evals.locomo", "retrieval in long conversations", ("data",)),
    "memories": Benchmark(
        "evals.memories", "everyday memories, asked about in other words", ("data", "seeds")
    ),
    "mixing": Benchmark(
        "evals.mixing", "many modules beside an oracle router", ("data", "facts", "seeds")
    ),
    "mixtures": Benchmark("evals.mixtures", "ways to combine two modules", ("data", "seeds")),
    "routing": Benchmark("evals.routing", "which module is asked, if any", ("data", "seeds")),
    "workers": Benchmark("engine.workers", "what 1, 2 and 4 workers train", ("model", "seeds")),
    "training": Benchmark("evals.training", "settings of training, one by one", ("seeds",)),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one benchmark; returns its exit status, see `memkit.cli.exit_status.exit_status`.

    Args:
        argv: Arguments without the program's name; None takes those of the process.
    """
    arguments = vars(_parser().parse_args(argv))
    benchmark: Benchmark = arguments.pop("benchmark")
    debug: bool = arguments.pop("debug")
    json_path: Path | None = arguments.pop("json")

    def run() -> int:
        # Imported here: most of them load torch.
        measure: Callable[..., int] = import_module(f"benchmarks.{benchmark.module}").main
        return measure(json_path=json_path, **arguments)

    return exit_status(PROGRAM, run, debug=debug)


def _output_file(text: str) -> Path:
    """A file that can be written: better refused now than after an hour of measuring."""
    path = Path(text)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"expected a file, got the folder {text!r}")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise argparse.ArgumentTypeError(f"expected a file that can be written, got {text!r}")
    return path


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=PROGRAM, description="Measure memkit.")
    names = parser.add_subparsers(title="benchmarks", required=True, metavar="NAME")
    parent = argparse.ArgumentParser(add_help=False)
    parent.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parent.add_argument(
        "--json", type=_output_file, metavar="FILE", help="also write the figures there"
    )
    for name, benchmark in BENCHMARKS.items():
        command = names.add_parser(name, parents=[parent], help=benchmark.help)
        command.set_defaults(benchmark=benchmark)
        for option in benchmark.options:
            command.add_argument(f"--{option}", **OPTIONS[option])
        if "data" in benchmark.options:
            command.set_defaults(data=_default_data())
    return parser


def _default_data() -> Path | None:
    folder = os.environ.get(DATA_VARIABLE)
    return Path(folder) if folder else None
