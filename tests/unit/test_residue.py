"""The search for what is left of a text, against Python's own ``in``."""

import random

import pytest

from memkit.files import files_below
from memkit.memory import residue as traces
from memkit.memory.residue import remains, samples

TEXT = "needle in the haystack"


@pytest.mark.parametrize("block", [9, 64, 1 << 20])
def test_texts_are_found_wherever_they_lie(tmp_path, monkeypatch, block):
    monkeypatch.setattr(traces, "_BLOCK", block)
    for number in range(20):
        for encoding in ("utf-8", "utf-16-le", "utf-16-be"):
            path = tmp_path / "deep" / "er" / "file"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x" * number + TEXT.encode(encoding) + b"y" * (number % 3))
            assert remains(tmp_path, ["nothing of it", TEXT]) == [TEXT]
            path.write_bytes(path.read_bytes().replace(b"y", b"", 1)[: -1 - number % 3])
            assert remains(tmp_path, ["nothing of it", TEXT]) == []


def test_many_texts_at_once(tmp_path, monkeypatch):
    """Texts that share beginnings, in files of few different bytes."""
    monkeypatch.setattr(traces, "_BLOCK", 1000)
    rng = random.Random(0)
    letters = "abé"
    for number in range(5):
        content = "".join(rng.choices(letters, k=3000))
        (tmp_path / f"{number}").write_text(content, encoding="utf-8")
    texts = ["".join(rng.choices(letters, k=rng.randint(5, 14))) for _ in range(2000)]
    content = [path.read_bytes() for path in tmp_path.iterdir()]
    expected = {
        text
        for text in texts
        if len(text.encode()) >= 8 and any(text.encode() in one for one in content)
    }
    assert 10 < len(expected) < 1000
    assert set(remains(tmp_path, texts)) == expected


def test_short_texts_and_empty_files_are_no_trace(tmp_path):
    (tmp_path / "empty").touch()
    (tmp_path / "tiny").write_bytes(b"needle")
    (tmp_path / "full").write_bytes(b"needle in")
    assert remains(tmp_path, ["needle", "", "needle in"]) == ["needle in"]
    assert remains(tmp_path, ["needle"]) == []
    assert remains(tmp_path, []) == []
    assert [path.name for path in files_below(tmp_path)] == ["empty", "full", "tiny"]


def test_samples_come_from_all_over_a_text():
    assert samples("short") == ["short"]
    text = "".join(f"{number:04}" for number in range(1000))
    assert samples(text) == [text[start : start + 64] for start in range(0, 4000, 500)]
    assert samples(text[:100]) == [text[:64], text[64:100]]
