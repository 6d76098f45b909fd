"""For the tests of memkit and of whatever plugs into it: small models and contract suites."""

from memkit.testing.backend_contract import BackendContract
from memkit.testing.embedder_contract import EmbedderContract
from memkit.testing.fakes import HashingEmbedder, tiny_gpt2, tiny_llama, tiny_qwen2, tiny_recipe
from memkit.testing.language_model_contract import GeneratorContract
from memkit.testing.reranker_contract import RerankerContract
from memkit.testing.vector_index_contract import VectorIndexContract

__all__ = [
    "BackendContract",
    "EmbedderContract",
    "GeneratorContract",
    "HashingEmbedder",
    "RerankerContract",
    "VectorIndexContract",
    "tiny_gpt2",
    "tiny_llama",
    "tiny_qwen2",
    "tiny_recipe",
]
