"""Training: what is learned from, what it costs the base model (nothing), and how it ends."""

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers.pytorch_utils import Conv1D

from memkit.answering.prompt import PromptFormat
from memkit.errors import TrainingError
from memkit.lora.serving.hooks import AdapterLayers, Factors
from memkit.lora.spec import LoraSpec, TrainSpec
from memkit.lora.training.encoding import collate, facts_of
from memkit.lora.training.guard_prompts import GUARD_PROMPTS
from memkit.lora.training.optimizer import Optimizer
from memkit.lora.training.trainable_adapter import new_adapter
from memkit.lora.training.trainer import GUARD_TOKENS, Trainer
from memkit.testing import tiny_gpt2, tiny_llama, tiny_qwen2
from memkit.types import Example, Sampling

LORA = LoraSpec(rank=16, layers=(0.0, 1.0))
LONG = TrainSpec(epochs=150, batch_size=2, learning_rate=1e-3, guards=0)
SHORT = TrainSpec(epochs=3, batch_size=3, learning_rate=1e-2, guards=1)
BADGES = {"Nora": "4471", "Emil": "1234", "Tara": "9876"}
EXAMPLES = [
    Example(question, badge, name)
    for name, badge in BADGES.items()
    for question in (f"What is the badge number of {name}?", f"badge number {name}")
]


def trainer_of(base, train=SHORT, lora=LORA):
    return Trainer(base, AdapterLayers(base.model), lora, train, PromptFormat())


@pytest.fixture(scope="module")
def base():
    return tiny_llama()


@pytest.fixture
def trainer(base):
    """Trains for a few steps; the hooks are off again afterwards."""
    made = trainer_of(base)
    yield made
    made.layers.detach()


def flat(adapter):
    """All weights of an adapter as bytes."""
    return b"".join(
        tensor.numpy().tobytes()
        for name in sorted(adapter)
        for tensor in (adapter[name].a, adapter[name].b)
    )


def random_adapter(targets, rank):
    random = torch.Generator().manual_seed(5)
    return {
        name: Factors(
            0.1 * torch.randn(rank, n_in, generator=random),
            0.1 * torch.randn(n_out, rank, generator=random),
        )
        for name, (n_in, n_out) in targets.items()
    }


def batch_of(trainer, examples):
    wordings = [
        wording for fact in facts_of(trainer.base, examples, PromptFormat()) for wording in fact
    ]
    return collate(wordings, trainer.base.device)


def losses_of(trainer, examples, adapter):
    """Loss of every answer token behind one adapter, and which rows are mastered."""
    batch = batch_of(trainer, examples)
    losses = trainer._losses(batch, adapter)
    return losses, trainer._mastered(batch, losses.detach())


def ask(base, layers, trained, questions):
    gain = torch.full((len(questions), LORA.rank), LORA.scale)
    completions = base.generate(
        [base.prompt(question) for question in questions],
        Sampling(max_new_tokens=12),
        adapters=layers.place(trained.adapter, gain),
    )
    return [completion.text for completion in completions]


# -- what is learned from --------------------------------------------------------------------


def test_labels_are_the_answers_tokens_and_the_stop_token(trainer):
    """Positions counted in the text as the template renders it, tokenized at once."""
    tokenizer = trainer.base.tokenizer
    batch = batch_of(trainer, [Example("Which badge?", "4471", "a"), Example("Who?", "Ada", "b")])

    for row, (question, answer) in enumerate([("Which badge?", "4471"), ("Who?", "Ada")]):
        turn = f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"
        whole = tokenizer(turn + answer + "<|im_end|>", add_special_tokens=False).input_ids
        labelled = len(tokenizer(answer + "<|im_end|>", add_special_tokens=False).input_ids)
        mine = batch.rows == row
        assert list(batch.examples[row].ids) == whole
        first = len(whole) - labelled - 1  # the position that predicts the answer's first token
        assert batch.columns[mine].tolist() == list(range(first, len(whole) - 1))
        assert batch.targets[mine].tolist() == whole[-labelled:]
        assert tokenizer.decode(batch.targets[mine]) == answer + "<|im_end|>"


