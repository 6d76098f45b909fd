"""For the tests of memkit and of whatever plugs into it: small models and contract suites."""

from memkit.testing.backend_contract import BackendContract
from memkit.testing.embedder_contract import EmbedderContract
from memkit.testing.fakes import HashingEmbedder, tiny_gpt2, tiny_llama, tiny_qwen2, tiny_recipe
from memkit.testing.hashing_model import HashingModel
from memkit.testing.language_model_contract import LanguageModelContract
from memkit.testing.reranker_contract import RerankerContract
from memkit.testing.router_contract import RouterBench, RouterContract
from memkit.testing.synthesizer_contract import SynthesizerContract
from memkit.testing.vector_index_contract import VectorIndexContract

__all__ = [
    "BackendContract",
    "EmbedderContract",
    "HashingEmbedder",
    "HashingModel",
    "LanguageModelContract",
    "RerankerContract",
    "RouterBench",
    "RouterContract",
    "SynthesizerContract",
    "VectorIndexContract",
    "tiny_gpt2",
    "tiny_llama",
    "tiny_qwen2",
    "tiny_recipe",
]
