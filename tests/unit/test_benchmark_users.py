"""The benchmark of many users at once, in miniature."""

import json

import pytest
from benchmarks import command
from benchmarks.engine import users

from memkit.models.embedder import SentenceEmbedder
from memkit.models.language_model import TransformersModel
from memkit.testing import HashingEmbedder, tiny_llama


@pytest.mark.slow
def test_users_in_miniature(tmp_path, capsys, monkeypatch):
    base = tiny_llama()
    monkeypatch.setattr(TransformersModel, "load", lambda *_, **__: base)
    monkeypatch.setattr(SentenceEmbedder, "load", lambda *_, **__: HashingEmbedder())
    sizes = {"USERS": (1, 3), "REPEATS": 1, "STORY": 24, "QUESTIONS": 1}
    for name, size in sizes.items():
        monkeypatch.setattr(users, name, size)
    path = tmp_path / "users.json"

    assert command.main(["users", "--json", str(path)]) == 0

    written, shown = json.loads(path.read_text(encoding="utf-8")), capsys.readouterr().out
    cases = {(result["case"], result["metric"]) for result in written["results"]}
    for case in ("bare model", "ask_batch", "HTTP server"):
        for count in (1, 3):
            assert (f"{case}, {count} users", "throughput") in cases
            assert (f"{case}, {count} users", "an answer") in cases
    assert set(written["ratios"]) == {
        *("ask_batch_vs_base_1", "server_vs_base_1", "ask_batch_vs_base_3", "server_vs_base_3"),
        *("server_3_vs_1", "word_beside_story", "word_vs_story"),
    }
    assert all(value > 0 for value in written["ratios"].values())
    assert all(name in shown for name in written["ratios"])
