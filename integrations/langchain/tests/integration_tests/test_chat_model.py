"""LangChain's standard integration tests of chat models."""

import pytest
from langchain_tests.integration_tests import ChatModelIntegrationTests

from langchain_memkit import ChatMemkit


class TestChatMemkit(ChatModelIntegrationTests):
    @pytest.fixture(autouse=True)
    def _with(self, trained, terse, request):
        in_json = any(part in request.node.name for part in ("structured_output", "json_mode"))
        self.memory, self.tokens = (terse.memory, 120) if in_json else (trained, 24)

    @property
    def chat_model_class(self):
        return ChatMemkit

    @property
    def chat_model_params(self):
        return {"memory": self.memory, "max_tokens": self.tokens}

    # It is there only to say that it is not offered.
    @property
    def has_tool_calling(self):
        return False

    @property
    def has_structured_output(self):
        return True

    @property
    def supports_json_mode(self):
        return True
