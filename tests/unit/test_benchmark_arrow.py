"""The benchmark `arrow`: PEFT's Arrow on modules of a tiny model, beside the routers."""

import copy

import pytest
import torch
from benchmarks.evals.arrow import Arrow, _compared
from peft import LoraConfig, get_peft_model

from memkit import Memory
from memkit.evals.data.phone_book import drafts_of, invented
from memkit.models.language_model import TransformersModel
from memkit.testing import HashingEmbedder, tiny_llama, tiny_recipe

# PEFT 0.21 calls what transformers is about to drop.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")

QUESTION = "What is the phone number of Ada Lind?"


@pytest.fixture
def base():
    return tiny_llama()


def read_by(base):
    """What the layers that are adapted read for the question: their own inputs, (tokens, n)."""
    inputs_of = {}
    hooks = [
        layer.register_forward_hook(
            lambda _, inputs, __, name=name: inputs_of.update({name: inputs[0][0]})
        )
        for name, layer in base.model.named_modules()
        if name.endswith("q_proj")
    ]
    prompt = base.prompt(QUESTION)
    with torch.no_grad():
        base.model(torch.tensor([[*prompt.prefix, *prompt.question]]))
    for hook in hooks:
        hook.remove()
    return inputs_of


def saved(base, folder, direction):
    """An adapter whose change points in a direction of its inputs' singular vectors."""
    config = LoraConfig(r=1, target_modules=["q_proj"], task_type="CAUSAL_LM")
    model = get_peft_model(copy.deepcopy(base.model), config)
    for name, inputs in read_by(base).items():
        layer = model.get_base_model().get_submodule(name)
        layer.lora_A["default"].weight.data[0] = torch.linalg.svd(inputs).Vh[direction]
        layer.lora_B["default"].weight.data.fill_(1e-6)
    model.save_pretrained(folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("order", [(0, -1), (-1, 0)])
def test_it_turns_to_the_adapter_that_points_where_the_tokens_do(base, tmp_path, order):
    folders = [saved(base, tmp_path / str(place), way) for place, way in enumerate(order)]

    assert Arrow(base, folders, adapters=1).first(QUESTION) == order.index(0)


@pytest.mark.slow
def test_routers_and_arrow_are_asked_for_the_same_entries(base, tmp_path, monkeypatch):
    monkeypatch.setattr(TransformersModel, "load", lambda **_: tiny_llama())
    entries = invented(4)
    with Memory.open(
        tmp_path / "m", base_model=base, embedder=HashingEmbedder(), recipe=tiny_recipe(2)
    ) as memory:
        memory.add(drafts_of(entries))
        memory.consolidate()
        held = sum(len(m.records) for m in memory.modules.list() if m.manifest["attempt"] == 1)
        hits = dict(_compared(memory, entries))

    assert hits["nearest facts", "top-1"] == [True] * held
    arrows = {(f"Arrow, {n} at a time", metric) for n in (1, 3) for metric in ("top-1", "exact")}
    assert set(hits) == {("nearest facts", "top-1"), ("centroids", "top-1"), *arrows}
    assert {len(answers) for answers in hits.values()} == {held}
    assert held > 0
