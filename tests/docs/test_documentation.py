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


def test_the_readme_names_every_example():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    examples = [path.name for path in (ROOT / "examples").iterdir() if path.is_file()]

    assert [name for name in sorted(examples) if f"(examples/{name})" not in readme] == []


def documented():
    """Names that the reference has; it shows the module of the errors as a whole."""
    pages = "\n".join(p.read_text(encoding="utf-8") for p in (ROOT / "docs/reference").glob("*.md"))
    names = set(re.findall(r"^::: ([\w.]+)$", pages, flags=re.MULTILINE))
    return names | {f"memkit.errors.{name}" for name in errors.__all__}


def public_names():
    import langchain_memkit
    import memkit
    from memkit import testing

    yield from ((f"memkit.{name}", getattr(memkit, name)) for name in memkit.__all__)
    for name in langchain_memkit.__all__:
        yield f"langchain_memkit.{name}", getattr(langchain_memkit, name)
    for name, value in vars(testing).items():
        if getattr(value, "__module__", "").startswith("memkit.testing."):
            yield f"memkit.testing.{name}", value


def test_the_reference_has_every_public_name():
    known = documented()
    missing = [
        name
        for name, value in public_names()
        if not name.endswith("__version__")
        and not {name, f"memkit.types.{name.rpartition('.')[2]}"} & known
        and f"{getattr(value, '__module__', '')}.{getattr(value, '__name__', '')}" not in known
    ]

    assert missing == []


def test_the_drawn_floors_are_those_that_hold():
    from unit.test_layers import ORDER

    drawing = (ROOT / "docs" / "images" / "floors.svg").read_text(encoding="utf-8")
    drawn = re.findall(r'<text class="name"[^>]*>([^<]+)</text>', drawing)

    assert [set(floor.split(" · ")) for floor in drawn] == list(ORDER)
    assert f"{len(ORDER)} floors" in (ROOT / "docs/architecture.md").read_text()
