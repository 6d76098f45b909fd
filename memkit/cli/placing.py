"""``--device`` and its kin: the same options on every command that opens models.

They say nothing about what a command does, so commands do not take them as parameters. They are
noted while a command line is parsed, and read where models are opened.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Annotated, Any

import typer
import typer.main

from memkit.errors import InvalidInputError
from memkit.models.placement import ATTENTION, DTYPES, QUANTIZATIONS, Placement

_PLACED: ContextVar[dict[str, Any] | None] = ContextVar("placed", default=None)
_OF_EMBEDDERS = ("device",)  # the others are for language models


@contextmanager
def one_command_line() -> Iterator[None]:
    """What is noted in the enclosed block is forgotten afterwards."""
    token = _PLACED.set({})
    try:
        yield
    finally:
        _PLACED.reset(token)


def placed() -> dict[str, Any]:
    """What the command line says of where models compute, as options of `Memory.open`."""
    return dict(_PLACED.get() or {})


def placed_embedder() -> dict[str, Any]:
    """The part of `placed` that is about embedders."""
    return {name: value for name, value in placed().items() if name in _OF_EMBEDDERS}


def add_options(command: Any) -> None:  # noqa: ANN401 - a command of click's
    """Give a command that names a model the options that say where and how it computes."""
    names = [parameter.name for parameter in command.params]
    options = _options()
    if "base_model" not in names:
        options = [each for each in options if each.name in _OF_EMBEDDERS]
    places = [names.index(name) for name in ("base_model", "embedder") if name in names]
    if places:
        behind = max(places) + 1
        command.params[behind:behind] = options


def _options() -> list[Any]:
    """The options, which note their values instead of handing them to the command."""
    app = typer.Typer(add_completion=False)
    app.command()(_template)
    options = typer.main.get_command(app).params
    for option in options:
        option.expose_value = False
    return options


def _noted(context: typer.Context, parameter: typer.CallbackParam, value: str | None) -> None:
    """Note a value that is of its kind; whether the machine has the device is seen on opening."""
    del context
    name, noted = parameter.name, _PLACED.get()
    if value is None or name is None or noted is None:
        return
    try:
        given: dict[str, Any] = {name: value}
        Placement.of(**given)
    except InvalidInputError as error:
        hint = f" ({error.hint})" if error.hint else ""
        raise typer.BadParameter(error.message + hint) from None
    noted[name] = value


def _template(
    device: Annotated[
        str | None,
        typer.Option(
            callback=_noted,
            metavar="DEVICE",
            help="Where models compute: cpu, cuda, cuda:1 …",
            show_default="a GPU if there is one",
        ),
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(
            callback=_noted,
            metavar="TYPE",
            help=f"What the language model computes in: {' or '.join(DTYPES)}.",
            show_default="bfloat16 on a GPU, else float32",
        ),
    ] = None,
    attn_implementation: Annotated[
        str | None,
        typer.Option(
            callback=_noted,
            metavar="NAME",
            help=f"How the language model computes attention: {', '.join(ATTENTION)}.",
            show_default="chosen by transformers",
        ),
    ] = None,
    max_memory: Annotated[
        str | None,
        typer.Option(
            callback=_noted,
            metavar="SIZE",
            help="What the language model may take with its caches, such as 8GiB.",
            show_default="what is free",
        ),
    ] = None,
    quantization: Annotated[
        str | None,
        typer.Option(
            callback=_noted,
            metavar="KIND",
            help=f"Quantize the language model's linear layers: {' or '.join(QUANTIZATIONS)}.",
            show_default="no",
        ),
    ] = None,
) -> None:
    """Has the options; never called."""
