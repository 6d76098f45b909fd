"""API keys: who may do what in which scope, read from a TOML file that holds no key itself.

    [[keys]]
    name = "ann"
    sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
    scope = { user = "ann" }
    rights = ["read", "write"]

Only the SHA-256 of a key is stored. That is enough, without salt or stretching, as keys are made
here from 256 random bits and cannot be guessed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import stat
import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import permutations
from pathlib import Path
from typing import Any, Literal, cast, get_args

from memkit.errors import InvalidInputError, StorageError, storage_errors
from memkit.files import file_lock, plain_file, replace_file
from memkit.types import Scope
from memkit.types.scope import contains
from memkit.types.validate import check_scope, shown

Right = Literal["read", "write", "consolidate"]
RIGHTS: tuple[Right, ...] = get_args(Right)
USUAL: tuple[Right, ...] = ("read", "write")

_PREFIX = "mk-"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_FIELDS = {"name", "sha256", "scope", "rights"}


@dataclass(frozen=True)
class ApiKey:
    """Whoever sends a key.

    Attributes:
        name: For logs and limits; no secret.
        scope: The one scope that requests with this key read and write.
        rights: What they may do.
        sha256: Of the key; signs what only this key is to use. Empty where no keys are asked for.
    """

    name: str
    scope: Scope
    rights: frozenset[Right] = frozenset(USUAL)
    sha256: str = field(default="", repr=False, compare=False)


def local_key(scope: Scope) -> ApiKey:
    """Whoever is on this machine, where no keys are asked for: they may do everything in a scope.

    Raises:
        InvalidInputError: If the scope is malformed.
    """
    return ApiKey("local", check_scope(scope), frozenset(RIGHTS))


@dataclass(frozen=True)
class _Content:
    """What a key file held, and by what it is known to be unchanged."""

    mark: tuple[int, ...]
    keys: Mapping[str, ApiKey] = field(repr=False)  # by digest


class KeyFile:
    """The keys of a file; it is read again once it has changed, so that a key can be revoked.

    Args:
        path: The file.

    Raises:
        InvalidInputError: If it is malformed, has no keys, can be written by others, or binds
            keys to scopes that reach into each other.
        StorageError: If it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._content = self._read()

    def find(self, key: str) -> ApiKey | None:
        """Give whose key it is; None if nobody's.

        Raises:
            InvalidInputError: If the file has become malformed: then no key is right.
            StorageError: If it cannot be read any more.
        """
        with _file_errors(self.path):
            mark = _mark(self.path.stat())
        if mark != self._content.mark:
            self._content = self._read()
        return self._content.keys.get(digest(key))

    def __len__(self) -> int:
        return len(self._content.keys)

    def _read(self) -> _Content:
        with _file_errors(self.path), self.path.open("rb") as file:
            state = os.fstat(file.fileno())
            if state.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                raise InvalidInputError(
                    f"expected that only its owner can write to {str(self.path)!r}, others can",
                    f"chmod go-w {self.path}",
                )
            text = file.read()
        keys = parse(text.decode(errors="replace"), str(self.path))
        if not keys:
            raise InvalidInputError(f"{str(self.path)!r} has no keys", _new_key(self.path))
        return _Content(_mark(state), keys)


def digest(key: str) -> str:
    """The SHA-256 of a key, in hexadecimal digits."""
    return hashlib.sha256(key.encode(errors="surrogateescape")).hexdigest()


def parse(text: str, source: str) -> dict[str, ApiKey]:
    """Read the text of a key file.

    Args:
        text: TOML.
        source: Where it is from, for errors.

    Returns:
        The keys by their digests.

    Raises:
        InvalidInputError: If it is malformed, or keys have the same name, digest, or scopes that
            reach into each other.
    """
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidInputError(f"{source!r} is no TOML: {error}", _new_key(source)) from error
    entries = content.get("keys", [])
    if content.keys() - {"keys"} or not isinstance(entries, list):
        raise InvalidInputError(
            f"expected nothing but [[keys]] in {source!r}, got {shown(sorted(content))}",
            _new_key(source),
        )
    found: dict[str, ApiKey] = {}
    for number, entry in enumerate(entries, start=1):
        try:
            sha256, key = _entry(entry)
        except InvalidInputError as error:
            raise InvalidInputError(
                f"key {number} of {source!r}: {error.message}", error.hint
            ) from error
        if sha256 in found or key.name in {other.name for other in found.values()}:
            same = f"`sha256` as {found[sha256].name!r}" if sha256 in found else "`name` as another"
            raise InvalidInputError(
                f"key {number} of {source!r}, {key.name!r}, has the same {same}",
                "Each key has a name of its own, and is listed once; remove one of the two.",
            )
        found[sha256] = key
    _check_apart(list(found.values()), source)
    return found


