"""What a verb looks at, by the scope that it was given.

Without a scope that is what is shared by all, so that forgetting to pass one never discloses
anything; ``"all"``, for whoever looks after the memory, is everything of every scope.
"""

from __future__ import annotations

from typing import Literal, TypedDict, TypeGuard

from memkit.types import ALL, AnyScope, Scope
from memkit.types.validate import check_scope

SHARED: Scope = {}  # what everybody may see


class Reach(TypedDict, total=False):
    """Bounds on records, as `memkit.ledger.records.where.select_sql` takes them."""

    visible_to: Scope
    within: Scope


def seen_by(scope: AnyScope | None) -> Scope | None:
    """Give the scope whose eyes a verb looks through, for records by id; None sees everything."""
    if _is_all(scope):
        return None
    return {} if scope is None else check_scope(scope)


def selected_by(scope: AnyScope | None) -> Reach:
    """Give the bounds of a listing: a scope and narrower ones, what is shared, or nothing."""
    if _is_all(scope):
        return {}
    bounds = seen_by(scope)
    return {"within": bounds} if bounds else {"visible_to": {}}


def _is_all(scope: object) -> TypeGuard[Literal["all"]]:
    """Whether a scope is the word for all: whatever else calls itself equal to it is not."""
    return isinstance(scope, str) and scope == ALL
