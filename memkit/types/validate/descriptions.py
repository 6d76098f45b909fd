"""How errors tell what came instead of what was expected."""

from __future__ import annotations

from memkit.types.value import shortened

# What stands for a value where verbs take a string: ids of records, names of modules.
_HANDLES = ("record_id", "id", "name")
_WIDTH = 80  # characters of a value that a message shows


def describe(value: object) -> str:
    """Say in a few words what came instead of what was expected."""
    if value is None:
        return "None"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if isinstance(value, str):
        return f"the string {shown(value)}"
    return f"{type(value).__name__}: {shown(value)}"


def shown(value: object) -> str:
    """Give a value as Python writes it, on one short line, whatever it is."""
    try:
        # Of a long text its beginning is enough; a str subclass may say anything of itself.
        text = repr(str.__str__(value)[: 2 * _WIDTH] if isinstance(value, str) else value)
    except Exception as exc:  # noqa: BLE001 - of a deep nest, a huge integer, a broken __repr__
        text = f"<cannot be shown: {type(exc).__name__}>"
    return shortened(text, _WIDTH)


def handle_of(value: object) -> str:
    """Hint for a value that was given where its id or name was expected."""
    handles = [handle for handle in _HANDLES if isinstance(getattr(value, handle, None), str)]
    return f"Give its `.{handles[0]}`." if handles else ""
