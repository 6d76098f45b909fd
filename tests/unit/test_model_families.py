"""Any causal language model: each family works as its own rows do, or is refused by name.

For one family: ``pytest tests/unit/test_model_families.py -k qwen2_moe``. What holds of each is in
docs/concepts/base-models.md.
"""

import copy

import pytest
import torch
from model_families import KEEPING_KEYS_AND_VALUES, REFUSED, WORKING, tiny_of
from torch import nn
from transformers.pytorch_utils import Conv1D

from memkit.errors import (
    IncompatibleModelError,
    RecordNotFoundError,
    UnsupportedOperationError,
)
from memkit.lora import verify
from memkit.lora.consolidation.consolidate import Recipe
from memkit.lora.peft.peft_model import peft_model
from memkit.lora.serving.bank import AdapterBank
from memkit.lora.serving.hooks import AdapterLayers, Factors, Scaled
from memkit.lora.serving.layout import Row
from memkit.lora.spec import LoraSpec, TrainSpec
from memkit.models.scoring import mean_log_probabilities, no_adapters
from memkit.types import Sampling

pytestmark = [
    # PEFT reads a property that transformers is about to rename; some models use what torch is
    # about to.
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

SHORT = Sampling(max_new_tokens=6)
RANK, SCALE = 3, 2.0
TAKEN_FOR_EXPERTS_BY_PEFT = {"deepseek_v2", "deepseek_v3", "qwen3_next"}


@pytest.fixture(scope="module", params=WORKING)
def family(request):
    return request.param


@pytest.fixture(scope="module")
def base(family):
    return tiny_of(family)


@pytest.fixture(scope="module")
def bare(base):
    """A copy that no hook is put on."""
    return copy.deepcopy(base.model)


@pytest.fixture(scope="module")
def layers(base, bare):
    return AdapterLayers.of(base)


@pytest.fixture(scope="module")
def adapters(layers):
    random = torch.Generator().manual_seed(3)
    targets = layers.targets(LoraSpec(rank=RANK))
    return {
        name: {
            layer: Factors(
                a=torch.randn(RANK, n_in, generator=random) / n_in**0.5,
                b=torch.randn(n_out, RANK, generator=random) / 3,
            )
            for layer, (n_in, n_out) in targets.items()
        }
        for name in ("badges", "offices")
    }


@pytest.fixture(scope="module")
def bank(base, layers, adapters):
    rows = {name: Row.of(adapter, SCALE) for name, adapter in adapters.items()}
    return AdapterBank(
        layers, rows.__getitem__, bound=2**30, device=base.device, dtype=base.model.dtype
    )


def assert_same(got, expected):
    """The same up to what float32 leaves of it: kernels add up in chunks of other lengths."""
    assert (got - expected).norm() < 1e-3 * expected.norm()


MIXTURES = [{"badges": 1.0}, {"offices": 0.5}, {}, {"badges": 0.3, "offices": 0.7}]


@pytest.fixture(scope="module")
def prompts(base):
    """Of different lengths, before the question and in it; the longest is beyond the windows."""
    return [
        base.prompt("Where is it?"),
        base.prompt("Who keeps the keys of the office?", system="Ada keeps them, and Bo. " * 3),
        base.prompt("It?", system="Be brief."),
        base.prompt("Which badge does the night porter have?", system="Say it."),
    ]


def test_the_model_is_known_for_what_it_is(family, base):
    assert base.traits.caches == (family in KEEPING_KEYS_AND_VALUES)


def test_rows_with_modules_of_their_own_answer_as_they_do_alone(base, bank, prompts):
    """Neither the lengths of the neighbours nor their modules change an answer."""
    alone = [
        base.generate([prompt], SHORT, adapters=bank.mix([mixture]))[0].ids
        for prompt, mixture in zip(prompts, MIXTURES, strict=True)
    ]

    together = base.generate(prompts, SHORT, adapters=bank.mix(MIXTURES))

    assert [completion.ids for completion in together] == alone
    streamed = base.stream(prompts[0], SHORT, adapters=bank.mix(MIXTURES[:1]))
    assert "".join(streamed) == together[0].text


def test_hidden_states_are_those_of_transformers(base, bare, prompts):
    """Part by part and beside others, against whole sequences without any padding."""
    rows = [(prompt.prefix, prompt.question) for prompt in prompts]
    with torch.no_grad():
        past = base.past([prefix for prefix, _ in rows])
        asked = base.extend(past, [question for _, question in rows])
        answered = base.extend(past, [(40 + row,) for row in range(len(rows))])
        for row, (prefix, question) in enumerate(rows):
            ids = torch.tensor([[*prefix, *question, 40 + row]])
            expected = bare(input_ids=ids, use_cache=False).logits[0, len(prefix) :]
            got = base.logits(torch.cat([asked[row, : len(question)], answered[row, :1]]))
            assert_same(got, expected)


def test_scores_are_those_of_transformers(base, bare, prompts):
    answer = base.answer_ids("on the third floor")
    scores = mean_log_probabilities(base, prompts, [answer] * len(prompts), no_adapters)

    for prompt, score in zip(prompts, scores, strict=True):
        ids = prompt.prefix + prompt.question
        with torch.no_grad():
            logits = bare(input_ids=torch.tensor([ids + answer]), use_cache=False).logits[0]
        chances = logits[len(ids) - 1 : -1].float().log_softmax(-1)
        expected = chances[range(len(answer)), list(answer)].mean().item()
        assert score == pytest.approx(expected, abs=2e-3)


def with_dense_weights(bare, adapter):
    """A copy whose weights contain the adapter: ``W + s B A``."""
    model = copy.deepcopy(bare)
    for name, factors in adapter.items():
        layer, delta = model.get_submodule(name), SCALE * factors.b @ factors.a
        layer.weight.data += delta.T if isinstance(layer, Conv1D) else delta
    return model


def test_adapters_do_what_they_do_in_dense_weights_and_in_peft(
    family, base, bare, layers, adapters
):
    adapter, ids = adapters["badges"], torch.tensor([[5, 9, 70, 33, 8], [77, 3, 15, 200, 41]])

    def logits(model):
        with torch.no_grad():
            return model(input_ids=ids, use_cache=False).logits

    with layers.place(adapter, torch.full((1, RANK), SCALE)):
        got = logits(base.model)

    assert_same(got, logits(with_dense_weights(bare, adapter)))
    assert (got - logits(bare)).norm() > 0.05 * logits(bare).norm()
    if family in TAKEN_FOR_EXPERTS_BY_PEFT:
        with pytest.raises(UnsupportedOperationError, match="for others, such as"):
            peft_model(base, Scaled(adapter, RANK, SCALE))
    else:
        assert_same(got, logits(peft_model(base, Scaled(adapter, RANK, SCALE))))


def test_gradients_reach_every_layer_of_an_adapter(base, layers, adapters, prompts):
    leaves = {
        name: Factors(f.a.clone().requires_grad_(), f.b.clone().requires_grad_())
        for name, f in adapters["badges"].items()
    }
    with layers.place(leaves, torch.full((1, RANK), SCALE)):
        past = base.past([prompt.prefix for prompt in prompts[:2]])
        hidden = base.extend(past, [prompt.question for prompt in prompts[:2]])
        base.logits(hidden[:, -1]).square().mean().backward()

    bare = [n for n, f in leaves.items() if f.a.grad is None or not f.a.grad.abs().sum() > 0]
    assert not bare


# What differs between families from the outside: shapes of layers, heads, windows, states.
KINDS = ["opt", "qwen2_moe", "deepseek_v3", "granite", "cohere2", "gemma2", "mamba", "lfm2", "rwkv"]


@pytest.fixture
def any_answer_is_recall(monkeypatch):
    """A few steps teach nothing."""
    monkeypatch.setattr(verify, "same_answer", lambda *_: True)


@pytest.mark.slow
@pytest.mark.usefixtures("any_answer_is_recall")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("family", KINDS)
def test_a_memory_lives_with_the_model(family, precision, tmp_path, opener, badges):
    """From add to forget."""
    train = TrainSpec(
        epochs=2, batch_size=2, learning_rate=3e-2, guards=1, precision=precision, seed=1
    )
    recipe = Recipe(
        lora=LoraSpec(rank=2), train=train, records_per_module=2, reworded_bar=0.0, progress=False
    )
    questions = [badge.question for badge in badges[:3]]
    questions[1] += " Please tell me, it is said to be in the list that the porter has."
    options = {"base_model": tiny_of(family), "recipe": recipe}
    with opener(tmp_path / "m", **options) as memory:
        memory.add(badges[:3])
        with_evidence = memory.ask("Where is the badge of Nora?", sampling=SHORT)
        report = memory.consolidate()
        names = [module.name for module in memory.modules.list()]
        alone = [memory.ask(q, sampling=SHORT, min_score=None) for q in questions]
        together = memory.ask_batch(questions, sampling=SHORT, min_score=None)
        streamed = "".join(memory.stream(questions[0], sampling=SHORT, min_score=None))

        assert with_evidence.recall.text
        assert sorted(report.held) == sorted(badge.id for badge in badges[:3])
        assert len(names) == 2
        assert {answer.recall.route.modules for answer in alone} == {(name,) for name in names}
        assert [answer.text for answer in together] == [answer.text for answer in alone]
        assert streamed == alone[0].text

        memory.forget([badges[0].id])
        with pytest.raises(RecordNotFoundError):
            memory.get(badges[0].id)


def test_a_model_without_layers_to_adapt_is_refused_before_training():
    layers = AdapterLayers(nn.Sequential(nn.Conv1d(3, 3, 1)))

    with pytest.raises(IncompatibleModelError, match="Sequential, found none") as refused:
        layers.targets(LoraSpec())
    assert "without 'lora'" in refused.value.hint


@pytest.mark.parametrize("family", REFUSED)
def test_what_is_no_causal_decoder_is_refused_by_name(family):
    with pytest.raises(IncompatibleModelError, match=REFUSED[family][2]) as refused:
        tiny_of(family)
    assert repr(family) in str(refused.value)
    assert "docs/concepts/base-models.md" in refused.value.hint
