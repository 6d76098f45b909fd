"""For the tests of memkit and of whatever plugs into it: small models and contract suites."""

import sys

if pytest := sys.modules.get("pytest"):  # so that failed assertions of the suites show values
    pytest.register_assert_rewrite(
        "memkit.testing.backend_contract",
        "memkit.testing.embedder_contract",
        "memkit.testing.language_model_contract",
        "memkit.testing.reranker_contract",
        "memkit.testing.router_contract",
        "memkit.testing.synthesizer_contract",
        "memkit.testing.vector_index_contract",
    )

from memkit.testing.backend_contract import BackendContract as BackendContract
from memkit.testing.chat_templates import CHATML_WITH_TOOLS as CHATML_WITH_TOOLS
from memkit.testing.embedder_contract import EmbedderContract as EmbedderContract
from memkit.testing.fakes import HashingEmbedder as HashingEmbedder
from memkit.testing.fakes import tiny_gpt2 as tiny_gpt2
from memkit.testing.fakes import tiny_llama as tiny_llama
from memkit.testing.fakes import tiny_qwen2 as tiny_qwen2
from memkit.testing.fakes import tiny_recipe as tiny_recipe
from memkit.testing.hashing_model import HashingModel as HashingModel
from memkit.testing.language_model_contract import LanguageModelContract as LanguageModelContract
from memkit.testing.record_list import RecordList as RecordList
from memkit.testing.reranker_contract import RerankerContract as RerankerContract
from memkit.testing.router_contract import RouterBench as RouterBench
from memkit.testing.router_contract import RouterContract as RouterContract
from memkit.testing.scripted_chat import ScriptedChat as ScriptedChat
from memkit.testing.synthesizer_contract import SynthesizerContract as SynthesizerContract
from memkit.testing.vector_index_contract import (
    MutableVectorIndexContract as MutableVectorIndexContract,
)
from memkit.testing.vector_index_contract import VectorIndexContract as VectorIndexContract
