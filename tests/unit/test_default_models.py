"""The default models, as their packages bring them."""

import logging

import pytest
import torch

from memkit.models.language_model import TransformersModel
from memkit.models.sources import find_base, find_embedder
from memkit.models.token_counter import load_tokenizer
from memkit.types import Sampling

pytestmark = pytest.mark.real

DEFAULT_SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"


def test_the_packages_have_them():
    base, embedder = find_base(), find_embedder()

    assert (base.name, base.origin, base.gguf) == ("SmolLM2-135M-Instruct", "package", True)
    assert (embedder.name, embedder.origin) == ("all-MiniLM-L6-v2", "package")


def test_prompts_follow_the_models_template(smollm2):
    prompt = smollm2.prompt("What is the capital of France?")

    assert smollm2.tokenizer.decode(prompt.prefix) == (
        f"<|im_start|>system\n{DEFAULT_SYSTEM}<|im_end|>\n"
    )
    assert smollm2.tokenizer.decode(prompt.question) == (
        "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n"
    )
    assert smollm2.answer_ids("Paris")[-1] in smollm2.stop_ids


def test_it_answers(smollm2):
    (answer,) = smollm2.generate([smollm2.prompt("What is the capital of France?")])

    assert "Paris" in answer.text
    assert answer.ids[-1] in smollm2.stop_ids


def test_greedy_is_that_of_transformers_in_one_batch(smollm2):
    prompts = [
        smollm2.prompt("What is the capital of France?"),
        smollm2.prompt("Who keeps the keys?", system="Answer from this: Ada keeps the keys."),
        smollm2.prompt("And 2 + 3?", history=[("user", "What is 2 + 2?"), ("assistant", "4")]),
    ]
    answers = smollm2.generate(prompts, Sampling(max_new_tokens=24))

    for prompt, answer in zip(prompts, answers, strict=True):
        ids = torch.tensor([prompt.prefix + prompt.question])
        out = smollm2.model.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=24
        )
        assert list(answer.ids) == out[0, ids.shape[1] :].tolist()


def test_a_second_load_converts_nothing(smollm2, caplog):
    caplog.set_level(logging.INFO, logger="memkit")

    again = TransformersModel.load(device="cpu")

    assert "converting" not in caplog.text
    assert again.fingerprint == smollm2.fingerprint


def test_tokens_are_counted_without_the_model(smollm2):
    counter = load_tokenizer()

    for text in ("", "The badge number is 4471.", "Clé \U0001f5dd <|im_end|>", "\n\n  x"):
        assert counter.count(text) == smollm2.count(text)


def test_meaning_is_near(minilm):
    question = minilm.encode_query(["Which badge does the night porter have?"])
    near, far = minilm.encode_document(
        ["The badge of the porter on duty at night is 4471.", "The archive closes at six."]
    )

    assert minilm.name == "all-MiniLM-L6-v2@53aa5117"  # as the hub states the file's SHA-256
    assert minilm.dim == 384
    assert question[0] @ near > 0.6 > question[0] @ far
