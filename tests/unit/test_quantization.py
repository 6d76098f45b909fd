"""Base models that bitsandbytes quantizes: named, refused where it is missing, and as trainable."""

import numpy as np
import pytest
import torch

from memkit import Memory
from memkit.errors import IncompatibleModelError, InvalidInputError, MissingDependencyError
from memkit.lora.serving.hooks import AdapterLayers, Factors
from memkit.lora.spec import TrainSpec
from memkit.lora.training.precision import chosen_precision
from memkit.models import quantization
from memkit.models.language_model import TransformersModel
from memkit.testing import HashingEmbedder
from memkit.types import Sampling

KINDS = ("nf4", "int8")


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def plain(llama_folder):
    return TransformersModel.load(llama_folder, device="cpu")


@pytest.fixture(scope="module")
def quantized(kind, llama_folder):
    return TransformersModel.load(llama_folder, device="cpu", quantization=kind)


def test_a_quantized_model_is_smaller_and_another_one(kind, plain, quantized, llama_folder):
    again = TransformersModel.load(llama_folder, device="cpu", quantization=kind)

    assert (plain.quantization, quantized.quantization) == (None, kind)
    assert quantized.computes == plain.computes | {"quantization": kind}
    assert quantized.size == plain.size
    assert quantized.weight_bytes < plain.weight_bytes
    assert quantized.fingerprint == again.fingerprint != plain.fingerprint


def test_a_row_does_not_depend_on_what_is_beside_it(quantized):
    prompts = [quantized.prompt(text) for text in ("Who has the key?", "Where?", "When is lunch?")]
    sampling = Sampling(max_new_tokens=6)

    together = quantized.generate(prompts, sampling)

    assert [each.ids for each in together] == [
        quantized.generate([prompt], sampling)[0].ids for prompt in prompts
    ]


def test_an_adapter_acts_in_float32_beside_quantized_weights(quantized):
    layers = AdapterLayers.of(quantized)
    name = next(name for name in layers.shapes if name.endswith("down_proj"))
    n_in, n_out = layers.shapes[name]
    random = torch.Generator().manual_seed(1)
    factors = Factors(
        torch.randn(2, n_in, generator=random), torch.randn(n_out, 2, generator=random)
    )
    layer, x = quantized.model.get_submodule(name), torch.randn(1, 3, n_in, generator=random)
    bare = layer(x).detach().numpy()

    with torch.no_grad(), layers.place({name: factors}, torch.full((1, 2), 0.5)):
        beside = layer(x).numpy()

    delta = 0.5 * x[0].numpy() @ factors.a.numpy().T @ factors.b.numpy().T
    np.testing.assert_allclose(beside[0], bare[0] + delta, rtol=1e-5, atol=1e-5)
    layers.detach()


def test_gradients_pass_through_quantized_weights(kind, quantized):
    layer = next(m for m in quantized.model.modules() if type(m).__module__.startswith("bitsandb"))
    x = torch.randn(1, 3, layer.in_features, generator=torch.Generator().manual_seed(2))
    unit = torch.eye(layer.in_features)[None]
    with torch.no_grad():
        weights = layer(unit)[0]  # what the layer makes of each input alone, (in, out)

    layer(x.requires_grad_()).sum().backward()

    tolerance = 1e-5 if kind == "nf4" else 2e-2  # int8 computes in float16
    expected = weights.sum(dim=1).expand(1, 3, -1)
    torch.testing.assert_close(x.grad, expected, rtol=tolerance, atol=tolerance)


def test_weights_that_were_packed_before_are_refused(llama_folder):
    given = TransformersModel.load(llama_folder, device="cpu", quantization="nf4")
    layer = next(m for m in given.model.modules() if hasattr(m, "support_avx512bf16_for_cpu"))
    layer.support_avx512bf16_for_cpu = layer.weight.quant_state.packing_format_for_cpu = True

    with pytest.raises(IncompatibleModelError, match="were packed when it computed"):
        TransformersModel(given.model, given.tokenizer, name="packed")


@pytest.mark.slow
def test_facts_are_learned_beside_quantized_weights(kind, llama_folder, tmp_path, recipe, badges):
    options = {"base_model": llama_folder, "embedder": HashingEmbedder(), "recipe": recipe}
    with Memory.open(tmp_path / "m", device="cpu", quantization=kind, **options) as memory:
        memory.add(badges[:4])
        assert len(memory.consolidate().held) == 4
        answer = memory.ask(badges[0].question, budget=0)
        assert (answer.text, bool(answer.route)) == (badges[0].answer, True)
        assert memory.modules.list()[0].manifest["verified"]["quantization"] == kind
    with (
        Memory.open(tmp_path / "m", device="cpu", **options) as memory,
        pytest.raises(IncompatibleModelError, match="base model"),
    ):
        memory.ask(badges[0].question, budget=0)


def test_a_quantized_model_trains_as_it_computes(quantized):
    assert chosen_precision(quantized, TrainSpec()) == "float32"
    with pytest.raises(InvalidInputError, match="trains in that in which it computes, float32"):
        chosen_precision(quantized, TrainSpec(precision="bfloat16"))


def test_a_missing_library_is_named(llama_folder, monkeypatch):
    monkeypatch.setattr(quantization, "find_spec", lambda _: None)

    with pytest.raises(MissingDependencyError, match="bitsandbytes") as error:
        TransformersModel.load(llama_folder, device="cpu", quantization="nf4")
    assert error.value.hint == "pip install 'memkit-sdk[quantized]'"


@pytest.mark.parametrize("name", ["fp4", "4bit", "", 4, True])
def test_others_are_refused_before_anything_is_loaded(tmp_path, name):
    with pytest.raises(InvalidInputError, match=r"`quantization` must be one of \('nf4', 'int8'\)"):
        Memory.open(tmp_path / "m", quantization=name)
