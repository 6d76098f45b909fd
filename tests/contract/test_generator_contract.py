import pytest

from memkit.testing import GeneratorContract, tiny_gpt2, tiny_llama, tiny_qwen2


@pytest.fixture(scope="module", params=[tiny_llama, tiny_qwen2, tiny_gpt2])
def tiny_model(request):
    return request.param()


class TestTinyModels(GeneratorContract):
    @pytest.fixture
    def generator(self, tiny_model):
        return tiny_model


@pytest.mark.real
class TestSmolLM2(GeneratorContract):
    @pytest.fixture
    def generator(self, smollm2):
        return smollm2
