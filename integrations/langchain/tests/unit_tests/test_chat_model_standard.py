"""LangChain's standard unit tests of chat models."""

import pytest
from langchain_tests.unit_tests import ChatModelUnitTests

from langchain_memkit import ChatMemkit


class TestChatMemkit(ChatModelUnitTests):
    @pytest.fixture(autouse=True)
    def _with(self, trained):
        self.memory = trained

    @property
    def chat_model_class(self):
        return ChatMemkit

    @property
    def chat_model_params(self):
        return {"memory": self.memory}
