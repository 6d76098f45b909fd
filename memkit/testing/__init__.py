"""For the tests of memkit and of whatever plugs into it: small models and contract suites."""

from memkit.testing.backend_contract import BackendContract
from memkit.testing.embedder_contract import EmbedderContract
from memkit.testing.fakes import HashingEmbedder, tiny_gpt2, tiny_llama, tiny_qwen2, tiny_recipe
from memkit.testing.hashing_model import HashingModel
from memkit.testing.language_model_contract import LanguageModelContract

__all__ = [
    "BackendContract",
    "EmbedderContract",
    "HashingEmbedder",
    "HashingModel",
    "LanguageModelContract",
    "tiny_gpt2",
    "tiny_llama",
    "tiny_qwen2",
    "tiny_recipe",
]
