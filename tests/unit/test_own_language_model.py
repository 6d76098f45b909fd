"""A memory answers with a language model of the user's own; only adapters need one of ours."""

import subprocess
import sys

import pytest

from memkit import Memory
from memkit.answering.prompt import PromptFormat
from memkit.errors import InvalidInputError, UnsupportedOperationError
from memkit.protocols import LanguageModel
from memkit.testing import HashingEmbedder, HashingModel, tiny_llama

KEYS = "Ada keeps the keys."
QUESTION = "Who keeps the keys?"


def opened(path, model, backends=("buffer", "rag")):
    return Memory.open(path, backends=backends, base_model=model, embedder=HashingEmbedder())


def test_it_reads_the_evidence_and_answers(tmp_path):
    model = HashingModel()
    with opened(tmp_path / "m", model) as memory:
        memory.add(KEYS)

        answer = memory.ask(QUESTION)

        assert KEYS in answer.recall.text
        read = model.prompt(QUESTION, system=PromptFormat().system_message(answer.recall.text))
        assert answer.text == model.generate([read])[0].text
        assert answer.prompt_tokens == len(read)
        assert "".join(memory.stream(QUESTION)) == answer.text
        assert memory.ask_batch([QUESTION] * 2)[1].text == answer.text


def test_its_tokens_are_what_budgets_are_counted_in(tmp_path):
    model = HashingModel()
    with opened(tmp_path / "m", model) as memory:
        memory.add(KEYS)

        recall = memory.recall(QUESTION, budget=200)

        assert recall.tokens == model.count(recall.text)


def test_forgetting_reaches_what_it_caches(tmp_path):
    calls = []

    class Caching(HashingModel):
        def forget_prefixes(self):
            calls.append("forgotten")

    with opened(tmp_path / "m", Caching()) as memory:
        memory.add(KEYS, id="keys")
        memory.ask(QUESTION)

        memory.forget("keys")

    assert calls


def test_adapters_need_a_model_of_ours(tmp_path):
    for backends in (("lora",), ("buffer", "rag", "lora")):
        with pytest.raises(
            UnsupportedOperationError,
            match=r"TransformersModel`, got a HashingModel as `base_model`\nHint: .*without 'lora'",
        ):
            opened(tmp_path / "m", HashingModel(), backends)


@pytest.mark.parametrize("given", [7, object, ["a"], HashingEmbedder()])
def test_what_is_no_language_model_is_refused(tmp_path, given):
    with pytest.raises(InvalidInputError, match=r"`memkit.protocols.LanguageModel`, got .*\nHint:"):
        opened(tmp_path / "m", given)


def test_both_models_satisfy_the_protocol():
    models: list[LanguageModel] = [HashingModel(), tiny_llama()]

    assert all(isinstance(model, LanguageModel) for model in models)


@pytest.mark.slow
def test_answering_with_it_loads_neither_torch_nor_transformers(tmp_path):
    script = f"""
import sys
from memkit import Memory
from memkit.testing import HashingModel
path, model = {str(tmp_path / "m")!r}, HashingModel()
with Memory.open(path, backends=("buffer",), base_model=model) as memory:
    memory.add({KEYS!r})
    memory.ask({QUESTION!r})
assert not {{"torch", "transformers"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", script], check=True)
