"""For the tests of memkit and of whatever plugs into it: small models and contract suites."""

from memkit.testing.contracts import BackendContract, EmbedderContract, GeneratorContract
from memkit.testing.fakes import HashingEmbedder, tiny_gpt2, tiny_llama, tiny_qwen2, tiny_recipe

__all__ = [
    "BackendContract",
    "EmbedderContract",
    "GeneratorContract",
    "HashingEmbedder",
    "tiny_gpt2",
    "tiny_llama",
    "tiny_qwen2",
    "tiny_recipe",
]
