"""Gradient checkpointing: the same adapters, and less that is kept for the way back."""

import threading
from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from model_families import tiny_of
from torch.multiprocessing.reductions import StorageWeakRef

from memkit.answering.prompt import PromptFormat
from memkit.errors import IncompatibleModelError
from memkit.lora.recipe import Recipe
from memkit.lora.serving.hooks import AdapterLayers, Factors, decoder_layer
from memkit.lora.spec import LoraSpec, TrainSpec
from memkit.lora.training.checkpointing import Checkpointing
from memkit.lora.training.encoding import Encoded
from memkit.lora.training.step_memory import StepMemory
from memkit.lora.training.trainable_adapter import new_adapter
from memkit.lora.training.trainer import Trainer
from memkit.models.language_model import TransformersModel
from memkit.testing import tiny_gpt2, tiny_llama, tiny_qwen2
from memkit.types import Example, Sampling

LORA = LoraSpec(rank=4)
TRAIN = TrainSpec(epochs=2, batch_size=2, learning_rate=1e-2, guards=0, precision="float32")
EXAMPLES = [
    Example(f"What is the badge number of {name}?", badge, name)
    for name, badge in {"Nora": "4471", "Emil": "1234", "Tara": "9876"}.items()
]
# Of the tiny Llama: 2 layers of width 64 with 4 heads, 2 of them for keys and values, and 128
# in between. What the adapted layers of one read and make, twice, in float32:
WIDTHS = (64 + 64) + 2 * (64 + 32) + (64 + 64) + 2 * (64 + 128) + (128 + 64)
WHOLE = 2 * 2 * WIDTHS * 4
# Of one layer only; with what enters both, and their keys and values.
LITTLE = 2 * WIDTHS * 4 + 2 * 64 * 4 + 2 * 2 * 32 * 4


@pytest.fixture(scope="module")
def base():
    return tiny_llama()


def fitted(base, checkpointing, lora=LORA, train=TRAIN):
    """What training gives, and how often a layer was computed with gradients."""
    layers = AdapterLayers.of(base)
    trainer = Trainer(
        base, layers, lora, replace(train, gradient_checkpointing=checkpointing), PromptFormat()
    )
    passes = []

    def note(*_):
        if torch.is_grad_enabled():
            passes.append(base._lock.mine)

    # Of the upper layer: its last products are not computed again, as nothing needs what they give.
    upper = next(name for name in trainer.targets if decoder_layer(name) == 1)
    handle = base.model.get_submodule(upper).register_forward_hook(note)
    trained = trainer.fit(EXAMPLES)
    handle.remove()
    layers.detach()
    assert all(passes)  # otherwise another thread could have its adapters in place
    return trained, len(passes)


def assert_same(one, other):
    assert one.loss == other.loss
    for name, factors in one.adapter.items():
        assert torch.equal(factors.a, other.adapter[name].a)
        assert torch.equal(factors.b, other.adapter[name].b)


@pytest.mark.parametrize("layers", [(0.0, 1.0), (0.5, 1.0)])
@pytest.mark.parametrize("make", [tiny_llama, tiny_qwen2, tiny_gpt2])
def test_the_same_adapter_comes_out_bit_by_bit(make, layers):
    base = make()
    lora, train = replace(LORA, layers=layers), replace(TRAIN, guards=1)
    kept, once = fitted(base, "off", lora, train)
    again, twice = fitted(base, "on", lora, train)

    assert_same(kept, again)
    assert_same(again, fitted(base, "on", lora, train)[0])
    assert twice == 2 * once == 2 * kept.steps


def test_whole_rows_are_computed_again_where_nothing_is_cached():
    """Adapters leave the prefix alone in the second pass, too."""
    base = tiny_of("mamba2")
    assert not base.traits.caches

    assert_same(fitted(base, "off")[0], fitted(base, "on")[0])


def test_half_precision_is_no_different():
    base = tiny_llama()
    base.model.to(torch.bfloat16)
    train = replace(TRAIN, precision="bfloat16")

    assert_same(fitted(base, "off", train=train)[0], fitted(base, "on", train=train)[0])


@pytest.mark.parametrize("prefix", [(5, 6, 7), ()])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_what_layers_make_is_not_kept(base, prefix, checkpointing):
    """Neither what is between their products, nor the keys and values of what they have read."""
    layers = AdapterLayers.of(base)
    fresh = new_adapter(layers.targets(LORA), 4, generator=torch.Generator().manual_seed(0))
    leaves = {n: Factors(f.a.requires_grad_(), f.b.requires_grad_()) for n, f in fresh.items()}
    again = Checkpointing(base, layers).on() if checkpointing else nullcontext()
    made = []
    down = base.model.model.layers[0].mlp.down_proj
    with base.hold():
        past = base.past([prefix, prefix])
        handle = down.register_forward_hook(
            lambda _, args, __: made.append(StorageWeakRef(args[0].untyped_storage()))
        )
        with layers.place(leaves, torch.ones(1, 4)), again:
            hidden = base.extend(past, [(1, 2, 3), (4, 5)])
    if checkpointing:
        made += [StorageWeakRef(layer.keys.untyped_storage()) for layer in past.cache.layers]
    handle.remove()
    del past

    assert {ref.expired() for ref in made} == {checkpointing}

    hidden.sum().backward()
    assert all(f.b.grad.abs().sum() > 0 for f in leaves.values())
    layers.detach()


