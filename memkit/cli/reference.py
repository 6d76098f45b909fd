"""The reference page of the command line: ``python -m memkit.cli.reference > docs/cli.md``."""

from __future__ import annotations

import sys

import typer
from typer.cli import get_docs_for_click

from memkit.cli.app import command_line

# What no command's help says, as it is true of all of them.
COMMON = """\
`memkit COMMAND --help` shows the same for one command, and `memkit --install-completion` teaches
your shell to complete commands and options. `python -m memkit` is the same program.

Results go to the standard output; progress, notes and errors to the standard error. On a
terminal, lists are tables that fit its width; through a pipe they are lines with tabs between the
cells, and `--json` prints one JSON document instead. `capacity`, `demo` and `study`, which print
as they go on, write their figures to a file as well: `--json FILE`.

| status | when |
|---|---|
| 0 | it worked |
| 1 | it failed, or a check found something wrong; the message says what to do |
| 2 | the command line was not understood, or contradicts itself; nothing was opened or loaded |
| 3 | `ask --strict` withheld the answer, as nothing stored supports it |
| 130 | interrupted |
| 141 | whoever read the output went away |

`--scope user=ada` names whose knowledge a command is about, and may be repeated. Without it,
`search`, `recall`, `ask`, `chat` and `explain` see what everybody may see; commands that look
after a memory as a whole, such as `get`, `list`, `update` and `forget ID`, reach every scope.

`--where source=hr` filters by metadata, and `--metadata source=hr` sets it. `KEY=TEXT` is a text
and `KEY:=JSON` any other value: `--where year:=2026`. A whole [filter](how-to/filter.md) is JSON:
`--where '{"year": {"$gte": 2020}}'`. `KEY=` is an empty text; `update --remove-metadata KEY` takes
a key out.

Where a command takes the id of a record, its first characters will do: six or more, and enough
to tell it from the others.

`--base-model` and `--embedder` name other models than the default ones. A memory is used with
the models that it was made with, so put them into the environment: `MEMKIT_BASE_MODEL` and
`MEMKIT_EMBEDDER` hold wherever the options are not given.

Commands that open models say where these compute: `--device cuda:1`, `--dtype bfloat16`,
`--attn-implementation sdpa`, `--max-memory 8GiB` ([a larger model on a GPU](how-to/gpu.md)).

A command that needs models loads them first, which takes some seconds each time; `chat`, `serve`
and `mcp` load them once. No command loads a model that it does not need: `init`, `get`, `list`,
`history`, `stats`, `inspect`, `check`, `export` without `--adapters`, `modules list`, `jobs`,
`consolidate --no-wait` and `forget --no-retrain` load none.
"""


def reference() -> str:
    """The page, in Markdown."""
    root = command_line()
    context = typer.Context(root, info_name="memkit")
    generated: str = get_docs_for_click(obj=root, ctx=context, name="memkit", title="Command line")
    title, _, rest = generated.partition("\n\n")
    return f"{title}\n\n{COMMON}\n{rest.strip()}\n"


if __name__ == "__main__":
    sys.stdout.write(reference())
