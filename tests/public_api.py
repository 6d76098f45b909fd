"""Writes down the public API: every name that users may import, with its signature.

`tests/unit/public_api.txt` is what it was at the last look; a change of it is a change for users.
After a wanted one: python tests/public_api.py > tests/unit/public_api.txt
"""

from __future__ import annotations

import enum
import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from textwrap import wrap
from typing import Any, is_typeddict

MODULES = (
    "memkit",
    "memkit.types",
    "memkit.errors",
    "memkit.protocols",
    "memkit.testing",
    "langchain_memkit",
)
# What is not imported but met: the keyword arguments of verbs, and what Memory's groups are.
MET = {
    "memkit.memory.options": None,  # all options; of the others these
    "memkit.memory.memory_jobs": ["Job", "Jobs"],
    "memkit.memory.modules": ["Modules"],
    "memkit.memory.retention": ["Retention"],
    "memkit.memory.vectors": ["Vectors"],
    "memkit.ledger.items": ["ItemTable"],
    "memkit.lora.recipe": ["Recipe"],
}
OURS = ("memkit", "langchain_memkit")


def listing() -> str:
    """The public API as text, module by module, a line for each signature."""
    lines: list[str] = []
    seen: dict[int, str] = {}
    for module in (*MODULES, *MET):
        lines += ["", f"# {module}"]
        for name, value in public(module):
            if isinstance(value, type) and id(value) in seen:
                lines.append(f"{name}: as {seen[id(value)]}.{name}")
                continue
            seen[id(value)] = module
            lines += described(name, value)
    return "".join(f"{part}\n" for line in lines[1:] for part in _wrapped(line))


def _wrapped(line: str) -> list[str]:
    indent = "    " if line.startswith(" ") else ""
    return wrap(line, 100, subsequent_indent=indent + " " * 8, break_on_hyphens=False) or [""]


def public(module: str) -> Iterator[tuple[str, object]]:
    """Names and values that a module offers, sorted."""
    found = importlib.import_module(module)
    names = MET.get(module) or getattr(found, "__all__", None)
    if names is None:
        names = [name for name, value in vars(found).items() if _offered(name, value, module)]
    for name in sorted(names):
        yield name, getattr(found, name)


def _offered(name: str, value: object, module: str) -> bool:
    if name.startswith("_"):
        return False
    if module in MET:
        return is_typeddict(value)
    home = getattr(value, "__module__", "")
    own = home == module if module == "memkit.protocols" else home.startswith(OURS)
    return own and (inspect.isclass(value) or inspect.isfunction(value))


def described(name: str, value: object) -> list[str]:
    """The lines of one name: of a class, its public members too."""
    if is_typeddict(value):
        keys = sorted(value.__annotations__.items())
        return [f"{name}: keywords", *(f"    {key}: {_plain(kind)}" for key, kind in keys)]
    if not isinstance(value, type):
        return [f"{name}{_signature(value)}" if callable(value) else f"{name}"]
    bases = ", ".join(base.__name__ for base in value.__bases__ if base is not object)
    lines = [f"class {name}({bases})" if bases else f"class {name}"]
    if issubclass(value, enum.Enum):
        return [*lines, *(f"    {member.name} = {member.value!r}" for member in value)]
    pydantic = hasattr(value, "model_fields")  # its fields are written as annotations
    if pydantic:
        fields = sorted(vars(value).get("__annotations__", {}).items())
        lines += [f"    {key}: {_plain(kind)}" for key, kind in fields if not key.startswith("_")]
    elif "__init__" in vars(value) and not getattr(value, "_is_protocol", False):
        lines.append(f"    __init__{_signature(value)}")
    members = {one: _written(value, one) for one in sorted(_members(value))}
    twins = [one for one, member in members.items() if _is_twin(member)]
    lines += [f"    {_member(one, members[one])}" for one in members if one not in twins]
    if twins:
        lines.append(f"    to await, as in Memory: {', '.join(twins)}")
    return lines


def _members(owner: type) -> set[str]:
    """Those of the class itself and of private bases; other bases are listed themselves."""
    classes = [one for one in _ours(owner) if one is owner or one.__name__.startswith("_")]
    names = {name for one in classes for name, value in vars(one).items() if _is_verb(value)}
    hidden = ("_", "test_", "model_post_init")
    return {name for name in names if name == "__call__" or not name.startswith(hidden)}


def _ours(owner: type) -> list[type]:
    return [one for one in owner.__mro__ if one.__module__.startswith(OURS)]


def _is_verb(value: object) -> bool:
    kinds = (staticmethod, classmethod, property)
    return isinstance(value, kinds) or inspect.isfunction(value) or hasattr(value, "attrname")


def _is_twin(value: object) -> bool:
    return inspect.isfunction(value) and hasattr(value, "__wrapped__")


def _written(owner: type, name: str) -> Any:
    return next(vars(one)[name] for one in _ours(owner) if name in vars(one))


def _member(name: str, value: Any) -> str:
    if isinstance(value, property):
        return f"{name}: {_result(value.fget)}"
    if hasattr(value, "attrname"):  # a cached property
        return f"{name}: {_result(value.func)}"
    if isinstance(value, staticmethod | classmethod):
        return f"{name}{_signature(value.__func__)}  [{type(value).__name__}]"
    return f"{name}{_signature(value)}"


def _result(getter: Any) -> str:
    return _plain(inspect.signature(getter).return_annotation)


def _signature(value: Any) -> str:
    signature = inspect.signature(value)
    kept = [
        one.replace(annotation=_Plain(one.annotation))
        for name, one in signature.parameters.items()
        if name not in {"self", "cls"}
    ]
    result = _Plain(signature.return_annotation)
    text = str(signature.replace(parameters=kept, return_annotation=result))
    return re.sub(r" at 0x[0-9a-f]+", "", text)


class _Plain:
    """An annotation that prints as it is written, without quotes and paths."""

    def __init__(self, annotation: object) -> None:
        self.annotation = annotation

    def __repr__(self) -> str:
        return _plain(self.annotation)


def _plain(annotation: object) -> str:
    if isinstance(annotation, type) and not hasattr(annotation, "__origin__"):
        return annotation.__name__
    text = getattr(annotation, "__forward_arg__", None) or str(annotation)
    return re.sub(r"\b(?:[a-z_]\w*\.)+(?=[A-Za-z])", "", text).replace("'", "")


if __name__ == "__main__":
    sys.stdout.write(listing())
