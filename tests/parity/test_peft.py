"""Adapters do in PEFT what they do in memkit, whichever of the two wrote them."""

import copy

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model

from memkit.lora.peft.merges import Merge, stack_adapters
from memkit.lora.peft.peft_format import read_settings, read_weights, write_folder
from memkit.lora.serving.hooks import AdapterLayers, Factors, Scaled
from memkit.lora.spec import LoraSpec
from memkit.testing import tiny_gpt2, tiny_llama, tiny_qwen2

# PEFT reads a property that transformers is about to rename.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")

SPECS = {
    "low": LoraSpec(rank=2, layers=(0.0, 0.5)),
    "high": LoraSpec(rank=5, alpha=3.0, layers=(0.5, 1.0)),
    "all": LoraSpec(rank=3, layers=(0.0, 1.0)),
    "attention": LoraSpec(rank=4, target_modules=("q_proj", "o_proj", "c_attn"), layers=(0.0, 1.0)),
    "again": LoraSpec(rank=4, target_modules=("q_proj", "o_proj", "c_attn"), layers=(0.0, 1.0)),
}
IDS = torch.tensor([[5, 9, 70, 33, 8, 120], [77, 3, 15, 200, 41, 6]])


class Bench:
    """A model with memkit's hooks, a fresh copy of it for PEFT, and random adapters."""

    def __init__(self, base):
        self.fresh = copy.deepcopy(base.model)
        self.model = base.model
        self.layers = AdapterLayers(base.model)
        random = torch.Generator().manual_seed(1)
        self.parts = {
            name: Scaled(random_adapter(self.layers.targets(spec), spec.rank, random),
                         spec.rank, spec.scale)
            for name, spec in SPECS.items()
        }  # fmt: skip

    def logits(self, mixture):
        """What memkit serves: each adapter's delta times its weight, side by side."""
        parts = [part for part, _ in mixture]
        gain = [weight * part.scale for part, weight in mixture for _ in range(part.rank)]
        stack = stack_adapters([part.adapter for part in parts], [part.rank for part in parts])
        with torch.no_grad(), self.layers.place(stack, torch.tensor([gain] * len(IDS))):
            return self.model(IDS, use_cache=False).logits

    def write(self, folder, part):
        write_folder(folder, part, {}, conv1d=self.layers.conv1d)

    def in_peft(self, *folders):
        # PEFT warns of what it does not understand in the files, and warnings are errors here.
        first, *others = folders
        model = PeftModel.from_pretrained(copy.deepcopy(self.fresh), first, first.name)
        for folder in others:
            model.load_adapter(folder, folder.name)
        return model.eval()


def random_adapter(shapes, rank, random):
    return {
        name: Factors(
            a=0.1 * torch.randn(rank, n_in, generator=random),
            b=0.1 * torch.randn(n_out, rank, generator=random),
        )
        for name, (n_in, n_out) in shapes.items()
    }


@pytest.fixture(scope="module", params=[tiny_llama, tiny_qwen2, tiny_gpt2])
def bench(request):
    return Bench(request.param())


def logits_of(model):
    with torch.no_grad():
        return model(IDS, use_cache=False).logits


def assert_same(ours, theirs):
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


# -- from memkit to PEFT ----------------------------------------------------------------------


@pytest.mark.parametrize("name", SPECS)
def test_peft_loads_an_adapter_and_computes_the_same(bench, name, tmp_path):
    bench.write(tmp_path / name, bench.parts[name])

    expected = logits_of(bench.in_peft(tmp_path / name))

    assert_same(bench.logits([(bench.parts[name], 1.0)]), expected)
    assert (expected - logits_of(bench.fresh)).abs().max() > 0.01


@pytest.mark.parametrize(
    "mixture",
    [
        {"low": 0.5, "high": 0.5},
        {"low": 0.2, "high": 1.3, "all": 0.7},
        {"all": 0.9, "attention": -0.1},
        {"attention": 0.4},
    ],
    ids=str,
)
@pytest.mark.parametrize("merge", [Merge(), Merge("svd", rank=11)], ids=str)
def test_a_mixture_in_one_folder_is_the_mixture_that_memkit_serves(bench, mixture, merge, tmp_path):
    mixed = [(bench.parts[name], weight) for name, weight in mixture.items()]
    bench.write(tmp_path / "mixed", merge(*zip(*mixed, strict=True)))

    assert_same(bench.logits(mixed), logits_of(bench.in_peft(tmp_path / "mixed")))


