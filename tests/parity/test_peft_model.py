"""An adapter as a model of PEFT's computes what memkit serves, and leaves the base model alone."""

import pytest
import torch
from peft import PeftModel

from memkit import UnsupportedOperationError
from memkit.errors import ModuleNotFoundInMemoryError
from memkit.lora.peft.peft_model import peft_model
from memkit.lora.serving.bank import AdapterBank
from memkit.lora.serving.hooks import AdapterLayers, Factors, Scaled
from memkit.lora.serving.layout import Row
from memkit.lora.spec import LoraSpec
from memkit.testing import tiny_gpt2, tiny_llama, tiny_qwen2

# PEFT reads a property that transformers is about to rename.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")

IDS = torch.tensor([[5, 9, 70, 33, 8, 120], [77, 3, 15, 200, 41, 6]])


class Bench:
    """A base model with one random adapter of some of its layers, as memkit serves it."""

    def __init__(self, base, seed=1):
        self.base = base
        self.layers = AdapterLayers(base.model)
        random = torch.Generator().manual_seed(seed)
        shapes = self.layers.targets(LoraSpec(layers=(0.5, 1.0)))
        self.part = Scaled(
            {
                name: Factors(
                    0.1 * torch.randn(3, n_in, generator=random),
                    0.1 * torch.randn(n_out, 3, generator=random),
                )
                for name, (n_in, n_out) in shapes.items()
            },
            rank=3,
            scale=1.7,
        )
        row = Row.of(self.part.adapter, self.part.scale, dtype=base.model.dtype)
        self.bank = AdapterBank(
            self.layers, lambda _: row, bound=2**30, device=base.device, dtype=base.model.dtype
        )

    def served(self):
        """Logits of the base model with the adapter in place."""
        with torch.no_grad(), self.bank.mix([{"module": 1.0}] * len(IDS)):
            return logits_of(self.base.model)


def logits_of(model):
    with torch.no_grad():
        return model(IDS, use_cache=False).logits


@pytest.fixture(params=[tiny_llama, tiny_qwen2, tiny_gpt2])
def bench(request):
    return Bench(request.param())


def test_it_computes_what_memkit_serves(bench):
    model = peft_model(bench.base, bench.part)

    assert isinstance(model, PeftModel)
    assert model.peft_config["default"].base_model_name_or_path == bench.base.name
    torch.testing.assert_close(logits_of(model), bench.served(), atol=1e-5, rtol=1e-5)
    assert (logits_of(model) - logits_of(bench.base.model)).abs().max() > 0.01


def test_merging_it_leaves_what_memkit_serves_to_the_bit(bench):
    """PEFT writes merges into the weights in place: they have to be the copy's own."""
    bare, served = logits_of(bench.base.model), bench.served()
    model = peft_model(bench.base, bench.part)

    merged = model.merge_and_unload()

    torch.testing.assert_close(logits_of(merged), served, atol=1e-4, rtol=1e-4)
    assert torch.equal(logits_of(bench.base.model), bare)
    assert torch.equal(bench.served(), served)


def test_what_memkit_puts_in_place_does_not_reach_it(bench):
    model = peft_model(bench.base, bench.part)
    before = logits_of(model)

    with bench.bank.mix([{"module": 1.0}] * len(IDS)):
        assert torch.equal(logits_of(model), before)


def test_it_is_in_the_precision_that_is_served():
    base = tiny_llama()
    base.model.to(torch.bfloat16)
    bench = Bench(base)

    model = peft_model(base, bench.part)

    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    # bfloat16 has eight bits; two layers of it leave a few per cent of the largest logit.
    served = bench.served()
    assert (logits_of(model) - served).abs().max() < 0.05 * served.abs().max()


@pytest.mark.parametrize("trainable", [False, True])
def test_the_factors_learn_only_if_asked_to(trainable):
    bench = Bench(tiny_llama())

    model = peft_model(bench.base, bench.part, trainable=trainable)

    learning = {name for name, p in model.named_parameters() if p.requires_grad}
    assert all(".lora_" in name for name in learning)
    assert len(learning) == (2 * len(bench.part.adapter) if trainable else 0)


def test_a_module_of_a_memory_answers_as_a_peft_model(trained):
    """Greedy decoding with PEFT's model gives what the memory was verified to answer."""
    base = trained._engine.base
    model = trained.modules.peft_model("m0001")
    prompt = base.prompt("What is the badge number of Nora?")
    ids = torch.tensor([[*prompt.prefix, *prompt.question]])
    with torch.no_grad():
        answer = model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=8, do_sample=False
        )
    assert isinstance(model, PeftModel)
    assert base.decode(answer[0, ids.shape[1] :].tolist()).strip().startswith("4471")
    assert trained.ask("What is the badge number of Nora?", 0).text == "4471"


def test_unknown_modules_and_memories_without_adapters_are_told(trained, tmp_path, open_memory):
    with pytest.raises(ModuleNotFoundInMemoryError, match="no module has the name 'm9'"):
        trained.modules.peft_model("m9")
    memory = open_memory(tmp_path / "rag.mem", backends=("rag",))
    with pytest.raises(UnsupportedOperationError, match=r"modules.peft_model\(\) needs the 'lora'"):
        memory.modules.peft_model("m0001")
