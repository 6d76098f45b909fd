"""The documentation agrees with the code and with itself."""

import re
from pathlib import Path

import pytest

from memkit import errors

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def anchors(page):
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pages
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        other = (page.parent / path).resolve() if path else page
        assert other.exists(), target
        assert not anchor or anchor in anchors(other), target


@pages
def test_code_is_code(page):
    for snippet in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        compile(snippet, str(page), "exec")


def table_of_errors():
    text = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \|([^|]*)\|([^|]*)\|([^|]*)\|$", text, flags=re.MULTILINE)
    return {name: (parents, when, remedy) for name, parents, when, remedy in rows}


def test_every_error_is_documented_with_cause_and_remedy():
    table = table_of_errors()

    assert set(table) == set(errors.__all__)
    assert all(when.strip() and remedy.strip() for _, when, remedy in table.values())


@pytest.mark.parametrize("name", errors.__all__)
def test_the_documented_parents_are_the_real_ones(name):
    bases = getattr(errors, name).__bases__
    documented = re.findall(r"`(\w+)`", table_of_errors()[name][0])

    assert documented == [base.__name__ for base in bases if base is not errors.MemkitError]


def test_the_readme_names_the_models_that_the_makefile_installs():
    models = re.search(r"^MODELS := (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)

    assert models
    assert models[1] in (ROOT / "README.md").read_text(encoding="utf-8")
