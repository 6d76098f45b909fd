"""vLLM's plugin finds what a memory has in service, writes it once, and gives nothing else."""

import json
import shutil
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from memkit import Memory
from memkit.errors import IncompatibleModelError, InvalidInputError
from memkit.testing import tiny_llama
from vllm_memkit import register


@pytest.fixture
def directory(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "agent.mem")
    return tmp_path / "agent.mem"


@pytest.fixture
def make(vllm):
    return vllm.plugin.MemkitResolver


@pytest.fixture
def resolver(make, directory, tmp_path, models):
    return make(directory, tmp_path / "adapters", options=models)


@pytest.fixture
def names(directory):
    """The modules: Nora's, Emil's, Ann's."""
    with Memory.open(directory, backends=["buffer"]) as memory:
        holders = {record: m.name for m in memory.modules for record in m.records}
        anns = next(m.name for m in memory.modules if m.scope)
    return [holders["nora"], holders["emil"], anns]


def config_in(request):
    return json.loads(Path(request.lora_path, "adapter_config.json").read_text(encoding="utf-8"))


async def test_a_module_is_found_by_its_name(resolver, names, vllm):
    assert isinstance(resolver, vllm.Resolver)
    request = await resolver.resolve_lora("base", names[0])

    assert isinstance(request, vllm.Request)
    assert request.lora_name == names[0]
    assert request.lora_int_id >= 1
    config = config_in(request)
    assert config["peft_type"] == "LORA"
    assert config["alora_invocation_tokens"] is None  # vLLM 0.33 refuses others


async def test_it_is_written_once(resolver, names, tmp_path):
    first = await resolver.resolve_lora("base", names[0])
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "adapters").rglob("*")}
    assert await resolver.resolve_lora("base", names[0]) == first
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "adapters").rglob("*")} == written


async def test_a_mixture_is_the_sum_of_its_modules(resolver, names):
    """The stacked factors are the modules' own, the first ones scaled by weight and scale."""
    one, two = [await resolver.resolve_lora("base", name) for name in names[:2]]
    both = await resolver.resolve_lora("base", f"0.75*{names[0]}+.25*{names[1]}")

    factors = [load_file(f"{r.lora_path}/adapter_model.safetensors") for r in (one, two, both)]
    scales = [config_in(r)["lora_alpha"] / config_in(r)["r"] for r in (one, two, both)]
    assert config_in(both)["r"] == config_in(one)["r"] + config_in(two)["r"]
    for name in factors[0]:
        if "lora_A" in name:
            b = name.replace("lora_A", "lora_B")
            a, other, mixed = (s * f[b] @ f[name] for f, s in zip(factors, scales, strict=True))
            assert abs(0.75 * a + 0.25 * other - mixed).max() < 1e-5


@pytest.mark.parametrize(
    "name", ["m9999", "m0001+m9999", "a b", "m0001+m0001", "-1*m0001", "", "+"]
)
async def test_what_is_no_module_is_left_to_others(resolver, names, tmp_path, name):
    assert await resolver.resolve_lora("base", name) is None
    assert not (tmp_path / "adapters").exists()


async def test_modules_of_a_scope_are_given_to_it_alone(make, directory, names, models, tmp_path):
    others = make(directory, tmp_path / "others", scope={"user": "ben"}, options=models)
    assert await others.resolve_lora("base", names[2]) is None
    anns = make(directory, tmp_path / "anns", scope={"user": "ann"}, options=models)
    assert (await anns.resolve_lora("base", names[2])).lora_name == names[2]
    assert (await anns.resolve_lora("base", names[0])).lora_name == names[0]


async def test_what_is_forgotten_is_not_given_and_destroyed(
    resolver, directory, names, models, tmp_path
):
    gone = await resolver.resolve_lora("base", names[0])
    kept = await resolver.resolve_lora("base", names[1])
    (tmp_path / "adapters" / "notes").mkdir()  # somebody else's
    with Memory.open(directory, **models) as memory:
        memory.forget("nora", retrain=False)

    assert await resolver.resolve_lora("base", names[0]) is None
    left = {str(path) for path in (tmp_path / "adapters").iterdir()}
    assert left == {kept.lora_path, str(tmp_path / "adapters" / "notes")}
    assert gone.lora_path not in left


async def test_a_module_that_was_trained_again_is_another_adapter(
    resolver, directory, names, models
):
    """vLLM's worker keeps what it has loaded, by number, after `/v1/unload_lora_adapter`, too."""
    old = await resolver.resolve_lora("base", names[0])
    other = await resolver.resolve_lora("base", names[1])
    with Memory.open(directory, **models) as memory:
        memory.update("nora", "Nora has badge 5582.", answer="5582")
        memory.modules.retrain(names[0])

    new = await resolver.resolve_lora("base", names[0])
    assert new.lora_name == old.lora_name
    assert len({request.lora_int_id for request in (old, other, new)}) == 3


async def test_another_base_model_is_refused(make, directory, names, models, tmp_path):
    other = make(
        directory, tmp_path / "adapters", options=models | {"base_model": tiny_llama(seed=1)}
    )
    with pytest.raises(IncompatibleModelError, match="was trained for 'tiny-llama-0'"):
        await other.resolve_lora("base", names[0])


def test_names_are_read(vllm):
    parsed = vllm.plugin.parsed
    assert parsed("m0001") == {"m0001": 1.0}
    assert parsed("0.5*m0001+.5*m0002") == {"m0001": 0.5, "m0002": 0.5}
    assert parsed("2*a") == {"a": 2.0}
    assert parsed("a++b") is None


# -- registration --------------------------------------------------------------------------------


def test_without_a_memory_nothing_is_registered(monkeypatch, vllm):
    monkeypatch.delenv("MEMKIT_VLLM_MEMORY", raising=False)
    register()
    assert "memkit" not in vllm.registry.resolvers


def test_the_environment_names_the_memory(monkeypatch, vllm, make, directory, tmp_path):
    monkeypatch.setenv("MEMKIT_VLLM_MEMORY", str(directory))
    with pytest.raises(InvalidInputError, match="MEMKIT_VLLM_FOLDER beside"):
        register()
    monkeypatch.setenv("MEMKIT_VLLM_FOLDER", str(tmp_path / "adapters"))
    for bad in ("sales", "[]", '{"team": 5}'):
        monkeypatch.setenv("MEMKIT_VLLM_SCOPE", bad)
        with pytest.raises(InvalidInputError, match="MEMKIT_VLLM_SCOPE"):
            register()
    monkeypatch.setenv("MEMKIT_VLLM_SCOPE", '{"team": "sales"}')
    register()
    assert isinstance(vllm.registry.resolvers.pop("memkit"), make)