def test_auto_is_off_while_a_step_fits(base):
    trained, passes = fitted(base, "auto")
    assert passes == trained.steps


def test_auto_is_on_for_steps_that_do_not_fit(base, monkeypatch, caplog):
    caplog.set_level("INFO")
    kept, _ = fitted(base, "off")
    monkeypatch.setattr(base, "room", 0)

    trained, passes = fitted(base, "auto")

    assert passes == 2 * trained.steps
    assert_same(kept, trained)
    assert caplog.text.count("computed again in the backward pass: a step would keep 0.0") == 1


@pytest.mark.parametrize(
    ("checkpointing", "limited", "room", "rows", "again"),
    [
        ("auto", True, 8 * 10 * WHOLE, 8, False),
        ("auto", True, 8 * 10 * WHOLE - 1, 8, True),
        ("auto", True, 8 * 10 * LITTLE, 8, True),
        ("auto", True, 8 * 10 * LITTLE - 1, 7, True),
        ("auto", False, 0, 8, True),
        ("off", True, 8 * 10 * WHOLE, 8, False),
        ("off", True, 8 * 10 * WHOLE - 1, 7, False),
        ("off", True, 0, 1, False),
        ("off", False, 0, 8, False),
        ("on", True, 8 * 10 * WHOLE, 8, True),
        ("on", True, 3 * 10 * LITTLE, 3, True),
        ("on", False, 0, 8, True),
    ],
)
def test_a_step_is_computed_as_it_fits(checkpointing, limited, room, rows, again):
    """Eight examples, the longest of which has ten tokens."""
    model = tiny_llama()
    limit = 2**30 if limited else None
    base = TransformersModel(model.model, model.tokenizer, name="tiny", max_memory=limit)
    base.room = room
    layers = AdapterLayers.of(base)
    memory = StepMemory(base, layers, layers.targets(LORA), checkpointing)
    examples = [Encoded((5, 6), (1,) * length, 1) for length in (3, 8, 2, 5, 1, 4, 7, 6)]

    assert memory.rows(examples) == rows
    entered = memory.pass_over(examples)
    assert isinstance(entered, nullcontext) != again


def test_the_layers_are_as_they_were_afterwards(base):
    own = base.model.model.layers
    own[0].forward = first = own[0].forward  # as accelerate replaces it

    def fail():
        with Checkpointing(base, AdapterLayers(base.model)).on():
            assert own[0].forward is not first
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert own[0].forward is first
    assert "forward" not in vars(own[1])
    del own[0].forward


def test_answers_of_other_threads_are_not_those_of_the_adapter(base):
    """They are computed between the layers of a backward pass."""
    prompt = base.prompt("Where is it?")
    expected = base.generate([prompt], Sampling(max_new_tokens=8))
    training = threading.Thread(target=fitted, args=(base, "on"))
    answers = []

    training.start()
    while training.is_alive():
        with base.hold():
            answers.append(base.generate([prompt], Sampling(max_new_tokens=8)))
    training.join()

    assert answers
    assert all(answer == expected for answer in answers)


def test_a_model_without_such_layers_is_refused():
    """transformers' oldest decoder has a class of its own for them."""
    base = tiny_of("openai-gpt")
    layers = AdapterLayers.of(base)
    train = replace(TRAIN, gradient_checkpointing="on")

    with pytest.raises(IncompatibleModelError, match="OpenAIGPTLMHeadModel has no decoder") as e:
        Trainer(base, layers, LORA, train, PromptFormat())
    assert e.value.hint == "leave it out; with a `max_memory`, steps are computed in smaller parts"
    base.room = 0
    trained, passes = fitted(base, "auto")
    assert passes == trained.steps


def test_it_is_no_part_of_what_is_learned(base):
    """Neither of the recipe's key, nor of what a module says of its training."""
    mine = Recipe(train=TrainSpec(seed=3, gradient_checkpointing="on"))
    other = Recipe(train=TrainSpec(seed=3))

    assert mine.key(base) == other.key(base) != Recipe().key(base)
    assert mine.digest == other.digest
    assert mine.train.as_dict() == other.train.as_dict()
    trained = {"lora": LORA.as_dict(), "train": replace(other.train, epochs=5).as_dict()}
    assert mine.like(trained).train == replace(mine.train, epochs=5)
