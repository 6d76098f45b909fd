"""LangChain's standard integration tests of chat models."""

import pytest
from langchain_tests.integration_tests import ChatModelIntegrationTests

from langchain_memkit import ChatMemkit


class TestChatMemkit(ChatModelIntegrationTests):
    @pytest.fixture(autouse=True)
    def _with(self, trained):
        self.memory = trained

    @property
    def chat_model_class(self):
        return ChatMemkit

    @property
    def chat_model_params(self):
        return {"memory": self.memory, "max_tokens": 24}
