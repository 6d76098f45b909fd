"""LangChain's standard tests of tools."""

import pytest
from langchain_tests.integration_tests import ToolsIntegrationTests
from langchain_tests.unit_tests import ToolsUnitTests

from langchain_memkit import ForgetTool, RememberTool, SearchMemoryTool, UpdateMemoryTool


class Filled:
    """A memory with records that the examples name."""

    @pytest.fixture(autouse=True)
    def _filled(self, memory):
        memory.add("The gate opens at six.", id="gate")
        self.memory = memory

    @property
    def tool_constructor_params(self):
        return {"memory": self.memory, "scope": {}}


class Remember(Filled):
    tool_constructor = RememberTool
    tool_invoke_params_example = {"text": "The archive is on the second floor."}


class Search(Filled):
    tool_constructor = SearchMemoryTool
    tool_invoke_params_example = {"query": "When does the gate open?", "k": 3}


class Update(Filled):
    tool_constructor = UpdateMemoryTool
    tool_invoke_params_example = {"id": "gate", "text": "The gate opens at seven."}


class Forget(Filled):
    tool_constructor = ForgetTool
    tool_invoke_params_example = {"id": "gate"}


class TestRememberUnit(Remember, ToolsUnitTests): ...


class TestRemember(Remember, ToolsIntegrationTests): ...


class TestSearchUnit(Search, ToolsUnitTests): ...


class TestSearch(Search, ToolsIntegrationTests): ...


class TestUpdateUnit(Update, ToolsUnitTests): ...


class TestUpdate(Update, ToolsIntegrationTests): ...


class TestForgetUnit(Forget, ToolsUnitTests): ...


class TestForget(Forget, ToolsIntegrationTests): ...
