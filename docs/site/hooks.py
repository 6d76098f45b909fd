"""Hooks of the documentation site: pages from outside of docs/, and figures that follow the theme.

Markdown in docs/ links to files of the repository as they lie there, so that it can be read
without the site. For the site, examples and the READMEs of the integrations become pages, and
links lead to those.
"""

from __future__ import annotations

import json
import logging
import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
LOG = logging.getLogger("mkdocs.hooks.memkit")  # a warning fails a strict build

EXAMPLES = sorted(
    path.relative_to(ROOT).as_posix()
    for folder in ("examples", "integrations/langchain/examples")
    for path in (ROOT / folder).glob("*.*")
)
READMES = {
    "integrations/langchain/README.md": "langchain.md",
    "integrations/ray/README.md": "ray.md",
    "integrations/vllm/README.md": "vllm.md",
}
LINK = re.compile(r"(!?\[[^\]]*\])\(([^)\s]+)\)")
CODE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
FIGURE = re.compile(r"^!\[([^\]]*)\]\(([^)]+\.svg)\)$", re.MULTILINE)


def page_of(path: str) -> str | None:
    """The page that a file outside of docs/ becomes, by the file's path below the root."""
    if path in EXAMPLES:
        folder, name = posixpath.split(path)
        package = "langchain-" if folder.startswith("integrations/langchain") else ""
        return f"examples/{package}{posixpath.splitext(name)[0]}.md"
    known = {
        "README.md": "index.md",
        **READMES,
        "examples": "examples/index.md",
    }
    if path in known:
        return known[path]
    return path.removeprefix("docs/") if path.startswith("docs/") else None


def source_of(src_uri: str) -> str:
    """The file that a page is made of, by its path below the root."""
    made = {page_of(path): path for path in [*EXAMPLES, *READMES]}
    return made.get(src_uri, f"docs/{src_uri}")


def example_page(path: str) -> str:
    """A page that shows an example."""
    content = (ROOT / path).read_text(encoding="utf-8")
    text = notebook(content) if path.endswith(".ipynb") else f"```python\n{content}```\n"
    title = title_of(path).rstrip(".")
    return f"---\nsearch:\n  exclude: true\n---\n\n# {title}\n\n`{path}`\n\n{text}"


def title_of(path: str) -> str:
    """What an example says in its first line."""
    content = (ROOT / path).read_text(encoding="utf-8")
    if path.endswith(".ipynb"):
        heading: str = json.loads(content)["cells"][0]["source"][0]
        return heading.removeprefix("# ").strip()
    return content.split('"""')[1].split("\n")[0]


def notebook(content: str) -> str:
    """The cells of a notebook, without its title, as they would be written in Markdown."""
    parts = []
    for cell in json.loads(content)["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        shown = "".join("".join(out["text"]) for out in cell.get("outputs", ()))
        parts += [f"```text\n{shown.rstrip()}\n```"] if shown else []
    return "\n\n".join(parts).partition("\n")[2] + "\n"


def examples_index() -> str:
    """A page that lists the examples."""
    lines = ["# Examples", "", "Each is one file that runs as it stands, and is run by the tests."]
    for path in EXAMPLES:
        lines += ["", f"- [`{path}`]({posixpath.basename(page_of(path) or '')}): {title_of(path)}"]
    return "\n".join(lines) + "\n"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made of files outside of docs/."""
    pages = {page_of(path): example_page(path) for path in EXAMPLES}
    pages["examples/index.md"] = examples_index()
    for path, page in READMES.items():
        pages[page] = (ROOT / path).read_text(encoding="utf-8")
    for src_uri, content in pages.items():
        file = File.generated(config, str(src_uri), content=content)
        if str(src_uri).startswith("examples/") and src_uri != "examples/index.md":
            file.inclusion = InclusionLevel.NOT_IN_NAV
        files.append(file)
    for file in files.documentation_pages():
        if re.match(r"decisions/\d", file.src_uri):
            file.inclusion = InclusionLevel.NOT_IN_NAV
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Lead links to other files of the repository to their pages, and put figures in place."""
    source = source_of(page.file.src_uri)
    here = posixpath.dirname(page.file.src_uri)

    def moved(match: re.Match[str]) -> str:
        target, _, anchor = match[2].partition("#")
        if not target or re.match(r"\w+:", target):
            return match[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        page_uri = page_of(path)
        if page_uri is None:
            LOG.warning("%s links to %s, which is not on the site", source, target)
            return match[0]
        link = posixpath.relpath(page_uri, here or ".")
        return f"{match[1]}({link}{'#' + anchor if anchor else ''})"

    def drawn(match: re.Match[str]) -> str:
        svg = (ROOT / posixpath.dirname(source) / match[2]).read_text(encoding="utf-8")
        drawing = re.sub(r">\s+<", "><", svg).strip()
        return f'<figure class="drawing">{drawing}</figure>'

    outside_of_code = CODE.split(markdown)
    blocks = CODE.findall(markdown)
    for place, text in enumerate(outside_of_code):
        outside_of_code[place] = LINK.sub(moved, FIGURE.sub(drawn, text))
    return "".join(text + block for text, block in zip(outside_of_code, [*blocks, ""], strict=True))
