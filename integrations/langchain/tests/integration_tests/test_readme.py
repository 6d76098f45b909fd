"""The README runs as it stands."""

import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2]
README = (PACKAGE / "README.md").read_text(encoding="utf-8")


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)]+)\)", README):
        assert target.startswith("https://") or (PACKAGE / target).exists(), target


def test_every_export_is_mentioned():
    import langchain_memkit

    tools = {"RememberTool", "SearchMemoryTool", "UpdateMemoryTool", "ForgetTool", "user_scope"}
    for name in set(langchain_memkit.__all__) - tools - {"__version__"}:
        assert name in README, name


@pytest.mark.real
def test_the_snippets_are_one_program(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    exec("\n".join(re.findall(r"```python\n(.*?)```", README, re.DOTALL)), {"__name__": "readme"})
    printed = capsys.readouterr().out

    assert "An old fisherman catches a marlin." in printed
    assert "\nmars\n" in printed
    assert "The archive is on the second floor of the mill building." in printed
    assert re.search(r"Ann's locker has the code 8812\. 0\.\d+", printed)
    assert "\n'' no record and no turn" in printed
    assert "{'likes': 'mushrooms'}" in printed
