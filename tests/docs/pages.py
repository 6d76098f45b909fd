"""Pages of the documentation: what code they have, and how it is run as a reader would run it."""

import re
import shlex
import sys
import textwrap
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]

BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^\1```[ ]*$", re.DOTALL | re.MULTILINE)
# A page that needs what another page made says so, and links to it.
GOES_ON = re.compile(r"^This page goes on from \[[^\]]+\]\(([^)#]+)\)", re.MULTILINE)


@dataclass
class Block:
    """Code of a page, and the output that the page shows behind it."""

    language: str
    code: str
    line: int  # of the page, where the code begins
    shown: str = ""


@dataclass
class Page:
    """One page of the documentation."""

    path: Path
    blocks: list[Block] = field(default_factory=list)

    @property
    def name(self):
        return self.path.relative_to(ROOT).as_posix()

    @property
    def before(self):
        """The page that has to be run before this one, if any."""
        match = GOES_ON.search(self.path.read_text(encoding="utf-8"))
        return (self.path.parent / match[1]).resolve() if match else None

    @property
    def runs(self):
        """Whether it has code that is run."""
        return any(block.language == "python" for block in self.blocks) or any(
            command.startswith("memkit ") for command, _ in self.commands()
        )

    def commands(self):
        """Command lines of the page, each with the output that is shown for it."""
        for block in self.blocks:
            if block.language == "console":
                yield from commands_of(block.code)


def read(path):
    """Read a page. A block of text right behind code is what the code prints."""
    text = path.read_text(encoding="utf-8")
    blocks, end = [], None
    for match in BLOCK.finditer(text):
        code = textwrap.dedent(match[3])
        if match[2] == "text" and end is not None and not text[end : match.start()].strip():
            blocks[-1].shown = code
        elif match[2] in {"python", "console"}:
            blocks.append(Block(match[2], code, text.count("\n", 0, match.start(3)) + 1))
        end = match.end() if match[2] in {"python", "console"} else None
    return Page(path, blocks)


def commands_of(code):
    """Lines that begin with a dollar sign, each with the lines that follow it."""
    for part in re.split(r"^\$ ", code, flags=re.MULTILINE)[1:]:
        line, _, shown = part.partition("\n")
        while line.endswith("\\"):
            more, _, shown = shown.partition("\n")
            line = line[:-1] + more.strip()
        if "[OPTIONS]" not in line:  # a synopsis
            yield line.partition("  # ")[0].strip(), shown


def agrees(printed, shown):
    """Whether the lines shown are among those printed, in one piece; `…` is any text."""
    pattern = ".*?".join(re.escape(piece) for piece in squeezed(shown).split("…"))
    return re.search(pattern, squeezed(printed), re.DOTALL) is not None


def squeezed(text):
    return "\n".join(" ".join(line.split()) for line in text.strip().splitlines())


def run(page, capsys):
    """Run a page in the current folder, as one program, and compare what it prints and shows."""
    from memkit import Memory

    names = {"__name__": page.name}
    try:
        for block in page.blocks:
            if block.language == "python":
                code = "\n" * (block.line - 1) + block.code  # so that errors name the page's line
                exec(compile(code, str(page.path), "exec"), names)
                compare(page, capsys.readouterr().out, block.shown)
                continue
            for command, shown in commands_of(block.code):
                if command.startswith("memkit "):
                    status = memkit(shlex.split(command)[1:])
                    printed = capsys.readouterr()
                    assert status == 0, f"{command}: {printed.out}{printed.err}"
                    compare(page, printed.out, shown)
    finally:
        for value in list(names.values()):
            if isinstance(value, Memory):
                value.close()


def compare(page, printed, shown):
    assert agrees(printed, shown), f"{page.name} shows:\n{shown}\nprinted was:\n{printed}"


def memkit(arguments):
    """Run a command in this process, which has the libraries loaded; returns its status."""
    from memkit.cli.main import main

    before, sys.argv = sys.argv, ["memkit", *arguments]
    try:
        return main() or 0
    except SystemExit as end:
        return end.code or 0
    finally:
        sys.argv = before
