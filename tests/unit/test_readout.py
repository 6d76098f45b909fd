"""The last layer, fitted: where it is, what is kept, and how well it fits."""

import math
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import cross_entropy

from memkit.errors import InvalidInputError, UnsupportedOperationError
from memkit.lora.serving.hooks import AdapterLayers, Factors
from memkit.lora.spec import LoraSpec, TrainSpec
from memkit.lora.training import readout
from memkit.lora.training.encoding import facts_of
from memkit.lora.training.final_layer import Tap, site_of
from memkit.lora.training.readout import Readout
from memkit.lora.training.trainer import Trainer
from memkit.protocols import Example, Sampling
from memkit.testing import tiny_gpt2, tiny_llama, tiny_qwen2

SITE = "model.layers.1.mlp.down_proj"
LORA = LoraSpec(rank=16)
SPEC = TrainSpec(epochs=40, batch_size=2, learning_rate=2e-3, guards=0, readout=True)
EXAMPLES = [
    Example(question, badge, name)
    for name, badge in {"Nora": "4471", "Emil": "1234", "Tara": "9876"}.items()
    for question in (f"What is the badge number of {name}?", f"badge number {name}")
]


@pytest.fixture(scope="module")
def base():
    return tiny_llama()


@pytest.fixture
def trainer(base):
    made = Trainer(base, AdapterLayers(base.model), LORA, SPEC)
    yield made
    made.layers.detach()


def seen_by(base, tap, ids):
    """What a forward pass shows at every position but the last, with the tokens that follow."""
    with torch.no_grad(), tap.open():
        hidden = base.extend(base.past([()]), [ids])
    return tap.x[0, :-1], tap.h[0, :-1], torch.tensor(ids[1:]), hidden[0, :-1]


@pytest.mark.parametrize(
    ("make", "site"), [(tiny_llama, SITE), (tiny_qwen2, SITE), (tiny_gpt2, None)]
)
def test_the_site_is_the_linear_layer_before_the_final_norm(make, site):
    assert site_of(make()) == site


def test_a_layer_whose_output_does_not_arrive_is_no_site(base, monkeypatch):
    """Something between the last layer and the norm: half of what is written is lost."""
    norm = base.model.base_model.norm
    handle = norm.register_forward_pre_hook(lambda _, args: (0.5 * args[0],), prepend=True)
    try:
        assert site_of(base) is None
    finally:
        handle.remove()


def test_a_norm_that_takes_the_mean_away_is_none_to_fit_before():
    base = tiny_llama()
    base.model.base_model.norm = torch.nn.LayerNorm(base.model.config.hidden_size)

    assert site_of(base) is None


def test_a_tap_hears_only_while_it_is_open(base):
    tap = Tap(base, SITE)
    x, h, _, hidden = seen_by(base, tap, (5, 6, 7))
    base.extend(base.past([()]), [(8, 9)])

    assert tap.x.shape[1] == 3
    torch.testing.assert_close(base.model.base_model.norm(h), hidden)  # h enters the norm
    assert x.shape == (2, base.model.config.intermediate_size)


def test_what_is_kept_is_free_of_the_factors_in_place(base):
    """The residual stream that a bare pass has, whatever the factors added."""
    layers, tap = AdapterLayers(base.model), Tap(base, SITE)
    fitted = Readout(base, tap, [5, 6, 7], rank=4, scale=2.0)
    random = torch.Generator().manual_seed(0)
    n_in, n_out = layers.shapes[SITE]
    fitted.factors = Factors(
        0.1 * torch.randn(4, n_in, generator=random), 0.1 * torch.randn(n_out, 4, generator=random)
    )
    _, bare, targets, hidden = seen_by(base, tap, (5, 6, 7))

    with layers.place({SITE: fitted.factors}, torch.full((1, 4), 2.0)):
        x, moved, _, _ = seen_by(base, tap, (5, 6, 7))
    fitted.note(x, moved, targets)
    layers.detach()

    [seen] = fitted._seen
    assert not torch.allclose(moved, bare, atol=1e-3)
    torch.testing.assert_close(seen.h, bare, atol=1e-5, rtol=1e-4)
    others = torch.ones(base.model.config.vocab_size, dtype=torch.bool)
    others[[5, 6, 7]] = False
    logits = base.logits(hidden)
    torch.testing.assert_close(seen.rest, logits[:, others].logsumexp(-1), atol=1e-4, rtol=1e-4)
    assert seen.label.tolist() == [1, 2]  # 6 and 7 among 5, 6, 7


