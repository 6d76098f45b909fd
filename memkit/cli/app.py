"""The commands of ``memkit``, put together from their groups.

A group is a module with ``register(app)``, which adds its commands. Groups import what is heavy
inside of their commands: to show a page of help, or to complete a word, nothing else is loaded.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Annotated, Any

import typer
import typer.main

from memkit.cli import (
    answer_commands,
    eval_commands,
    explain_commands,
    inspect_commands,
    job_commands,
    machine_commands,
    mcp_commands,
    module_commands,
    read_commands,
    serve_commands,
    standalone_commands,
    study_commands,
    upkeep_commands,
    write_commands,
)
from memkit.cli.placing import add_options, one_command_line
from memkit.version import __version__

# In the order in which the help lists them.
GROUPS = (
    write_commands,
    read_commands,
    inspect_commands,
    answer_commands,
    eval_commands,
    explain_commands,
    module_commands,
    job_commands,
    upkeep_commands,
    mcp_commands,
    serve_commands,
    machine_commands,
    standalone_commands,
    study_commands,
)

HELP = ["-h", "--help"]
COMPLETING = "_MEMKIT_COMPLETE"  # set by the shell's completion, which asks for words


def application() -> typer.Typer:
    """All commands, as a typer application."""
    app = typer.Typer(
        name="memkit",
        no_args_is_help=True,
        pretty_exceptions_enable=False,  # `exit_status` decides what is shown of an error
        rich_markup_mode="markdown",
        context_settings={"help_option_names": HELP},
    )
    app.callback()(_root)
    for group in GROUPS:
        group.register(app)
    return app


def command_line() -> Any:  # noqa: ANN401 - a command of click's, which typer keeps to itself
    """The application as one command.

    Every command takes ``--debug``, and those that name a model say where it computes.
    """
    root = typer.main.get_command(application())
    debug = next(option for option in root.params if option.name == "debug")
    debug.expose_value = False
    commands = _below(root)
    for command in commands:
        add_options(command)
        command.params.append(debug)
        command.short_help = " ".join(command.help.partition("\n\n")[0].split())  # not cut off
    for command in [root, *commands]:
        shows_help = command.get_help_option(typer.Context(command, help_option_names=HELP))
        for option in [*command.params, shows_help]:
            if getattr(option, "is_flag", False):
                option.metavar = ""  # typer would show "<bool>", as if a value were expected
    return root


def run_command(words: Sequence[str]) -> int:
    """Run what the words of a command line say.

    Returns:
        0, or what the command exited with; 2 if the words were not understood, which is told on
        stderr.
    """
    root = command_line()
    if COMPLETING in os.environ:
        root.main(args=list(words), prog_name="memkit")  # exits
    try:
        with one_command_line(), root.make_context("memkit", list(words)) as context:
            root.invoke(context)
    except typer.Exit as exit_:
        return exit_.exit_code
    except typer.Abort as abort:  # Ctrl-D where something was asked
        raise KeyboardInterrupt from abort
    except typer.TyperException as error:
        _tell(error)
        return error.exit_code
    return 0


def _below(command: Any) -> list[Any]:  # noqa: ANN401 - as `command_line`
    """All commands of a group, and of the groups in it."""
    children = list(getattr(command, "commands", {}).values())
    return children + [below for child in children for below in _below(child)]


def _tell(error: typer.TyperException) -> None:
    """Print what is wrong with the words of a command line."""
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":  # the help is printed already
        return
    details = getattr(error.__cause__, "errors", None)
    if details is not None:  # typer quotes what pydantic says
        error.message = _in_plain_words(details()[0])
    message = error.format_message()
    if context is None:
        typer.echo(f"memkit: {message}", err=True)
    else:
        typer.echo(context.get_usage(), err=True)
        hint = f"{context.command_path} --help"
        typer.echo(f"memkit: {message}\nhint: {hint}", err=True)


def _in_plain_words(wrong: Any) -> str:  # noqa: ANN401 - details of an error of pydantic's
    from memkit.server.complaints import in_words  # pydantic is loaded by now

    words = in_words(wrong).removesuffix(".")
    return words if wrong["type"] == "value_error" else f"{words}, got {wrong['input']}"


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"memkit {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version."),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Log what is done, and show the traceback of an error.")
    ] = False,
) -> None:
    """Memory for language-model agents: in the weights, in an index, in the prompt."""
