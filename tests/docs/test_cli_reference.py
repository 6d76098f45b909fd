"""The reference page of the command line says what the commands say of themselves."""

from pathlib import Path

from memkit.cli.reference import reference

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"


def test_the_page_is_current():
    written = PAGE.read_text(encoding="utf-8")

    assert written == reference(), "run: python -m memkit.cli.reference > docs/cli.md"
