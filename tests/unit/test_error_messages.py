"""Errors show what came on one short line, whatever it is."""

import ast
import re
from pathlib import Path

import pytest
from typer import BadParameter

import memkit
from memkit.cli import parameters
from memkit.errors import InvalidInputError
from memkit.lora.peft.merges import Merge
from memkit.lora.spec import LoraSpec
from memkit.rag.chunks import split
from memkit.types import Period
from memkit.types.validate import check_period, shown

PACKAGE = Path(memkit.__file__).parent
# What cannot come from outside, or is a path, which is shown whole.
TRUSTED = {"missing[0]", "error", "question.document", "gguf.name", "embedder.name", "value"}

BEHIND = re.compile(r"got (the \w+ )?$")


def quoted_raw(source):
    """Values behind "got" in f-strings that are not shown by the one function for it."""
    for node in ast.walk(ast.parse(source)):
        before = ""
        for part in node.values if isinstance(node, ast.JoinedStr) else ():
            if isinstance(part, ast.Constant):
                before = part.value
            elif (part.conversion, part.format_spec) == (ord("r"), None) and BEHIND.search(before):
                yield ast.unparse(part.value)


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_values_from_outside_are_shown_by_one_function(path):
    raw = [value for value in quoted_raw(path.read_text()) if not value.startswith("str(")]
    assert set(raw) - TRUSTED == set()


HUGE = 10**5000  # which Python refuses to write


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: split("text", size=-HUGE),
        lambda: LoraSpec(alpha=-HUGE),
        lambda: Merge("ties", density=HUGE),
        lambda: check_period(Period(until=HUGE)),
        lambda: parameters.key_value("x" * 10**6),
    ],
)
def test_huge_values_are_shown_shortly(wrong):
    with pytest.raises((InvalidInputError, BadParameter)) as caught:
        wrong()
    assert len(str(caught.value)) < 400


@pytest.mark.slow
def test_whatever_cannot_be_shown_is_named():
    nest = []
    for _ in range(100_000):
        nest = [nest]
    assert shown(nest) == "<cannot be shown: RecursionError>"
    assert len(shown({"key": "x" * 10**6})) <= 80