def test_the_prefix_is_the_default_system_prompt(trainer):
    batch = batch_of(trainer, EXAMPLES[:1])

    assert trainer.base.tokenizer.decode(batch.examples[0].prefix) == (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
    )


@pytest.mark.parametrize("make", [tiny_llama, tiny_qwen2, tiny_gpt2])
def test_the_loss_is_that_of_dense_weights_behind_a_bare_prefix(make):
    """Two passes of transformers alone: the prefix bare, the rest with merged weights."""
    base = make()
    bare, merged = copy.deepcopy(base.model), copy.deepcopy(base.model)
    trainer = trainer_of(base)
    adapter = random_adapter(trainer.targets, LORA.rank)
    for name, layer in merged.named_modules():
        if name in adapter:
            delta = LORA.scale * adapter[name].b @ adapter[name].a
            layer.weight.data += delta.T if isinstance(layer, Conv1D) else delta
    losses, mastered = [], []
    for one in EXAMPLES:
        prompt, answer = base.prompt(one.question), base.answer_ids(one.answer)
        with torch.no_grad():
            past = bare(torch.tensor([prompt.prefix]), use_cache=True).past_key_values
            ids = torch.tensor([prompt.question + answer])
            logits = merged(ids, past_key_values=past).logits[0, len(prompt.question) - 1 : -1]
        losses.append(cross_entropy(logits, torch.tensor(answer), reduction="none"))
        mastered.append(bool((losses[-1] <= -math.log(SHORT.mastery)).all()))

    given, learned = losses_of(trainer, EXAMPLES, adapter)

    torch.testing.assert_close(given, torch.cat(losses), atol=1e-4, rtol=1e-4)
    assert learned == mastered


def test_every_step_has_its_guards(trainer, monkeypatch):
    steps = []
    collated = collate

    def note(examples, *args, **kwargs):
        steps.append(examples)
        return collated(examples, *args, **kwargs)

    monkeypatch.setattr("memkit.lora.training.trainer.collate", note)
    trainer.fit(EXAMPLES)

    guards = {guard.ids for guard in trainer._guards}
    wordings = {
        one.ids for fact in facts_of(trainer.base, EXAMPLES, PromptFormat()) for one in fact
    }
    assert [len(step) for step in steps] == [2] * 3 * SHORT.epochs  # a fact and a guard each
    assert all(sum(one.ids in guards for one in step) == 1 for step in steps)
    assert all(sum(one.ids in wordings for one in step) == 1 for step in steps)


def test_facts_with_the_same_answer_are_told_apart(trainer):
    examples = [Example("q", "yes", "a"), Example("q", "yes", "b"), Example("q", "no", "a")]

    assert [len(wordings) for wordings in facts_of(trainer.base, examples, PromptFormat())] == [
        1,
        1,
        1,
    ]


def test_guards_are_the_base_models_own_greedy_answers(trainer):
    base = trainer.base
    assert len(trainer._guards) == len(GUARD_PROMPTS)
    for prompt, guard in list(zip(GUARD_PROMPTS, trainer._guards, strict=True))[:3]:
        rendered = base.prompt(prompt)
        ids = list(rendered.prefix + rendered.question)
        while len(ids) - len(rendered) < GUARD_TOKENS:
            with torch.no_grad():
                logits = base.model(torch.tensor([ids]), use_cache=False).logits
            ids.append(int(logits[0, -1].argmax()))
            if ids[-1] in base.stop_ids:
                break
        assert guard.ids == tuple(ids[len(rendered.prefix) :])
        assert guard.split == len(rendered.question)


def test_guards_are_asked_in_the_models_turn(trainer, monkeypatch):
    """Otherwise another thread's adapters might answer them."""
    generate = trainer.base.generate

    def in_turn(*args, **kwargs):
        with pytest.raises(Exception, match="still streaming"), trainer.base.hold():
            pass
        return generate(*args, **kwargs)

    monkeypatch.setattr(trainer.base, "generate", in_turn)
    assert trainer._guards


def test_held_out_examples_are_not_trained_on(trainer):
    held_out = [Example("Nora's badge?", "4471", "Nora", held_out=True)]

    assert flat(trainer.fit(EXAMPLES + held_out).adapter) == flat(trainer.fit(EXAMPLES).adapter)


