"""What caches may take: a share of what the weights leave, said once and kept to."""

import pytest
import torch
from safetensors.torch import save_file

from memkit import Memory
from memkit.errors import CorruptFileError, InvalidInputError
from memkit.lora.serving.hooks import AdapterLayers
from memkit.lora.spec import LoraSpec
from memkit.lora.training import trainer as trainer_module
from memkit.lora.training.activation_cache import ActivationCache
from memkit.lora.training.encoding import Encoded
from memkit.lora.training.trainer import Trainer
from memkit.models import machine_memory
from memkit.models.cache_bounds import GIB, CacheBounds, token_bytes
from memkit.models.language_model import TransformersModel
from memkit.models.load_model import stored_parameters
from memkit.models.machine_memory import DeviceMemory, memory_of
from memkit.models.placement import size_in_bytes
from memkit.testing import HashingEmbedder, tiny_llama, tiny_recipe
from memkit.types import CacheUse, Example
from memkit.types.bounded_cache import BoundedCache


def bounded(model, limit):
    """The same model with a limit."""
    return TransformersModel(model.model, model.tokenizer, name=model.name, max_memory=limit)


# -- the cache itself


def test_the_least_recently_used_goes_first():
    cache = BoundedCache(10, len)
    for key, value in (("a", "xxxx"), ("b", "xxxx"), ("a", "xxx"), ("c", "xxxx")):
        cache.put(key, value)
    assert list(cache) == ["a", "c"]
    assert cache.use == CacheUse(7, 10)
    assert cache.get("a") == "xxx"
    cache.put("d", "xxxx")
    assert list(cache) == ["a", "d"]
    assert cache.get("c") is None


def test_what_is_larger_than_the_bound_is_not_kept_and_moves_nothing_out():
    cache = BoundedCache(3, len)
    cache.put("a", "xx")
    cache.put("b", "xxxx")
    assert list(cache) == ["a"]
    cache.put("a", "xxxx")  # the old value is not its value any more
    assert (len(cache), cache.used) == (0, 0)


def test_nothing_of_what_is_dropped_is_counted():
    cache = BoundedCache(9, len)
    cache.put("a", "xx")
    cache.put("b", "xxx")
    cache.drop("a")
    cache.drop("never seen")
    assert cache.used == 3
    cache.clear()
    assert (len(cache), cache.used, cache.room) == (0, 0, 9)


# -- the machine


def test_a_container_has_what_its_group_may_take(monkeypatch, tmp_path):
    (tmp_path / "memory.max").write_text(f"{4 * GIB}\n")
    (tmp_path / "memory.current").write_text(f"{3 * GIB}\n")
    (tmp_path / "memory.stat").write_text(f"anon 5\ninactive_file {GIB // 2}\n")
    monkeypatch.setattr(machine_memory, "_GROUP", tmp_path)
    whole = type("Whole", (), {"available": 50 * GIB, "total": 64 * GIB})
    monkeypatch.setattr(machine_memory.psutil, "virtual_memory", whole)

    assert memory_of(torch.device("cpu")) == DeviceMemory(3 * GIB // 2, 4 * GIB)
    (tmp_path / "memory.max").write_text("max\n")
    assert memory_of(torch.device("cpu")) == DeviceMemory(50 * GIB, 64 * GIB)


def test_on_a_gpu_what_torch_holds_and_does_not_use_is_free(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (10 * GIB, 80 * GIB))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 7 * GIB)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 5 * GIB)

    assert memory_of(torch.device("cuda")) == DeviceMemory(12 * GIB, 80 * GIB)


# -- the bounds


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("8GiB", 8 * GIB),
        ("1.5 gib", 3 * GIB // 2),
        ("500MB", 500_000_000),
        ("12 kB", 12_000),
        ("4096", 4096),
        ("7B", 7),
    ],
)
def test_sizes_in_words(text, size):
    assert size_in_bytes(text) == size


