"""llama.cpp computes with an exported adapter what memkit serves, in every type of model."""

import pytest
import torch
from gguf_models import write_gguf as write_model
from llama_cpp_server import LlamaCpp
from model_families import tiny_of

from memkit.lora.llama_cpp.gguf_adapter import llama_cpp_invocation, write_gguf
from memkit.lora.llama_cpp.gguf_names import ARCHITECTURES, GGUFNames
from memkit.lora.serving.hooks import AdapterLayers, Factors, Scaled
from memkit.lora.spec import LoraSpec
from memkit.models.invocation import invocation_tokens
from memkit.testing import tiny_llama

MANIFEST = {"base_model": "tiny"}


class Bench:
    """A tiny base model with a random adapter on all of its linear layers."""

    def __init__(self, base):
        self.base = base
        self.layers = AdapterLayers.of(base)
        random = torch.Generator().manual_seed(1)
        shapes = self.layers.targets(LoraSpec())
        self.part = Scaled(
            {
                name: Factors(
                    0.2 * torch.randn(4, n_in, generator=random),
                    0.2 * torch.randn(n_out, 4, generator=random),
                )
                for name, (n_in, n_out) in shapes.items()
            },
            rank=4,
            scale=1.5,
        )

    def log_probabilities(self, ids, start=None):
        """Of the token after ``ids``, with the adapter on from token ``start`` on, or nowhere."""
        ids = torch.tensor([ids])
        gain = torch.full((1, 4), 0.0 if start is None else self.part.scale)
        acting = torch.arange(ids.shape[1])[None] >= (start or 0)
        placed = self.layers.place(self.part.adapter, gain)
        with torch.no_grad(), placed, self.base.acting.only(acting):
            return self.base.model(ids, use_cache=False).logits[0, -1].log_softmax(-1)


def engine_with(folder, bench, *invocations):
    """llama.cpp with a base model and its adapter, once for each way to activate it."""
    names = GGUFNames(bench.base.model.config)
    write_model(folder / "base.gguf", bench.base)
    paths = [folder / f"adapter{number}.gguf" for number in range(len(invocations))]
    for path, invocation in zip(paths, invocations, strict=True):
        write_gguf(path, bench.part, MANIFEST, names=names, invocation=invocation)
    return LlamaCpp(folder / "base.gguf", paths)


def same(computed, expected):
    torch.testing.assert_close(torch.tensor(computed), expected, atol=0.03, rtol=0)


@pytest.mark.parametrize("family", sorted(ARCHITECTURES))
def test_llama_cpp_computes_what_transformers_does(family, tmp_path):
    bench = Bench(tiny_of(family))
    engine = engine_with(tmp_path, bench, (), ())
    ids = [1, 70, 33, 8, 120, 77, 3, 15, 200, 41, 6]

    bare, adapted = bench.log_probabilities(ids), bench.log_probabilities(ids, start=0)
    assert (adapted - bare).abs().max() > 0.5
    same(engine.log_probabilities(ids), bare)
    same(engine.log_probabilities(ids, 1.0), adapted)
    same(engine.log_probabilities(ids, 0.7, 0.3), adapted)  # a weighted set, for this request
    bench.part = bench.part.times(0.5)
    same(engine.log_probabilities(ids, 0.5), bench.log_probabilities(ids, start=0))


def test_an_activated_adapter_leaves_the_prefix_to_the_untouched_model(tmp_path):
    bench = Bench(tiny_llama())
    engine = engine_with(tmp_path, bench, llama_cpp_invocation(invocation_tokens(bench.base)))
    for prompt in (
        bench.base.prompt("Which badge does the porter have?"),
        bench.base.prompt("Who?", system="Be brief.", history=[("user", "A"), ("assistant", "B")]),
    ):
        ids, start = (*prompt.prefix, *prompt.question), len(prompt.prefix)
        expected = bench.log_probabilities(ids, start=start)
        for other in (None, 0, start - 1, start + 1):
            assert (expected - bench.log_probabilities(ids, start=other)).abs().max() > 0.06
        same(engine.log_probabilities(ids, 1.0), expected)