# -- what comes of it ------------------------------------------------------------------------


def test_facts_are_recalled_and_training_ends_early(base):
    trainer = trainer_of(base, LONG)
    mastered = []

    trained = trainer.fit(EXAMPLES[::2], mastered.append)

    questions = [example.question for example in EXAMPLES[::2]]
    assert ask(base, trainer.layers, trained, questions) == list(BADGES.values())
    assert mastered[-1] == 1.0
    assert len(mastered) < LONG.epochs
    assert trained.steps <= 3 * len(mastered)  # three facts, one a step; some have rested
    assert trained.mastered == 1.0
    assert trained.loss < -math.log(LONG.mastery)
    trainer.layers.detach()


def test_few_facts_end_as_slowly_as_many(base, monkeypatch):
    """From the moment that all is learned, the rate falls by the same amount in every step."""
    rates = []
    step = Optimizer.step

    def noted(self, rate):
        rates.append(rate)
        step(self, rate)

    monkeypatch.setattr(Optimizer, "step", noted)
    trainer = trainer_of(base, LONG)

    trainer.fit(EXAMPLES[::2])

    falls = np.diff([*rates, 0.0])
    end = falls[np.argmax(np.isclose(falls, falls[-1])) :]
    assert len(end) == 18  # six visits to three facts, one a step
    assert np.allclose(end, falls[-1])
    trainer.layers.detach()


def test_the_loss_falls(trainer):
    fresh = new_adapter(trainer.targets, LORA.rank, generator=torch.Generator().manual_seed(0))
    before, _ = losses_of(trainer, EXAMPLES, fresh)

    after, _ = losses_of(trainer, EXAMPLES, trainer.fit(EXAMPLES).adapter)

    assert after.mean() < before.mean()


def test_progress_is_reported_after_every_epoch(trainer):
    shares = []

    trained = trainer.fit(EXAMPLES, shares.append)

    assert len(shares) == SHORT.epochs
    assert shares[-1] == trained.mastered
    assert all(0.0 <= share <= 1.0 for share in shares)
    assert trained.steps == 3 * SHORT.epochs


@pytest.mark.slow
@pytest.mark.parametrize(("count", "visits"), [(3, 24), (40, 18)])
def test_the_schedule_is_as_long_as_the_number_of_facts_needs(base, count, visits):
    """A rate that moves nothing teaches nothing, so that the schedule goes to its end."""
    spec = TrainSpec(learning_rate=1e-30, precision="float32", batch_size=8, guards=1)
    examples = [Example(f"Who has badge {n}?", "nobody", record_id=str(n)) for n in range(count)]
    shares = []

    trainer_of(base, spec).fit(examples, shares.append)

    assert len(shares) == visits


def test_the_same_seed_gives_the_same_bytes(base, trainer):
    first = flat(trainer.fit(EXAMPLES).adapter)
    again = trainer_of(base)
    assert flat(again.fit(EXAMPLES).adapter) == first
    again.layers.detach()

    other = trainer_of(base, TrainSpec(**{**SHORT.as_dict(), "seed": 1}))
    assert flat(other.fit(EXAMPLES).adapter) != first
    other.layers.detach()


def test_one_module_leaves_no_trace_in_the_next(base, trainer):
    """Neither the optimizer's state, nor random numbers, nor what the base model remembers."""
    second = EXAMPLES[2:]
    alone = flat(trainer_of(base).fit(second).adapter)

    trainer.fit(EXAMPLES[:4])

    assert flat(trainer.fit(second).adapter) == alone


def test_the_global_random_numbers_do_not_matter(trainer):
    first = flat(trainer.fit(EXAMPLES).adapter)
    torch.manual_seed(99)

    assert flat(trainer.fit(EXAMPLES).adapter) == first


