"""Extras that are not installed: the error says which, and how they are."""

import pytest

from memkit.errors import MissingDependencyError
from memkit.server import extras


def test_what_is_installed_is_no_error():
    extras.need_extra("mcp", "mcp", "json")


def test_what_is_missing_is_named():
    message = r"(?s)this needs no_such_a and no_such_b, which.*pip install 'memkit-sdk\[serve\]'"
    with pytest.raises(MissingDependencyError, match=message):
        extras.need_extra("serve", "json", "no_such_a", "no_such_b")


def test_the_command_names_the_extra(monkeypatch, tmp_path, capsys):
    from memkit.cli.main import main

    monkeypatch.setattr(extras, "find_spec", lambda name: None)

    assert main(["mcp", str(tmp_path / "m")]) == 1
    assert "pip install 'memkit-sdk[mcp]'" in capsys.readouterr().err
    assert not (tmp_path / "m").exists()
