"""From the router that a recipe names to the one that a memory uses."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from memkit.errors import InvalidInputError
from memkit.ledger import Ledger
from memkit.protocols import Router
from memkit.rag.index import FactIndex
from memkit.routing.centroid import CentroidRouter
from memkit.routing.nearest import NearestRouter
from memkit.types.validate import shown

# What makes a router for a memory, of its index of facts and its ledger; a class may be one.
RouterFactory = Callable[[FactIndex, Ledger], Router]

ROUTERS: Mapping[str, RouterFactory] = {"centroid": CentroidRouter, "nearest": NearestRouter}


def check_router(router: object) -> None:
    """Refuse what `router_of` cannot use.

    Raises:
        InvalidInputError: If it is neither a known name nor a router nor a factory of one.
    """
    if router in ROUTERS if isinstance(router, str) else isinstance(router, Router | Callable):
        return
    raise InvalidInputError(
        f"`router` must be one of {sorted(ROUTERS)}, a `memkit.protocols.Router`, or a function "
        f"of an index and a ledger that gives one, got {shown(router)}"
    )


def router_of(router: str | Router | RouterFactory, index: FactIndex, ledger: Ledger) -> Router:
    """The router of a memory: one of `ROUTERS` by name, one as it is, or what a factory makes."""
    check_router(router)
    if isinstance(router, str):
        return ROUTERS[router](index, ledger)
    return router if isinstance(router, Router) else router(index, ledger)