def add_key(path: Path, name: str, scope: Scope, rights: Collection[str] = USUAL) -> str:
    """Make a key, and add it to a file, which is made if there is none.

    Returns:
        The key; it is stored nowhere, so this is the only time that it can be seen.

    Raises:
        InvalidInputError: If the name is taken, the rights are unknown, the scope reaches into
            that of another key, or the file is malformed.
        StorageError: If the file cannot be written.
    """
    token = _PREFIX + secrets.token_urlsafe(32)
    lines = [
        "[[keys]]",
        f"name = {_quoted(name)}",
        f"sha256 = {_quoted(digest(token))}",
        f"scope = {{ {', '.join(f'{_quoted(k)} = {_quoted(v)}' for k, v in scope.items())} }}",
        f"rights = [{', '.join(map(_quoted, rights))}]",
    ]
    with storage_errors(path), file_lock(path.with_name(path.name + ".lock"), timeout=30):
        old = plain_file(path).read_text(encoding="utf-8") if path.exists() else ""
        if name in {key.name for key in parse(old, str(path)).values()}:
            raise InvalidInputError(
                f"{str(path)!r} has a key named {name!r} already",
                "Give the new key another name; or remove the old one from the file, which "
                "revokes it.",
            )
        before = f"{old.rstrip()}\n\n" if old.strip() else ""
        new = before + "\n".join(lines) + "\n"
        parse(new, str(path))
        replace_file(path, [new.encode()])
    return token


@contextmanager
def _file_errors(path: Path) -> Iterator[None]:
    """Turn the operating system's errors about a key file into memkit's."""
    with storage_errors(path):
        try:
            yield
        except FileNotFoundError as error:
            raise StorageError(f"there is no key file {str(path)!r}", _new_key(path)) from error


def _new_key(file: Path | str) -> str:
    """How a key is made."""
    return f"memkit serve MEMORY --keys {file} --new-key NAME --scope user=NAME adds a key."


def _entry(entry: object) -> tuple[str, ApiKey]:
    """The digest of a key, and whose it is."""
    if not isinstance(entry, dict) or entry.keys() - _FIELDS:
        raise InvalidInputError(f"expected some of {sorted(_FIELDS)}, got {shown(entry)}")
    missing = {"name", "sha256", "scope"} - entry.keys()
    if missing:
        raise InvalidInputError(
            f"expected also {sorted(missing)}", "scope = {} is what everybody shares."
        )
    name, sha256 = entry["name"], entry["sha256"]
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidInputError(
            f"`name` must be letters, digits, dots, dashes and underscores, got {shown(name)}"
        )
    if not isinstance(sha256, str) or not _DIGEST.fullmatch(sha256):
        raise InvalidInputError("`sha256` must be the SHA-256 of the key, 64 hexadecimal digits")
    rights = _rights(entry.get("rights", USUAL))
    return sha256, ApiKey(name, check_scope(entry["scope"]), rights, sha256)


def _rights(given: Any) -> frozenset[Right]:  # noqa: ANN401 - whatever the file says
    known = isinstance(given, list | tuple) and set(map(str, given)) <= set(RIGHTS)
    if not known or not given:
        raise InvalidInputError(f"`rights` must be some of {RIGHTS}, got {shown(given)}")
    return frozenset(cast("Sequence[Right]", given))


def _check_apart(keys: Sequence[ApiKey], source: str) -> None:
    """Refuse keys of which one could list, count and erase what is another's.

    Whoever has a scope has all narrower ones as well. What everybody shares is nobody's.
    """
    for wide, narrow in permutations(keys, 2):
        if wide.scope and wide.scope != narrow.scope and contains(narrow.scope, wide.scope):
            raise InvalidInputError(
                f"in {source!r} the scope of {wide.name!r} is a part of that of {narrow.name!r}, "
                "which could be listed and erased with it",
                "Give each key a scope that is no part of another's.",
            )


def _quoted(text: str) -> str:
    """A text as TOML's basic string: as JSON's, but for one character."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _mark(state: os.stat_result) -> tuple[int, ...]:
    return state.st_mtime_ns, state.st_size, state.st_ino
