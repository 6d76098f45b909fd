"""An explanation on a terminal of 80 columns."""

import io
import re

import pytest
from rich.console import Console

from memkit.cli.print_explanation import print_explanation

NORA = "What is the badge number of Nora?"


@pytest.fixture
def printed(trained):
    """Gives what is printed about a question, line by line."""

    def explain(question, **options):
        console = Console(file=io.StringIO(), width=80, highlight=False)
        print_explanation(console, trained.explain(question, **options))
        return [line.rstrip() for line in console.file.getvalue().splitlines()]

    return explain


def test_route_evidence_and_facts_are_there(printed):
    lines = printed(NORA)

    assert lines[0] == NORA
    text = "\n".join(lines)
    assert re.search(r"^Route +m0001 x 1\.00$", text, re.MULTILINE)
    assert re.search(
        r"^Evidence +█+\|█*─+ +\d\.\d\d >= \d\.\d\d \(threshold\)$", text, re.MULTILINE
    )
    assert re.search(r"^Asked +m0001: What is the badge number of Nora\?", text, re.MULTILINE)
    assert re.search(r"^Not asked +m0002: its best fact", text, re.MULTILINE)
    assert re.search(r"\d\.\d\d +\d\.\d\d +m0001 +The badge number of Nora is 4471\.", text)
    assert re.search(r"shares badge, number, nora", text)
    assert re.search(r"held in weights +The badge number of Nora is 4471\.\n +Nora", text)
    assert max(map(len, lines)) <= 80


def test_none_says_why_once(printed):
    text = "\n".join(printed("Who painted the Mona Lisa?"))

    assert "none: the base model answers untouched" in text
    assert text.count("too weak") == 1
    assert re.search(r"─\|─* +-?\d\.\d\d < \d\.\d\d", text)


def test_what_is_quoted_and_what_has_no_room_are_told_apart(printed, trained):
    trained.add("The canteen closes at four.", id="canteen")

    within = "\n".join(printed("When does the canteen close?"))
    without = "\n".join(printed("When does the canteen close?", budget=1))

    assert re.search(r"In the prompt: \d+ of 512 tokens of evidence\n  The canteen closes", within)
    assert "In the prompt: 0 of 1 tokens of evidence\n  nothing" in without
    assert re.search(r"no room in the budget +The canteen closes at four\.", without)


def test_a_text_cannot_leave_its_line_or_colour_the_terminal(printed, trained):
    trained.add("The [red]canteen[/red] \x1b[2J closes\nat four.", id="canteen")

    text = "\n".join(printed("When does the canteen close?"))

    assert "\x1b" not in text
    assert r"The [red]canteen[/red] \x1b[2J closes at four." in text


def test_a_memory_without_facts_is_explained_as_well(memory):
    console = Console(file=io.StringIO(), width=80, highlight=False)

    print_explanation(console, memory.explain("When does the canteen close?"))

    assert "Facts considered" not in console.file.getvalue()
    assert "this scope holds no facts" in console.file.getvalue()
