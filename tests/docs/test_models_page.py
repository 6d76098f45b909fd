"""The page of models that were tried says what the tables say that the tests check."""

from pathlib import Path

from models_page import page

PAGE = Path(__file__).parents[2] / "docs" / "models.md"


def test_the_page_is_current():
    written = PAGE.read_text(encoding="utf-8")

    assert written == page(), "run: python tests/models_page.py > docs/models.md"
