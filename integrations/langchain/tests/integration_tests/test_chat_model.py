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

    # Both are there only to say that they are not offered.
    @property
    def has_tool_calling(self):
        return False

    @property
    def has_structured_output(self):
        return False
