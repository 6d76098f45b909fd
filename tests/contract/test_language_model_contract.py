import pytest

from memkit.testing import HashingModel, LanguageModelContract, tiny_gpt2, tiny_llama, tiny_qwen2


@pytest.fixture(scope="module", params=[tiny_llama, tiny_qwen2, tiny_gpt2])
def tiny_model(request):
    return request.param()


class TestTinyModels(LanguageModelContract):
    @pytest.fixture
    def model(self, tiny_model):
        return tiny_model


class TestHashingModel(LanguageModelContract):
    @pytest.fixture
    def model(self):
        return HashingModel()


@pytest.mark.real
class TestSmolLM2(LanguageModelContract):
    @pytest.fixture
    def model(self, smollm2):
        return smollm2
