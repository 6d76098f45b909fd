"""The memory tool for Anthropic's tool runner. The package anthropic is no dependency."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from memkit.errors import MemkitError, MissingDependencyError

if TYPE_CHECKING:
    from memkit.server.memory_tool import MemoryTool


def anthropic_tool(files: MemoryTool) -> Any:  # noqa: ANN401 - of a package that may be missing
    """Make a ``BetaAbstractMemoryTool`` of the files, for ``client.beta.messages.tool_runner``.

    Errors come as the SDK's ``ToolError``, so that the model reads their texts.

    Raises:
        MissingDependencyError: Without the package anthropic, or with one too old.
    """
    try:
        tools: Any = import_module("anthropic.lib.tools")
        base, failed = tools.BetaAbstractMemoryTool, tools.ToolError
    except (ImportError, AttributeError) as error:
        raise MissingDependencyError(
            f"the memory tool needs the package anthropic: {error}", "pip install -U anthropic"
        ) from error

    class MemkitMemoryTool(base):  # type: ignore[misc, valid-type]
        def view(self, command: Any) -> str:  # noqa: ANN401 - one of the SDK's models
            try:
                return files.execute(command.model_dump(exclude_none=True))
            except MemkitError as error:
                raise failed(str(error)) from error

        create = str_replace = insert = delete = rename = view  # each brings its name along

        def clear_all_memory(self) -> str:
            return files.clear()

    return MemkitMemoryTool()
