"""vLLM's classes: its own where it can be imported, else stand-ins with the same fields."""

import abc
import importlib.util
import sys
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace

import pytest


class Registry:
    """What plugins call of vLLM's registry."""

    def __init__(self):
        self.resolvers = {}

    def register_resolver(self, resolver_name, resolver):
        self.resolvers[resolver_name] = resolver


class Resolver(abc.ABC):
    """vLLM's base class of resolvers."""

    @abc.abstractmethod
    async def resolve_lora(self, base_model_name, lora_name):
        """Give a request, or None."""


@dataclass
class Request:
    """The fields of vLLM's request that a resolver sets."""

    lora_name: str
    lora_int_id: int
    lora_path: str = ""


def stand_ins():
    names = ("vllm", "vllm.lora", "vllm.lora.request", "vllm.lora.resolver")
    modules = {name: ModuleType(name) for name in names}
    for name, module in modules.items():
        module.__spec__ = ModuleSpec(name, None)
    modules["vllm.lora.request"].LoRARequest = Request
    modules["vllm.lora.resolver"].LoRAResolver = Resolver
    modules["vllm.lora.resolver"].LoRAResolverRegistry = Registry()
    return modules


@pytest.fixture(scope="module")
def vllm():
    """vLLM's registry and classes, and the plugin's module that is made with them."""
    own = {} if importlib.util.find_spec("vllm") else stand_ins()
    sys.modules.update(own)
    from vllm.lora.request import LoRARequest
    from vllm.lora.resolver import LoRAResolver, LoRAResolverRegistry

    from vllm_memkit import resolver

    yield SimpleNamespace(
        Request=LoRARequest,
        Resolver=LoRAResolver,
        registry=LoRAResolverRegistry,
        plugin=resolver,
    )
    for name in [*own, resolver.__name__]:
        del sys.modules[name]


@pytest.fixture(scope="session")
def models():
    """Options of a memory with small models."""
    from memkit.testing import HashingEmbedder, tiny_llama, tiny_recipe

    return {
        "base_model": tiny_llama(),
        "embedder": HashingEmbedder(),
        "recipe": tiny_recipe(records_per_module=1),
    }


@pytest.fixture(scope="session")
def trained(tmp_path_factory, models):
    """A memory with two modules of shared records and one of Ann's; to be copied."""
    from memkit import Draft, Memory

    directory = tmp_path_factory.mktemp("trained") / "agent.mem"
    with Memory.open(directory, **models) as memory:
        memory.add(
            [
                Draft("Nora has badge 4471.", "Which badge has Nora?", "4471", id="nora"),
                Draft("Emil has badge 1234.", "Which badge has Emil?", "1234", id="emil"),
                Draft("Ann's code is 9876.", "What is Ann's code?", "9876", scope={"user": "ann"}),
            ]
        )
        memory.consolidate()
        assert len(memory.modules) == 3
    return directory
