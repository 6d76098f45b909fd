"""Whether a base model and the modules of a memory go together."""

from __future__ import annotations

from memkit.answering.prompt import PromptFormat
from memkit.errors import IncompatibleModelError, UnsupportedOperationError
from memkit.models.language_model import TransformersModel
from memkit.protocols import LanguageModel
from memkit.types import Metadata, Module


def adaptable(base: LanguageModel) -> TransformersModel:
    """The base model, if adapters can be put in place in it.

    Raises:
        UnsupportedOperationError: If it is a language model of another kind.
    """
    if not isinstance(base, TransformersModel):
        raise UnsupportedOperationError(
            "the 'lora' backend puts adapters in place in a "
            "`memkit.models.language_model.TransformersModel`, "
            f"got a {type(base).__name__} as `base_model`",
            hint="pass a folder, a hub id or a TransformersModel, or open the memory without "
            "'lora' among the backends",
        )
    return base


def check_base(module: Module, base: TransformersModel) -> None:
    """Refuse a base model that a module was not trained for.

    Raises:
        IncompatibleModelError: If the fingerprints differ.
    """
    if module.manifest["fingerprint"] != base.fingerprint:
        raise IncompatibleModelError(
            f"module {module.name} was trained for {module.manifest['base_model']!r} "
            f"({module.manifest['fingerprint'][:12]}), the base model is {base.name!r} "
            f"({base.fingerprint[:12]})",
            hint=f"open the memory with base_model={module.manifest['base_model']!r}, or with "
            "rebuild=True to have consolidate() train the modules anew for this model "
            "(`memkit consolidate --rebuild`)",
        )


def fits_prompt(manifest: Metadata, prompt_format: PromptFormat) -> bool:
    """Whether a module was trained behind a prompt format, by its manifest."""
    return bool(manifest.get("prompt_format", {}).get("key") == prompt_format.key)
