"""Strings: texts, ids, names and paths; all but paths come in Unicode normal form C.

"é" may be written as one character or as "e" and an accent. Python and SQLite take the two for
different strings, and so would scopes, keys, filters and duplicates. `normal_form` is where the
second becomes the first, before anything is stored, compared or looked up.
"""

from __future__ import annotations

import errno
import re
import unicodedata
from collections.abc import Collection, Mapping
from pathlib import Path

from memkit.errors import InvalidInputError
from memkit.types.validate.descriptions import describe, handle_of, shown

_IMPOSSIBLE = {errno.ENAMETOOLONG, errno.ELOOP}  # whatever is to be done with the path
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")  # its beginning

MAX_CHARACTERS = 2_000_000
MAX_ID_CHARACTERS = 256  # of ids, keys, names, and of the parts of scopes and namespaces


def normal_form(text: str) -> str:
    """Give a string in Unicode normal form C, as a plain `str`.

    Example:
        >>> normal_form("Zoe\u0308") == "Zo\u00eb"
        True
    """
    # `str.__str__`, as a subclass, such as an enumeration, may call itself something else.
    return unicodedata.normalize("NFC", str.__str__(text))


def check_characters(name: str, text: str) -> str:
    """Check that a string can be written as UTF-8, and give it in normal form."""
    nul = text.find("\0")
    if nul >= 0:
        raise InvalidInputError(
            f"`{name}` must not contain NUL characters, found one at position {nul}",
            "Remove it; a text with NULs is most often binary data or a wrong decoding.",
        )
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise InvalidInputError(
            f"`{name}` must be valid Unicode, found the lone surrogate "
            f"{text[exc.start]!r} at position {exc.start}",
            "Decode the source with the right encoding, or with errors='replace'.",
        ) from exc
    return normal_form(text)


def check_text(name: str, text: object, *, longest: int = MAX_CHARACTERS) -> str:
    """Check that a text is not blank, has at most ``longest`` characters, and can be stored.

    Returns:
        The text in normal form.
    """
    if not isinstance(text, str):
        raise InvalidInputError(f"`{name}` must be a string, got {describe(text)}", handle_of(text))
    if not text.strip():
        raise InvalidInputError(f"`{name}` must not be empty or blank, got {shown(text)}")
    text = check_characters(name, text)
    if len(text) > longest:
        raise InvalidInputError(
            f"`{name}` must have at most {longest:,} characters, got {len(text):,}",
            "Split it into several records."
            if longest == MAX_CHARACTERS
            else "Take a shorter one, such as a hash of it.",
        )
    return text


def check_id(name: str, value: object) -> str:
    """Check that an id, a key or a name is a short string, and give it in normal form."""
    return check_text(name, value, longest=MAX_ID_CHARACTERS)


def check_ids(name: str, values: object, *, single: bool = False) -> list[str]:
    """Check that ids are a list, or another collection, of strings; give them in normal form.

    Args:
        name: Of the argument.
        values: What came.
        single: Whether a single string would do as well, for the message.
    """
    expected = "a string or a list of strings" if single else "a list of strings"
    if isinstance(values, str):
        raise InvalidInputError(
            f"`{name}` must be {expected}, got {describe(values)}", "Put it into a list."
        )
    if isinstance(values, bytes | Mapping) or not isinstance(values, Collection):
        raise InvalidInputError(
            f"`{name}` must be {expected}, got {describe(values)}", handle_of(values)
        )
    checked = []
    for value in values:
        if name != "ids" and not isinstance(value, str):
            raise InvalidInputError(
                f"`{name}` must be {expected}, got a list with {describe(value)}", handle_of(value)
            )
        # `ids` has most often one, which was given alone.
        checked.append(check_id("id" if name == "ids" else name, value))
    return checked


def absolute_path(name: str, value: object) -> Path:
    """Give a path as it is meant now, absolute and its ``~`` replaced; no file is looked at.

    A process may change its working directory, and then a relative path means another file. The
    letters stay as they are: file systems tell normal forms apart.
    """
    if not isinstance(value, str | Path):
        raise InvalidInputError(f"`{name}` must be a string or a path, got {describe(value)}")
    text = str(value)
    if isinstance(value, str) and not value.strip():
        raise InvalidInputError(f"`{name}` must not be empty or blank, got {shown(value)}")
    if isinstance(value, str) and (url := _URL.match(value)):
        raise InvalidInputError(  # without the rest, which may hold a password
            f"`{name}` must be a path on this machine, got a URL that begins with {url[0]!r}",
            "A memory on a PostgreSQL server has a URL that begins with postgresql://, in small "
            "letters; a folder of such a name is './' and the name.",
        )
    if "\0" in text:
        raise InvalidInputError(
            f"`{name}` must not contain NUL characters, found one at position {text.find(chr(0))}",
            "No file system has names with NULs.",
        )
    try:
        return Path(value).expanduser().absolute()
    except RuntimeError as exc:
        hint = f"Write {f'./{value}'!r} if the name begins with '~'."
        raise InvalidInputError(f"`{name}` has no home directory: {shown(value)}", hint) from exc


def check_path(name: str, value: object) -> Path:
    """Check that a value is a path that a file may have; see `absolute_path`."""
    path = absolute_path(name, value)
    try:
        path.stat()
    except UnicodeEncodeError as exc:
        raise InvalidInputError(
            f"`{name}` must be what the file system can write, found the character "
            f"{exc.object[exc.start]!r} in {shown(value)}",
            "Decode names of files with os.fsdecode().",
        ) from exc
    except OSError as exc:
        if exc.errno in _IMPOSSIBLE:
            raise InvalidInputError(
                f"`{name}` cannot be the path of a file: {exc.strerror}, got {shown(value)}",
                "Names have at most 255 bytes on most systems.",
            ) from exc
    return path
