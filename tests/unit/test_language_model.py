"""Hidden states over shared prefixes and holes equal a plain forward pass of transformers."""

import copy
import shutil

import pytest
import torch
from torch import nn

from memkit.errors import CorruptFileError, IncompatibleModelError, ModelUnavailableError
from memkit.models.kv_cache import cache_argument
from memkit.models.language_model import TransformersModel
from memkit.testing import tiny_gpt2, tiny_llama, tiny_qwen2
from memkit.types import CacheUse

PREFIXES = [(5, 6, 7, 8, 9, 10, 11), (), (12, 13), (5, 6, 7, 8, 9, 10, 11)]
QUESTIONS = [(20, 21), (22, 23, 24, 25, 26), (27,), (28, 29, 30)]
ANSWERS = [(40,), (41,), (42,), (43,)]


@pytest.fixture(scope="module", params=[tiny_llama, tiny_qwen2, tiny_gpt2])
def model(request):
    return request.param()


def plain_logits(model, ids):
    """Logits of one unpadded sequence, computed by transformers alone."""
    ids = torch.tensor([ids])
    with torch.no_grad():
        return model.model(ids, attention_mask=torch.ones_like(ids), use_cache=False).logits[0]


def test_parts_with_holes_equal_a_plain_forward_pass(model):
    with torch.no_grad():
        past = model.past(PREFIXES)
        asked = model.extend(past, QUESTIONS)
        answered = model.extend(past, ANSWERS)

    for row, parts in enumerate(zip(PREFIXES, QUESTIONS, ANSWERS, strict=True)):
        prefix, question, answer = parts
        expected = plain_logits(model, prefix + question + answer)[len(prefix) :]
        got = torch.cat([asked[row, : len(question)], answered[row, : len(answer)]])
        torch.testing.assert_close(model.logits(got), expected, atol=1e-4, rtol=1e-4)


def test_keys_and_values_are_given_under_the_name_that_a_model_has_for_them(monkeypatch):
    given, seen = tiny_llama(), []
    before, former = given.decoder.forward, cache_argument(given.decoder)

    def forward(*, cache=None, **others):  # as from transformers 5.24 on
        seen.append(cache)
        return before(**{former: cache} | others)

    monkeypatch.setattr(given.decoder, "forward", forward)
    newer = TransformersModel(given.model, given.tokenizer, name="newer")
    newer.past([(5, 6, 7)])
    assert newer.traits.caches
    assert seen[-1].get_seq_length() == 3


def test_the_past_is_kept_in_step(model):
    past = model.past(PREFIXES)
    assert past.lengths.tolist() == [7, 0, 2, 7]
    assert past.mask.tolist() == [[1] * 7, [0] * 7, [1, 1, 0, 0, 0, 0, 0], [1] * 7]

    model.extend(past, QUESTIONS)
    assert past.lengths.tolist() == [9, 5, 3, 10]
    assert past.mask[:, 7:].tolist() == [
        [1, 1, 0, 0, 0], [1, 1, 1, 1, 1], [1, 0, 0, 0, 0], [1, 1, 1, 0, 0]
    ]  # fmt: skip
    assert past.cache.get_seq_length() == 12


def test_without_any_prefix(model):
    past = model.past([(), ()])
    with torch.no_grad():
        hidden = model.extend(past, [(20, 21, 22), (23,)])

    torch.testing.assert_close(
        model.logits(hidden[1, :1]), plain_logits(model, (23,)), atol=1e-4, rtol=1e-4
    )


def test_gradients_are_those_of_a_plain_forward_pass(model):
    prefix, sequence = (5, 6, 7), (20, 21, 22, 23)
    weight = dict(model.model.named_parameters())[norm_of(model)]
    weight.requires_grad_()
    try:
        past = model.past([prefix])
        model.logits(model.extend(past, [sequence])[0]).square().mean().backward()
        got, weight.grad = weight.grad, None
        ids = torch.tensor([prefix + sequence])
        out = model.model(ids, attention_mask=torch.ones_like(ids), use_cache=False)
        out.logits[0, len(prefix) :].square().mean().backward()
        expected, weight.grad = weight.grad, None
    finally:
        weight.requires_grad_(requires_grad=False)

    torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-3)


def norm_of(model):
    """The final norm: the prefix's keys and values do not depend on it."""
    return next(name for name in ("model.norm.weight", "transformer.ln_f.weight")
                if name in dict(model.model.named_parameters()))  # fmt: skip


def test_weights_are_frozen(model):
    assert not model.model.training
    assert not any(parameter.requires_grad for parameter in model.model.parameters())