def test_a_mixture_is_pefts_cat(bench, tmp_path):
    mixture = {"low": 0.2, "high": 1.3, "all": 0.7}
    for name in mixture:
        bench.write(tmp_path / name, bench.parts[name])
    model = bench.in_peft(*(tmp_path / name for name in mixture))
    model.add_weighted_adapter(list(mixture), list(mixture.values()), "cat", combination_type="cat")
    model.set_adapter("cat")

    ours = bench.logits([(bench.parts[name], weight) for name, weight in mixture.items()])

    assert_same(ours, logits_of(model))


@pytest.mark.parametrize("method", ["mean_delta", "linear", "ties", "dare_linear", "dare_ties"])
def test_any_merge_can_be_loaded(bench, method, tmp_path):
    merged = Merge(method)([bench.parts["attention"], bench.parts["again"]], [0.7, 0.5])
    bench.write(tmp_path / method, merged)

    assert_same(bench.logits([(merged, 1.0)]), logits_of(bench.in_peft(tmp_path / method)))


@pytest.mark.parametrize("name", ["all", "attention"])
def test_merging_into_the_weights_in_peft_gives_the_same_model(bench, name, tmp_path):
    """What PEFT writes into the weights is what memkit adds beside them."""
    bench.write(tmp_path / name, bench.parts[name])

    merged = bench.in_peft(tmp_path / name).merge_and_unload()

    torch.testing.assert_close(
        bench.logits([(bench.parts[name], 1.0)]), logits_of(merged), atol=1e-4, rtol=1e-4
    )


# -- from PEFT to memkit ----------------------------------------------------------------------


def trained_by_peft(bench, folder, **settings):
    """A folder that PEFT has saved, with random weights, and its logits."""
    settings = {"target_modules": "all-linear", "fan_in_fan_out": bench.layers.conv1d, **settings}
    config = LoraConfig(r=4, lora_alpha=6, lora_dropout=0.1, **settings)
    model = get_peft_model(copy.deepcopy(bench.fresh), config)
    random = torch.Generator().manual_seed(2)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data = 0.1 * torch.randn(parameter.shape, generator=random)
    model.save_pretrained(folder)
    return logits_of(model.eval())


def read(bench, folder):
    settings = read_settings(folder)
    factors, _ = read_weights(folder, settings.rank, bench.layers.shapes)
    return Scaled(factors, settings.rank, settings.scale)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"use_rslora": True},
        {"init_lora_weights": "gaussian"},
        {"target_modules": r".*\.(q_proj|c_attn|down_proj)"},
        {"target_modules": ["up_proj", "c_fc"], "layers_to_transform": [1]},
    ],
    ids=str,
)
def test_memkit_reads_what_peft_saves_and_computes_the_same(bench, settings, tmp_path):
    expected = trained_by_peft(bench, tmp_path / "adapter", **settings)

    part = read(bench, tmp_path / "adapter")

    assert_same(bench.logits([(part, 1.0)]), expected)


def test_rslora_adapters_go_back_to_peft_so_that_its_merges_are_right(bench, tmp_path):
    """Their scale is written as alpha: PEFT 0.21.2 would scale a merge by rslora's rule again."""
    trained_by_peft(bench, tmp_path / "from", use_rslora=True)
    part = read(bench, tmp_path / "from")
    for name in ("one", "two"):
        bench.write(tmp_path / name, part)
    model = bench.in_peft(tmp_path / "one", tmp_path / "two")
    model.add_weighted_adapter(["one", "two"], [0.3, 0.7], "both", combination_type="cat")
    model.set_adapter("both")

    assert_same(bench.logits([(part, 1.0)]), logits_of(model))


# -- the default model -------------------------------------------------------------------------


@pytest.mark.real
def test_a_mixture_on_the_default_model_computes_the_same_in_peft(smollm2, tmp_path):
    bench = Bench(smollm2)
    mixed = [(bench.parts["all"], 0.7), (bench.parts["high"], 0.3)]
    bench.write(tmp_path / "mixed", Merge()(*zip(*mixed, strict=True)))
    ours = bench.logits(mixed)
    bench.layers.detach()

    theirs = logits_of(bench.in_peft(tmp_path / "mixed"))

    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-5)
    assert (theirs - logits_of(smollm2.model)).abs().max() > 1.0
