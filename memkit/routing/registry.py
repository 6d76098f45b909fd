"""The routers that a memory can be opened with."""

from __future__ import annotations

from memkit.ledger import Ledger
from memkit.protocols import Router, Synthesizer
from memkit.rag.index import FactIndex
from memkit.routing.centroid import CentroidRouter
from memkit.routing.nearest import NearestRouter

ROUTERS = ("centroid", "nearest")


def router_of(name: str, index: FactIndex, ledger: Ledger, synthesizer: Synthesizer) -> Router:
    """The router of that name, one of `ROUTERS`."""
    if name == "centroid":
        return CentroidRouter(index, ledger)
    return NearestRouter(index, ledger, synthesizer=synthesizer)
