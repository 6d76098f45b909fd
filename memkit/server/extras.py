"""Optional dependencies: whether they are installed."""

from __future__ import annotations

from importlib.util import find_spec

from memkit.errors import MissingDependencyError


def need_extra(extra: str, *libraries: str) -> None:
    """Make sure that the libraries of an extra are installed, without importing them.

    Args:
        extra: Its name.
        *libraries: Names of their packages, as they are imported.

    Raises:
        MissingDependencyError: If one is missing.
    """
    missing = [library for library in libraries if find_spec(library) is None]
    if missing:
        raise MissingDependencyError(
            f"this needs {' and '.join(missing)}, which "
            f"{'are' if missing[1:] else 'is'} not installed",
            f"pip install 'memkit-sdk[{extra}]'",
        )