def test_a_prefix_is_encoded_once_and_handed_out_as_copies(monkeypatch):
    model = tiny_llama()
    encoded = []
    hidden = model.hidden

    def spy(ids, mask, positions, cache=None):
        encoded.append(tuple(ids[0].tolist()))
        return hidden(ids, mask, positions, cache)

    monkeypatch.setattr(model, "hidden", spy)
    first = model.past([(5, 6, 7)] * 2).cache
    pristine = first.layers[0].keys.clone()
    model.extend(model.past([(5, 6, 7)]), [(20, 21)])
    first.layers[0].keys.zero_()
    second = model.past([(5, 6, 7)] * 3).cache

    assert encoded == [(5, 6, 7), (20, 21)]
    assert second.layers[0].keys.shape[0] == 3
    assert second.get_seq_length() == 3
    for row in range(3):
        torch.testing.assert_close(second.layers[0].keys[row], pristine[0])


def test_remembered_prefixes_are_bounded_and_the_oldest_goes():
    model = tiny_llama()
    token = 2 * 2 * 2 * 16 * 4  # keys and values, layers, heads, width, bytes
    model._prefixes.bound = 8 * token

    for prefix in [(1,) * 4, (2,) * 3, (1,) * 4, (3,) * 2]:
        model.past([prefix])
    assert list(model._prefixes) == [(1,) * 4, (3,) * 2]
    assert model.cached == CacheUse(6 * token, 8 * token)

    model.past([(4,) * 9])  # longer than all that may be kept
    assert list(model._prefixes) == [(1,) * 4, (3,) * 2]


def test_the_fingerprint_tells_models_apart():
    llama = tiny_llama()
    assert llama.fingerprint == tiny_llama().fingerprint
    others = [tiny_llama(seed=1), tiny_qwen2(), tiny_gpt2()]

    renamed = copy.deepcopy(llama.tokenizer)
    renamed.chat_template = llama.tokenizer.chat_template + "\n"
    others.append(TransformersModel(llama.model, renamed, name="other template"))
    extended = copy.deepcopy(llama.tokenizer)
    extended.add_tokens(["porter"])
    others.append(TransformersModel(llama.model, extended, name="other vocabulary"))

    assert len({llama.fingerprint, *(other.fingerprint for other in others)}) == 6


def test_the_fingerprint_is_that_of_the_rounded_weights():
    whole = tiny_llama()
    half = TransformersModel(
        copy.deepcopy(whole.model).to(torch.bfloat16), whole.tokenizer, name="half"
    )

    assert half.fingerprint == whole.fingerprint


def test_the_fingerprint_does_not_see_what_is_added_later():
    model, expected = tiny_llama(), tiny_llama().fingerprint
    attention = model.model.model.layers[0].self_attn
    attention.q_proj = nn.Sequential(attention.q_proj, nn.Identity())
    model.model.register_parameter("extra", nn.Parameter(torch.zeros(3)))

    assert model.fingerprint == expected


def test_a_folder_is_loaded(llama_folder):
    model = TransformersModel.load(llama_folder, device="cpu")

    assert model.name == "my-llama"
    assert model.device.type == "cpu"
    assert model.model.dtype == torch.float32
    assert model.context == 512
    assert model.fingerprint == tiny_llama().fingerprint


def test_the_dtype_can_be_chosen(llama_folder):
    model = TransformersModel.load(str(llama_folder), device="cpu", dtype=torch.bfloat16)

    assert model.model.dtype == torch.bfloat16
    assert model.fingerprint == tiny_llama().fingerprint


def test_broken_weights_are_named(llama_folder, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(llama_folder, broken)
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])

    with pytest.raises(CorruptFileError, match=r"broken.* cannot be read"):
        TransformersModel.load(broken)


@pytest.mark.parametrize("lost", ["tokenizer.json", "config.json"])
def test_what_is_no_language_model_is_refused(llama_folder, tmp_path, lost):
    other = tmp_path / "other"
    shutil.copytree(llama_folder, other)
    (other / lost).write_text('{"model_type": "nonesuch"}')

    with pytest.raises(IncompatibleModelError, match=r"expected a causal language model .*other"):
        TransformersModel.load(other)


def test_prefixes_can_be_forgotten():
    model = tiny_llama()
    model.past([(5, 6, 7)])

    model.forget_prefixes()

    assert not model._prefixes


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(ModelUnavailableError, match="does not exist"):
        TransformersModel.load(tmp_path / "nowhere")
