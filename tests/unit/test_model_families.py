"""Any causal language model: each family works as its own rows do, or is refused by name.

For one family: ``pytest tests/unit/test_model_families.py -k qwen2_moe``. What holds of each is in
docs/models.md.
"""

import copy
import json
from contextlib import nullcontext

import pytest
import torch
from model_families import KEEPING_KEYS_AND_VALUES, REFUSED, WORKING, tiny_of
from peft import PeftModel
from torch import nn
from transformers import T5Config, T5ForConditionalGeneration
from transformers.pytorch_utils import Conv1D

from memkit.errors import (
    IncompatibleModelError,
    RecordNotFoundError,
    UnsupportedOperationError,
)
from memkit.lora import verify
from memkit.lora.consolidation import locality, module_builder
from memkit.lora.consolidation.consolidate import Recipe
from memkit.lora.peft.peft_format import read_settings, read_weights, write_folder
from memkit.lora.peft.peft_model import peft_model
from memkit.lora.serving.bank import AdapterBank
from memkit.lora.serving.hooks import AdapterLayers, Factors, Scaled
from memkit.lora.serving.layout import Row
from memkit.lora.spec import LoraSpec, TrainSpec
from memkit.lora.training import training_run
from memkit.lora.training.checkpointing import Checkpointing
from memkit.models.language_model import TransformersModel
from memkit.models.scoring import mean_log_probabilities, no_adapters
from memkit.types import Draft, Sampling

