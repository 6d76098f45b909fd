"""Where a memory is in PostgreSQL: the URL that `Memory.open` takes."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import unquote

from memkit.errors import InvalidInputError
from memkit.types.validate import shown

SCHEMES = ("postgresql://", "postgres://")
SCHEMA = "memkit"  # where a URL names none
_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_SYSTEM = re.compile(r"pg_|information_schema$")  # PostgreSQL's own
# As PostgreSQL's library has it: nothing ends before an @, and a # or + stands for itself.
_URL = re.compile(
    r"postgres(?:ql)?://(?P<user>[^@/]*@)?(?P<server>[^@/?]*)(?P<path>/[^@?]*)?(?:\?(?P<query>.*))?",
    re.DOTALL,
)
_OWN = ("", "schema", "row_security")  # parameters that are memkit's, or none
_EXAMPLE = "For example postgresql://user@host/db?schema=notes"


@dataclass(frozen=True)
class Address:
    """A schema of a database.

    Attributes:
        source: The URL as it was given, which may hold a password.
        url: What PostgreSQL's own library understands of it.
        schema: The schema that the memory has for itself.
        row_security: Whether rows are to be limited to scopes for readers by SQL; None for as is.
        shown: The address without anything secret, for messages.
    """

    source: str = field(repr=False)
    url: str = field(repr=False)
    schema: str
    shown: str
    row_security: bool | None = None

    @classmethod
    def parse(cls, url: str) -> Self:
        """Read a URL as PostgreSQL's library has them, with ``schema`` and ``row_security``.

        Raises:
            InvalidInputError: If it is no such URL, or one of these has another kind of value.
        """
        if not is_address(url):
            raise InvalidInputError("expected the URL of a PostgreSQL database", _EXAMPLE)
        parts = _URL.fullmatch(url)
        if parts is None:
            raise InvalidInputError(
                "expected the URL of a PostgreSQL database with one @, behind user and password",
                "In a password write %40 for @ and %2F for /.",
            )
        settings = [tuple(pair.partition("=")[::2]) for pair in (parts["query"] or "").split("&")]
        schemas = [unquote(value) for name, value in settings if name == "schema"]
        schema = schemas[-1] if schemas else SCHEMA
        if _NAME.fullmatch(schema) is None or _SYSTEM.match(schema):
            raise InvalidInputError(
                "`schema` must begin with a small letter or an underscore, have small letters, "
                "figures and underscores, 63 at most, and not be PostgreSQL's own; got "
                f"{shown(schema)}",
                _EXAMPLE,
            )
        others = "&".join(f"{name}={value}" for name, value in settings if name not in _OWN)
        place = f"{parts['server']}{parts['path'] or ''}"
        return cls(
            source=url,
            url=f"postgresql://{parts['user'] or ''}{place}{'?' if others else ''}{others}",
            schema=schema,
            shown=f"postgresql://{place}?schema={schema}",
            row_security=_switch([value for name, value in settings if name == "row_security"]),
        )


def _switch(values: list[str]) -> bool | None:
    if not values:
        return None
    if values[-1] not in {"on", "off"}:
        raise InvalidInputError(
            f"`row_security` must be on or off, got {shown(values[-1])}",
            "Leave it out to leave it as it is.",
        )
    return values[-1] == "on"


def is_address(place: object) -> bool:
    """Whether a place is the URL of a PostgreSQL database, rather than a directory."""
    return isinstance(place, str) and place.startswith(SCHEMES)


def shown_address(url: str) -> str:
    """The URL of a memory as it may be shown: without user and password."""
    return Address.parse(url).shown