@pytest.mark.parametrize("rank", [4, 16])  # fewer and more than there are tokens
def test_a_fit_makes_the_noted_tokens_probable(base, rank):
    layers, tap = AdapterLayers(base.model), Tap(base, SITE)
    ids = (3, 9, 4, 8, 5, 7, 6)
    x, h, targets, hidden = seen_by(base, tap, ids)
    fitted = Readout(base, tap, ids, rank, scale=2.0)
    before = cross_entropy(base.logits(hidden), targets)

    fitted.note(x, h, targets)
    fitted.fit()
    with layers.place({SITE: fitted.factors}, torch.full((1, rank), 2.0)):
        *_, hidden = seen_by(base, tap, ids)
    layers.detach()

    after = cross_entropy(base.logits(hidden), targets)  # of all tokens, not of the few alone
    assert after < math.log(2) < before
    assert fitted.factors.a.shape[0] == fitted.factors.b.shape[1] == rank


def test_the_latest_positions_are_kept(base, monkeypatch):
    monkeypatch.setattr(readout, "MOST", 5)
    tap = Tap(base, SITE)
    fitted = Readout(base, tap, [5, 6, 7], rank=4, scale=2.0)
    for ids in ((5, 6, 7), (6, 7, 5, 6), (7, 5, 6)):
        x, h, targets, _ = seen_by(base, tap, ids)
        fitted.note(x, h, targets)

    assert [len(seen.x) for seen in fitted._seen] == [3, 2]  # 5 positions of 7


def test_an_adapter_with_a_fitted_layer_recalls(base, trainer):
    trained = trainer.fit(EXAMPLES)

    prompts = [base.prompt(example.question) for example in EXAMPLES]
    gain = torch.full((len(prompts), LORA.rank), LORA.scale)
    said = base.generate(
        prompts, Sampling(max_new_tokens=12), adapters=trainer.layers.place(trained.adapter, gain)
    )
    assert [one.text for one in said] == [example.answer for example in EXAMPLES]
    assert list(trained.adapter) == list(trainer.targets)  # every layer, in the model's order


def test_the_same_training_gives_the_same_bytes(trainer):
    first, second = trainer.fit(EXAMPLES).adapter, trainer.fit(EXAMPLES).adapter

    assert all(torch.equal(first[name].a, second[name].a) for name in first)
    assert all(torch.equal(first[name].b, second[name].b) for name in first)


def test_the_fitted_layer_gets_no_gradient(base, trainer):
    course = trainer._course(facts_of(base, EXAMPLES), SPEC)

    names = {name: f.a.requires_grad for name, f in course.adapter().items()}
    assert names == {name: name != SITE for name in trainer.targets}


@pytest.mark.parametrize(
    ("make", "lora", "got"),
    [
        (tiny_gpt2, LORA, "'lora' on 8 layers of GPT2LMHeadModel, among them none such"),
        (tiny_llama, LoraSpec(target_modules="attention"), "among them none such"),
        (tiny_llama, LoraSpec(layers=(0.0, 0.5)), "among them none such"),
        (tiny_llama, LoraSpec(variant="dora"), f"got 'dora' .* among them {SITE}"),
    ],
)
def test_what_cannot_be_fitted_is_refused(make, lora, got):
    base = make()
    with pytest.raises(UnsupportedOperationError, match=got) as refused:
        Trainer(base, AdapterLayers(base.model), lora, SPEC)
    assert refused.value.hint == "leave `readout` out"


def test_a_readout_fits_answers_only():
    with pytest.raises(InvalidInputError, match="needs the objective 'answer', got 'sequence'"):
        TrainSpec(readout=True, objective="sequence")


@pytest.mark.parametrize(("steps", "visits"), [(7, 9), (4, 9), (3, 12), (1, 12)])
def test_fitted_modules_get_half_the_visits(steps, visits):
    assert TrainSpec(readout=True).visits(steps) == visits


def test_a_memory_holds_modules_with_a_fitted_layer(open_memory, tmp_path, recipe, badges):
    """Rounded to float16, verified through the serving path, and made again from the ledger."""
    fitted = replace(recipe, train=replace(recipe.train, epochs=60, readout=True))
    memory = open_memory(tmp_path / "fitted.mem", recipe=fitted)
    memory.add(badges)

    report = memory.consolidate()
    module = memory.modules.list()[0]

    assert len(report.held) == len(badges)
    assert module.manifest["train"]["readout"] is True
    assert all(one.unchanged for one in memory.modules.retrain().modules)