pytestmark = [
    # PEFT reads a property that transformers is about to rename; some models use what torch is
    # about to.
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

SHORT = Sampling(max_new_tokens=4)
RANK, SCALE = 3, 2.0

# What differs between families from the outside: shapes of layers, heads, windows, states.
# `make check` tries these alone.
KINDS = [
    "opt",
    "qwen2_moe",
    "deepseek_v3",
    "granite",
    "cohere2",
    "gemma3",
    "mamba2",
    "lfm2",
    "rwkv",
]


@pytest.fixture(
    scope="module",
    params=[n if n in KINDS else pytest.param(n, marks=pytest.mark.slow) for n in WORKING],
)
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


def test_the_model_is_known_for_what_it_is(family, base, layers):
    left = {
        next(part for part in reversed(name.split(".")) if not part.isdigit())
        for name, layer in base.model.named_modules()
        if isinstance(layer, nn.Linear | Conv1D)
        and any(part.isdigit() for part in name.split("."))
        and not (name in layers.shapes or "vision" in name)
    }
    experts = any("experts" in name.split(".") for name, _ in base.model.named_modules())

    assert base.traits.caches == (family in KEEPING_KEYS_AND_VALUES)
    assert left == WORKING[family].left
    assert experts == WORKING[family].experts


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


def test_rows_that_join_others_answer_as_they_do_alone(base, bank, prompts):
    if not base.shares_passes:
        pytest.skip("its rows cannot join each other")
    asked = list(zip(prompts, MIXTURES, strict=True))
    alone = [base.generate([p], SHORT, adapters=bank.mix([m]))[0].text for p, m in asked]

    streams = [base.stream(p, SHORT, adapters=bank.mix([m])) for p, m in asked]
    begun = [next(stream, "") for stream in streams]
    rest = ["".join(stream) for stream in reversed(streams)][::-1]

    assert [first + last for first, last in zip(begun, rest, strict=True)] == alone


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
        delta = delta.T if isinstance(layer, Conv1D) else delta
        layer.weight = nn.Parameter(layer.weight + delta)  # not in place: some are tied
    return model


def logits_of(model):
    ids = torch.tensor([[5, 9, 70, 33, 8], [77, 3, 15, 200, 41]])
    with torch.no_grad():
        return model(input_ids=ids, use_cache=False).logits


def test_adapters_do_what_they_do_in_dense_weights(base, bare, layers, adapters):
    with layers.place(adapters["badges"], torch.full((1, RANK), SCALE)):
        got = logits_of(base.model)

    assert_same(got, logits_of(with_dense_weights(bare, adapters["badges"])))
    assert (got - logits_of(bare)).norm() > 0.05 * logits_of(bare).norm()


@pytest.fixture
def exported(layers, adapters, tmp_path):
    """Folders that PEFT reads, one for each adapter."""
    for name, adapter in adapters.items():
        part = Scaled(adapter, RANK, SCALE)
        write_folder(tmp_path / name, part, {}, conv1d=layers.conv1d)
    return tmp_path


def test_an_export_is_read_as_it_was_written(layers, adapters, exported):
    for name, adapter in adapters.items():
        assert read_settings(exported / name).scale == SCALE
        back, _ = read_weights(exported / name, RANK, layers.shapes)
        assert back.keys() == adapter.keys()
        for layer, factors in adapter.items():
            assert torch.equal(back[layer].a, factors.a)
            assert torch.equal(back[layer].b, factors.b)


def in_peft(family, bare, exported):
    """PEFT's own model with two adapters and the mixture of them."""
    if not WORKING[family].peft:
        pytest.skip("PEFT adapts other layers")
    model = PeftModel.from_pretrained(copy.deepcopy(bare), exported / "badges", "badges").eval()
    model.load_adapter(exported / "offices", "offices")
    model.add_weighted_adapter(["badges", "offices"], [0.3, 0.7], "both", combination_type="cat")
    return model


def test_mixtures_do_what_they_do_in_peft(request, family, base, bare, exported):
    model = in_peft(family, bare, exported)
    bank, adapters = (request.getfixturevalue(name) for name in ("bank", "adapters"))

    with torch.no_grad(), bank.mix([{"badges": 0.3, "offices": 0.7}, {"offices": 1.0}]):
        mixed, alone = logits_of(base.model)

    model.set_adapter("both")
    assert_same(mixed, logits_of(model)[0])
    model.set_adapter("offices")
    assert_same(alone, logits_of(model)[1])
    as_peft = peft_model(base, Scaled(adapters["offices"], RANK, SCALE))
    assert_same(alone, logits_of(as_peft)[1])


@pytest.mark.parametrize("family", [name for name, known in WORKING.items() if not known.peft])
def test_what_peft_takes_for_experts_is_refused_by_name(family):
    base = tiny_of(family)
    shapes = AdapterLayers.of(base).targets(LoraSpec(rank=RANK))
    part = Scaled(
        {name: Factors(torch.ones(1, n), torch.ones(m, 1)) for name, (n, m) in shapes.items()}, 1, 1
    )
    with pytest.raises(UnsupportedOperationError, match="for others, such as"):
        peft_model(base, part)


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


def test_gradients_are_the_same_where_layers_are_computed_again(base, layers, adapters, prompts):
    def gradients(forward):
        leaves = {
            name: Factors(f.a.clone().requires_grad_(), f.b.clone().requires_grad_())
            for name, f in adapters["badges"].items()
        }
        with base.hold(), layers.place(leaves, torch.full((1, RANK), SCALE)), forward:
            past = base.past([prompt.prefix for prompt in prompts[:2]])
            hidden = base.extend(past, [prompt.question for prompt in prompts[:2]])
        hidden[:, -1].square().mean().backward()
        return [(f.a.grad, f.b.grad) for f in leaves.values()]

    again = gradients(Checkpointing(base, layers).on())

    torch.testing.assert_close(again, gradients(nullcontext()))


@pytest.fixture
def quick_training(monkeypatch):
    """A recipe for one record; what a run does besides learning is cut short."""
    monkeypatch.setattr(training_run, "COOLING", 1)
    monkeypatch.setattr(training_run, "COOLING_STEPS", 3)
    monkeypatch.setattr(module_builder, "PROMPTS", locality.PROMPTS[:1])
    monkeypatch.setattr(locality, "PROMPTS", locality.PROMPTS[:1])
    train = TrainSpec(
        epochs=40, batch_size=4, learning_rate=1e-2, guards=0, mastery=0.6, precision="float32"
    )
    return Recipe(lora=LoraSpec(rank=4), train=train, reworded_bar=0.0, progress=False)


@pytest.mark.slow
def test_a_fact_is_learned_and_comes_back_from_an_export(
    family, base, quick_training, opener, tmp_path
):
    """Trained, verified, committed, routed, answered, written as a PEFT folder, taken in again."""
    question = "What is the badge number of Nora?"
    nora = Draft("The badge number of Nora is 44.", question, "44", id="nora")
    with opener(tmp_path / "m", base_model=base, recipe=quick_training) as memory:
        memory.add(nora)
        assert memory.consolidate().held == ("nora",)
        (trained,) = memory.modules.list()

        answer = memory.ask(question, budget=0, sampling=SHORT)
        assert (answer.text, answer.recall.route.modules) == ("44", (trained.name,))

        if not WORKING[family].peft:
            with pytest.raises(UnsupportedOperationError, match="for others, such as"):
                memory.modules.export(trained.name, tmp_path / "exported")
            assert not (tmp_path / "exported").exists()
            return
        folder = memory.modules.export(trained.name, tmp_path / "exported")
        report = memory.modules.import_(folder, records=["nora"])
        assert report.held == ("nora",)
        assert report.name != trained.name
        answer = memory.ask(question, budget=0, sampling=SHORT)
        assert (answer.text, answer.recall.route.modules) == ("44", (report.name,))


@pytest.fixture
def any_answer_is_recall(monkeypatch):
    """A few steps teach nothing."""
    monkeypatch.setattr(verify, "same_answer", lambda *_: True)


@pytest.mark.slow
@pytest.mark.usefixtures("any_answer_is_recall")
@pytest.mark.parametrize("family", KINDS)
def test_a_memory_lives_with_the_model(family, tmp_path, opener, badges):
    """From add to forget, with several modules."""
    train = TrainSpec(
        epochs=2, batch_size=2, learning_rate=3e-2, guards=1, precision="bfloat16", seed=1
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
    with pytest.raises(IncompatibleModelError, match=REFUSED[family].why) as refused:
        tiny_of(family)
    assert repr(family) in str(refused.value)
    assert "docs/models.md" in refused.value.hint


def test_an_encoder_with_a_decoder_is_refused_by_name():
    config = T5Config(vocab_size=32, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4)
    with pytest.raises(IncompatibleModelError, match=r"'t5'.*has an encoder beside its decoder"):
        TransformersModel(T5ForConditionalGeneration(config), tiny_of("llama").tokenizer, name="t5")


@pytest.mark.parametrize("kind", ["t5", "mistral3", "whisper_of_a_thousand"])
def test_what_transformers_does_not_load_as_a_language_model_is_refused_by_name(kind, tmp_path):
    tiny_of("llama").model.save_pretrained(tmp_path)
    config = tmp_path / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"model_type": kind}))

    with pytest.raises(IncompatibleModelError, match=f"{kind}"):
        TransformersModel.load(tmp_path)
