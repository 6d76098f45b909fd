"""Counting tokens without a model."""

import subprocess
import sys

import pytest
from transformers import AutoTokenizer

from memkit.errors import ModelUnavailableError
from memkit.models import token_counter as tokens
from memkit.models.token_counter import load_tokenizer
from memkit.testing import tiny_gpt2, tiny_llama

TEXTS = ["", "Which badge does the porter have?", "Clé \U0001f5dd <|im_end|><|endoftext|>", " \n"]


@pytest.fixture(params=[tiny_llama, tiny_gpt2])
def saved(request, tmp_path):
    """A model, and the folder that it is saved in."""
    model = request.param()
    model.model.save_pretrained(tmp_path)
    model.tokenizer.save_pretrained(tmp_path)
    return model, tmp_path


def test_counts_are_the_models(saved):
    model, folder = saved
    counter = load_tokenizer(folder)

    assert [counter.count(text) for text in TEXTS] == [model.count(text) for text in TEXTS]


def test_older_tokenizer_files_are_read_by_transformers(saved, monkeypatch):
    model, folder = saved
    (folder / "tokenizer.json").rename(folder / "other.json")
    asked = []

    def load(path):
        asked.append(path)
        return model.tokenizer

    monkeypatch.setattr(AutoTokenizer, "from_pretrained", load)

    assert load_tokenizer(folder).count("porter") == model.count("porter")
    assert asked == [folder]


def test_a_gguf_file_is_converted_first(saved, tmp_path, monkeypatch):
    model, folder = saved
    file = tmp_path / "model.gguf"
    file.write_bytes(b"")
    monkeypatch.setattr(tokens, "converted", {file: folder}.__getitem__)

    assert load_tokenizer(file).count("porter") == model.count("porter")


def test_a_missing_model_is_named(tmp_path):
    with pytest.raises(ModelUnavailableError, match="does not exist"):
        load_tokenizer(tmp_path / "nowhere")


def test_no_heavy_library_comes_along(saved):
    script = (
        "import sys; from memkit.models.token_counter import load_tokenizer\n"
        "print(load_tokenizer(sys.argv[1]).count('porter') > 0)\n"
        "print([m for m in ('torch', 'transformers') if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", script, str(saved[1])], capture_output=True, text=True, check=True
    )

    assert result.stdout == "True\n[]\n"