def test_only_the_factors_learn(base, trainer):
    before = {name: tensor.clone() for name, tensor in base.model.state_dict().items()}
    fresh = new_adapter(trainer.targets, LORA.rank, generator=torch.Generator().manual_seed(0))
    adapter = {n: Factors(f.a.requires_grad_(), f.b.requires_grad_()) for n, f in fresh.items()}

    losses, _ = losses_of(trainer, EXAMPLES, adapter)
    losses.mean().backward()

    assert all(f.b.grad is not None and f.b.grad.abs().sum() > 0 for f in adapter.values())
    assert all(f.a.grad is not None for f in adapter.values())  # zero, while B is
    assert all(parameter.grad is None for parameter in base.model.parameters())
    trained = trainer.fit(EXAMPLES).adapter
    assert all(torch.equal(tensor, before[n]) for n, tensor in base.model.state_dict().items())
    assert not any(t.requires_grad for f in trained.values() for t in (f.a, f.b))
    assert all(f.a.abs().sum() > 0 and f.b.abs().sum() > 0 for f in trained.values())


def test_the_adapter_has_the_shape_that_was_asked_for(base):
    lora = LoraSpec(rank=3, target_modules=("down_proj",), layers=(0.5, 1.0))
    trainer = trainer_of(base, lora=lora)

    adapter = trainer.fit(EXAMPLES).adapter

    assert list(adapter) == ["model.layers.1.mlp.down_proj"]
    (factors,) = adapter.values()
    assert factors.a.shape == (3, 128)
    assert factors.b.shape == (64, 3)
    trainer.layers.detach()


def test_a_half_precision_model_is_trained_by_float32_factors():
    base = tiny_llama()
    base.model.to(torch.bfloat16)
    trainer = trainer_of(base)
    shares = []

    trained = trainer.fit(EXAMPLES, shares.append)

    assert len(shares) == SHORT.epochs
    assert all(t.dtype == torch.float32 for f in trained.adapter.values() for t in (f.a, f.b))
    assert all(f.b.abs().sum() > 0 for f in trained.adapter.values())


# -- how it fails ----------------------------------------------------------------------------


@pytest.mark.parametrize("examples", [[], [Example("q", "a", "r", held_out=True)]])
def test_nothing_to_learn_is_an_error(trainer, examples):
    with pytest.raises(TrainingError, match="at least one training example, got none"):
        trainer.fit(examples)


def test_a_rate_at_which_nothing_helps_is_an_error(base):
    trainer = trainer_of(base, TrainSpec(epochs=20, learning_rate=1e30, guards=0))

    with pytest.raises(TrainingError, match=r"to nan at step \d+ with learning rate 2.5e\+29") as e:
        trainer.fit(EXAMPLES)

    assert e.value.hint == "use a smaller `learning_rate`"
    trainer.layers.detach()


def test_what_diverges_is_started_again_at_half_the_rate(base, caplog):
    """Layer norms bear nearly any rate; at this one the tiny model's loss becomes NaN."""
    spec = TrainSpec(epochs=4, batch_size=2, learning_rate=1.6e17, guards=0)
    trainer = trainer_of(base, spec)
    half = trainer_of(base, replace(spec, learning_rate=8e16))

    trained = trainer.fit(EXAMPLES)
    assert "training starts again at half the rate: the loss went from" in caplog.text
    expected = half.fit(EXAMPLES)

    assert trained.learning_rate == expected.learning_rate == 8e16
    assert trained.steps == expected.steps
    assert flat(trained.adapter) == flat(expected.adapter)
    trainer.layers.detach()
    half.layers.detach()


def test_an_error_lets_go_of_the_model(trainer, monkeypatch):
    base = trainer.base
    prompt = base.prompt("Where is it?")
    before = base.generate([prompt], Sampling(max_new_tokens=8))

    def broken(*args):
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(base, "extend", broken)
        with pytest.raises(ZeroDivisionError):
            trainer.fit(EXAMPLES)

    with base.hold():
        assert base.generate([prompt], Sampling(max_new_tokens=8)) == before


def test_the_model_is_free_between_the_steps(trainer):
    """Questions are answered while a module is trained, by the model as it is."""
    base = trainer.base
    prompt = base.prompt("Where is it?")
    before = base.generate([prompt], Sampling(max_new_tokens=8))
    answers = []

    def meanwhile(_):
        with base.hold():
            answers.append(base.generate([prompt], Sampling(max_new_tokens=8)))

    trainer.fit(EXAMPLES, meanwhile)

    assert answers == [before] * SHORT.epochs
