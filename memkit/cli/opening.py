"""Opens the memory that a command is about."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from memkit.cli.placing import placed
from memkit.models.placement import Placement

if TYPE_CHECKING:
    from memkit import Memory
    from memkit.lora.recipe import Recipe
    from memkit.types import BackendName

# Ledger and turns alone: no model is looked for, let alone loaded.
RECORDS_ALONE: Sequence[BackendName] = ("buffer",)


class Models(TypedDict, total=False):
    """The models that a command line names; None leaves the choice to memkit.

    Attributes:
        base_model: As for `memkit.Memory.open`.
        embedder: As well.
    """

    base_model: str | None
    embedder: str | None


class Given(Models, total=False):
    """What a command line says of how a memory is opened; None leaves the choice to memkit.

    Attributes:
        backends: As for `memkit.Memory.open`; so are the others.
    """

    backends: Sequence[BackendName] | None
    recipe: Recipe | None
    rebuild: bool | None


def open_memory(path: str, *, create: bool = False, **options: Unpack[Given]) -> Memory:
    """Open a memory; models that were named are looked for before any is loaded.

    Args:
        path: Its directory, or its URL.
        create: Whether to make the memory if there is none.
        **options: See `Given`; where models compute, the command line says besides.

    Raises:
        InvalidInputError: If this machine has no such device.
        NotAMemoryError: If there is none, or something else.
        IncompatibleModelError: If it was made with other models.
        ModelUnavailableError: If a model that was named is nowhere.
    """
    from memkit import Memory

    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    if given.get("backends") != RECORDS_ALONE:
        given |= placed()
        Placement.of(**placed()).check_here()  # before a model is looked for
    if {"base_model", "embedder"} & given.keys():
        from memkit.models.sources import find_base, find_embedder

        for name, find in (("base_model", find_base), ("embedder", find_embedder)):
            if name in given:
                find(given[name])
    return Memory.open(path, create=create, **given)


@contextmanager
def open_to_train(path: str, doing: str, **options: Unpack[Given]) -> Iterator[Memory]:
    """Open a memory to train adapters, which is shown on a terminal as it goes on.

    Args:
        path: Its directory, or its URL.
        doing: What is done before training, in a word or two.
        **options: As for `open_memory`.
    """
    from memkit.cli.training_display import TrainingDisplay

    # Before torch is loaded, which the recipe needs: whether there is anything to train.
    open_memory(path, backends=RECORDS_ALONE).close()
    with TrainingDisplay(doing) as display:
        from memkit.lora.recipe import Recipe

        options["recipe"] = Recipe(progress=display)
        with open_memory(path, **options) as memory:
            yield memory