def test_caches_get_shares_of_what_the_weights_leave():
    # 16 GiB, with 128 KiB a token and a context of 8,192: a whole context is 1 GiB
    bounds = CacheBounds.within(16 * GIB, token=128 * 1024, context=8192)
    assert bounds == (GIB, GIB, 2 * GIB)
    # of 2 GiB an eighth is less than a whole context
    bounds = CacheBounds.within(2 * GIB, token=128 * 1024, context=8192)
    assert bounds == (GIB // 4, GIB // 8, GIB // 4)
    # a context of 131,072 would be 16 GiB; no more than 32,768 tokens are kept
    bounds = CacheBounds.within(128 * GIB, token=128 * 1024, context=131_072)
    assert bounds.prefixes == 4 * GIB


@pytest.mark.parametrize(
    ("sizes", "itemsize", "expected"),
    [
        # Llama 3.1 8B in bfloat16: 2 * 32 layers * 8 heads * 128 * 2 bytes
        ({"hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32,
          "num_key_value_heads": 8}, 2, 131_072),
        # SmolLM2-135M in float32: 2 * 30 layers * 3 heads * 64 * 4 bytes
        ({"hidden_size": 576, "num_hidden_layers": 30, "num_attention_heads": 9,
          "num_key_value_heads": 3}, 4, 46_080),
    ],
)  # fmt: skip
def test_bytes_of_a_token(sizes, itemsize, expected):
    from transformers import LlamaConfig

    assert token_bytes(LlamaConfig(**sizes), itemsize) == expected


def test_what_is_kept_of_a_prefix_is_what_was_reckoned():
    model = tiny_llama()
    model.past([(5, 6, 7)])
    assert model.cached.used == 3 * token_bytes(model.model.config, 4)


def test_a_models_caches_and_room_add_up_to_its_limit():
    free = bounded(tiny_llama(), None)
    model = bounded(free, 100 * 2**20)

    assert sum(model.bounds) + model.room + model.weight_bytes == 100 * 2**20
    assert model.bounds.adapters == (100 * 2**20 - model.weight_bytes) // 16
    assert free.bounds.adapters == pytest.approx(
        memory_of(torch.device("cpu")).free / 16, rel=0.3
    )  # other programs come and go


def test_weights_beyond_the_limit_are_refused_before_they_are_loaded(tmp_path, monkeypatch):
    model = tiny_llama()
    model.model.save_pretrained(tmp_path / "my-llama")
    model.tokenizer.save_pretrained(tmp_path / "my-llama")
    parameters = stored_parameters(tmp_path / "my-llama")
    assert parameters == model.size
    half = TransformersModel.load(
        tmp_path / "my-llama", device="cpu", dtype="bfloat16", max_memory=3 * parameters
    )
    assert half.room > 0

    monkeypatch.setattr(
        "memkit.models.load_model.AutoModelForCausalLM.from_pretrained",
        lambda *_, **__: pytest.fail("loaded"),
    )
    with pytest.raises(InvalidInputError, match=r"the weights of my-llama take .* GiB") as caught:
        TransformersModel.load(tmp_path / "my-llama", device="cpu", max_memory=3 * parameters)
    assert "dtype='bfloat16'" in caught.value.hint
    with pytest.raises(InvalidInputError, match="the weights of tiny-llama-0 take"):
        bounded(model, 1000)


@pytest.mark.parametrize("size", ["50GB", "100KB"], ids=["one file", "shards"])
def test_weights_count_once_that_a_folder_has_twice(tmp_path, size):
    """Mistral's folders have all weights once more, in files that transformers does not load."""
    model = tiny_llama()
    model.model.save_pretrained(tmp_path, max_shard_size=size)
    assert (len(list(tmp_path.glob("*.safetensors"))) > 1) == (size == "100KB")
    save_file({"weights": torch.zeros(1000)}, tmp_path / "consolidated.safetensors")
    assert stored_parameters(tmp_path) == model.size
    if size == "100KB":
        (tmp_path / "model.safetensors.index.json").write_text("[]", encoding="utf-8")
        with pytest.raises(CorruptFileError, match="cannot be read"):
            stored_parameters(tmp_path)


# -- training


EXAMPLES = [Encoded((5, 6), (10, 11, 12, number), 2) for number in range(20, 30)]
ROW = 4 * 64 * 4  # bytes of what is cached of one: tokens, hidden size, float32


def cache_of(rows):
    base = tiny_llama()
    base.bounds = base.bounds._replace(activations=rows * ROW)
    return ActivationCache(base, 1)


def test_no_more_is_computed_ahead_than_there_is_room_for():
    cache = cache_of(4)
    ahead = cache.missing(EXAMPLES)
    assert ahead == EXAMPLES[:4]
    cache.compute(ahead)
    assert cache.missing(EXAMPLES) == []
    assert cache.cached == CacheUse(4 * ROW, 4 * ROW)


def test_what_does_not_fit_is_computed_each_time_and_moves_nothing_out():
    whole, cache = cache_of(len(EXAMPLES)), cache_of(4)
    cache.compute(cache.missing(EXAMPLES))
    for _ in range(2):
        assert torch.equal(cache.inputs(EXAMPLES), whole.inputs(EXAMPLES))
    assert cache.missing(EXAMPLES[:4]) == []  # these are there still


def test_examples_of_an_earlier_run_make_room():
    cache = cache_of(4)
    cache.compute(cache.missing(EXAMPLES[:4]))
    ahead = cache.missing(EXAMPLES[3:6])
    assert ahead == EXAMPLES[4:6]
    cache.compute(ahead)
    assert cache.missing(EXAMPLES[3:6]) == []
    assert cache.cached.used == 4 * ROW


def trained(limit):
    """An adapter of tiny facts, and how many passes with gradients a step took at most."""
    base = bounded(tiny_llama(), limit)
    layers = AdapterLayers.of(base)
    recipe = tiny_recipe(4)
    train = trainer_module.replace(recipe.train, epochs=3, batch_size=4)
    trainer = Trainer(base, layers, LoraSpec(rank=4), train, recipe.prompt_format)
    passes = []
    losses = trainer._losses

    def note(batch, adapter):
        passes.append(len(batch.examples))
        return losses(batch, adapter)

    trainer._losses = note
    questions = ("Who?", "Where is it?", "When?", "What is the number?")
    result = trainer.fit([Example(q, "seven", str(i)) for i, q in enumerate(questions)])
    layers.detach()
    return result, passes


def test_a_step_that_would_take_too_much_is_computed_in_parts():
    whole, rows = trained(None)
    assert min(rows) > 1
    weights = bounded(tiny_llama(), None).weight_bytes
    parts, rows = trained(weights + 1000)  # no room for anything
    assert set(rows) == {1}

    assert parts.steps == whole.steps
    assert parts.loss == pytest.approx(whole.loss, rel=1e-3)
    for name, factors in whole.adapter.items():
        torch.testing.assert_close(parts.adapter[name].b, factors.b, rtol=1e-2, atol=1e-4)


def test_a_large_limit_changes_nothing_at_all():
    whole, parts = trained(None)[0], trained(10 * GIB)[0]
    for name, factors in whole.adapter.items():
        assert torch.equal(parts.adapter[name].b, factors.b)


# -- all of them, as a memory shows them


@pytest.mark.slow
def test_a_memory_shows_what_its_caches_take(tmp_path, opener, badges):
    base = bounded(tiny_llama(), 200 * 2**20)
    with opener(tmp_path / "m", base_model=base) as memory:
        assert memory.stats().caches.keys() == {"queries"}  # the rest is made when it is needed
        memory.add(badges[:4])
        memory.consolidate()
        memory.ask(badges[0].question)
        caches = memory.stats().caches

        assert caches["prefixes"].bound == base.bounds.prefixes
        assert caches["adapters"].bound == base.bounds.adapters
        assert all(use.used > 0 for use in caches.values())
        assert {"prefixes", "adapters", "queries"} <= caches.keys()
        assert memory.stats().to_dict()["caches"]["queries"] == {
            "used": caches["queries"].used,
            "bound": 2**24,
        }
        memory.forget(badges[0].id)
        assert "Nora" not in str(list(memory._engine.index._current.space._cache))


@pytest.mark.slow
def test_forgetting_empties_what_training_has_cached(tmp_path, opener, badges, recipe):
    upper = trainer_module.replace(
        recipe, lora=trainer_module.replace(recipe.lora, layers=(0.5, 1))
    )
    with opener(tmp_path / "m", recipe=upper) as memory:
        memory.add(badges[:4])
        memory.consolidate()
        assert memory.stats().caches["activations"].used > 0
        memory.forget(badges[0].id, retrain=False)
        assert memory.stats().caches.get("activations", CacheUse(0, 0)).used == 0


def test_a_limit_is_handed_down(tmp_path):
    model = tiny_llama()
    model.model.save_pretrained(tmp_path / "my-llama")
    model.tokenizer.save_pretrained(tmp_path / "my-llama")
    with Memory.open(
        tmp_path / "m",
        base_model=tmp_path / "my-llama",
        embedder=HashingEmbedder(),
        device="cpu",
        max_memory="64MiB",
    ) as memory:
        assert memory._engine.base.max_memory == 64 * 2**20
