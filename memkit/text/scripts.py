"""How words of all scripts are compared: one normal form, and parts where no blanks are written.

What is stored stays as it was written. The index of words, queries, the router and the comparison
of answers all read a text in this form, so that they agree on what a word is.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from operator import add

# Scripts that are written without blanks between words, as ranges of a regular expression. In
# Korean there are blanks, but particles are written onto the words.
_IDEOGRAPHS = "\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3400-\u9fff\U00020000-\U0003ffff"
_SYLLABLES = "\u3041-\u30ff\u3100-\u312f\u31a0-\u31bf\u31f0-\u31ff\uac00-\ud7a3"
_SOUTH_EAST = "\u0e01-\u0eff\u1000-\u109f\u1780-\u17ff\ua9e0-\ua9ff\uaa60-\uaa7f"
_UNSPACED = f"{_IDEOGRAPHS}{_SYLLABLES}{_SOUTH_EAST}"

# A model reads about four Latin letters as one token, but of these scripts one sign, or two.
WIDTHS = (
    (4, re.compile(f"[{_IDEOGRAPHS}{_SYLLABLES}\uf900-\ufaff\uff66-\uff9d]")),
    (2, re.compile(f"[{_SOUTH_EAST}]")),
)

# Accents and vowel points, which many leave out; the signs for vowels of India and South-East Asia
# are no such marks.
_ACCENTS = re.compile(
    "[\u0300-\u036f\u0483-\u0487\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7"
    "\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed"
    "\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe00-\ufe0f\ufe20-\ufe2f]"
)
_OTHER_MARKS = (range(0x0900, 0x1100), range(0x1700, 0x1D00), range(0x3099, 0x309B),
                range(0xA800, 0xAC00))  # fmt: skip
# The marks that stay in the normal form, as ranges of a regular expression; Python's ``\w`` has
# letters and figures only.
MARKS = "".join(
    chr(code)
    for codes in _OTHER_MARKS
    for code in codes
    if unicodedata.category(chr(code)).startswith("M")
)
_UNIT = re.compile(f"[{_UNSPACED}][{MARKS}]*")
_RUN = re.compile(f"(?:[{_UNSPACED}][{MARKS}]*)+")


class _Table(dict[int, str]):
    """What becomes of each character, for `str.translate`; found out when it is first seen."""

    def __init__(self, become: Callable[[str], str]) -> None:
        self._become = become

    def __missing__(self, code: int) -> str:
        self[code] = sign = self._become(chr(code))
        return sign


_SPECIAL = {
    "\u200b": " ",  # an invisible blank
    "\u0131": "i",  # "I" in lower case is "i" or this one, as the language has it
    "\u0640": "",  # draws an Arabic word longer
    "\u066b": ".",  # between Arabic digits
    "\u066c": ",",
    # Letters in one, and letters with a stroke: Unicode takes them for letters of their own.
    "æ": "ae",
    "œ": "oe",
    "đ": "d",
    "ħ": "h",
    "ł": "l",
    "ø": "o",
    "\u05f0": "\u05d5\u05d5",  # Yiddish
    "\u05f1": "\u05d5\u05d9",
    "\u05f2": "\u05d9\u05d9",
    # As keyboards of other languages write them.
    "\u02bb": "'",
    "\u02bc": "'",
    "\u06a9": "\u0643",  # kaf
    "\u06cc": "\u064a",  # yeh
    "\u0649": "\u064a",
}
# Without a look of their own: fillers of Hangul, vowels of Khmer, and what chooses among variants.
_INVISIBLE = re.compile("[\u115f\u1160\u3164\uffa0\u17b4\u17b5\u180b-\u180f\U000e0100-\U000e01ef]")


def _sign(character: str) -> str:
    if character in _SPECIAL:
        return _SPECIAL[character]
    category = unicodedata.category(character)
    if category == "Nd":
        return str(unicodedata.decimal(character))
    return "" if category == "Cf" or _INVISIBLE.match(character) else character


def _of_words(character: str) -> str:
    category = unicodedata.category(character)
    return character if category[0] in "LMN" or category == "Co" else " "


_SIGNS = _Table(_sign)
_WORDS = _Table(_of_words)


def normal_form(text: str) -> str:
    """Give a text as it is compared: by compatible letters, without case, accents and styles.

    Digits of all scripts become ASCII; what is invisible goes.

    Example:
        >>> normal_form("Ｃａｆé ﬁnança Straße ٤٤٧१")
        'cafe financa strasse 4471'
    """
    if text.isascii():
        return text.lower()
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return unicodedata.normalize("NFC", _ACCENTS.sub("", folded).translate(_SIGNS))


def terms(text: str) -> list[str]:
    """Cut a text into what is looked up: words, in normal form.

    Where a script has no blanks these are its signs and each two neighbouring ones, so that a
    word is found wherever it stands.

    Example:
        >>> terms("Ça coûte 12 €. 喝绿茶")
        ['ca', 'coute', '12', '喝', '喝绿', '绿', '绿茶', '茶']
    """
    words = normal_form(text).translate(_WORDS)
    if words.isascii():
        return words.split()
    return _RUN.sub(_paired, words).split()


def spaced(text: str) -> str:
    """A text in normal form, with blanks around each sign of a script that is written without.

    Example:
        >>> spaced("她的号码是4471")
        '她 的 号 码 是 4471'
    """
    return " ".join(_UNIT.sub(r" \g<0> ", normal_form(text)).split())


def _paired(run: re.Match[str]) -> str:
    units = _UNIT.findall(run.group())
    pairs = [*map(add, units, units[1:]), ""]
    return f" {' '.join(map(' '.join, zip(units, pairs, strict=True)))} "
