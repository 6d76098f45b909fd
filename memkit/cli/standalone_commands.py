"""Commands that need no memory: ``demo`` and ``capacity``."""

from __future__ import annotations

import argparse

from memkit.cli.arguments import Commands, json_option, positive_numbers


def register(commands: Commands) -> None:
    """Add the commands."""
    measured = json_option()
    demo = commands.add_parser(
        "demo", parents=[measured], help="show memkit on an invented company"
    )
    demo.set_defaults(command=_demo)
    demo.add_argument("--quick", action="store_true", help="a smaller company, in less time")
    demo.add_argument("--seed", type=int, default=0, help="which company (default: 0)")

    capacity = commands.add_parser(
        "capacity",
        parents=[measured],
        help="measure how much an adapter on a base model holds; consolidation uses the result",
    )
    capacity.set_defaults(command=_capacity)
    capacity.add_argument(
        "--ranks", type=positive_numbers, metavar="R,R", help="ranks of the adapters to train"
    )
    capacity.add_argument(
        "--loads", type=positive_numbers, metavar="N,N", help="numbers of facts to train"
    )
    capacity.add_argument("--base", metavar="MODEL", help="folder or hub id of a base model")


def _demo(arguments: argparse.Namespace) -> int:
    from memkit.cli.demo import demo_run

    return demo_run.main(quick=arguments.quick, seed=arguments.seed, json_path=arguments.json)


def _capacity(arguments: argparse.Namespace) -> int:
    from memkit.cli import measure_capacity

    return measure_capacity.main(
        ranks=arguments.ranks or measure_capacity.RANKS,
        loads=arguments.loads or measure_capacity.LOADS,
        base=arguments.base,
        json_path=arguments.json,
    )
