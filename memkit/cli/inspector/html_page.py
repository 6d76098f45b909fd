"""One HTML page with everything in it: styles, program and data. It asks nothing of any network."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import zlib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from memkit.errors import InvalidInputError
from memkit.files import file_draft
from memkit.ledger import is_address

# In this order: what comes later uses what comes before.
_SCRIPTS = (
    *("dom", "data", "overview", "detail", "records", "map", "modules", "routes", "activity"),
    "main",
)


def html_page(memory: Mapping[str, Any]) -> str:
    """Write a memory, as `memkit.cli.inspector.snapshot.snapshot` gives it, as a page.

    No text of the memory becomes part of the page's HTML, style or program: the data is base64,
    and the program sets texts as texts. On top of that the page's policy lets nothing run but
    its own program, by its hash, and nothing be fetched from anywhere.
    """
    style = _asset("style.css")
    program = "\n".join(_asset(f"{name}.js") for name in _SCRIPTS)
    script = f'"use strict";\n(() => {{\n{program}}})();\n'
    return Template(_asset("page.html")).substitute(
        policy=_policy(script, style),
        title=html.escape(f"{memory['name']} – memkit inspector"),
        style=style,
        data=_packed(memory),
        script=script,
    )


def check_place(path: Path, memory: str | Path) -> None:
    """Check that a page would not be written into a memory's directory.

    Raises:
        InvalidInputError: If it would.
    """
    if is_address(memory):
        return
    if path.resolve().is_relative_to(Path(memory).resolve()):
        raise InvalidInputError(
            f"expected a file outside of the memory, got {str(path)!r}",
            "A memory has its directory for itself.",
        )


def write_page(path: Path, memory: Mapping[str, Any]) -> int:
    """Write a page to a file that only its owner can read; gives its size in bytes.

    Args:
        path: The file; it is replaced, all at once, if it exists.
        memory: As for `html_page`.
    """
    content = html_page(memory).encode()
    with file_draft(path) as draft:
        draft.write_bytes(content)
        draft.replace(path)
    return len(content)


def _packed(memory: Mapping[str, Any]) -> str:
    """JSON, compressed, in letters that mean nothing to HTML."""
    text = json.dumps(memory, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return base64.b64encode(zlib.compress(text.encode(), 6)).decode("ascii")


def _policy(script: str, style: str) -> str:
    """The content security policy: nothing but this program and these styles."""
    return (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def _hash(content: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode('ascii')}"


def _asset(name: str) -> str:
    return files("memkit.cli.inspector").joinpath("assets", name).read_text(encoding="utf-8")
