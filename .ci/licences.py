"""List the licences of what is installed in an environment; fail if one would bind users' programs.

python .ci/licences.py PYTHON, where PYTHON is the interpreter of that environment.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys

# The GPL and its kin ask whoever builds on them to publish the program, unless they make an
# exception for that. "LGPL", which does not, has no word boundary before its "GPL".
_STRONG = re.compile(r"\b(A?GPL|GNU (Affero )?General Public|EUPL|OSL|SSPL)", re.IGNORECASE)
_EXCEPTION = re.compile(r"\bexception\b", re.IGNORECASE)


def binds(licence: str) -> bool:
    """Whether a strong copyleft is among what the licence says, be it only as one choice."""
    parts = re.split(r"\b(?:AND|OR)\b|[;()]", licence)
    return any(_STRONG.search(part) and not _EXCEPTION.search(part) for part in parts)


def title(licence: str) -> str:
    """Its first line; some packages give the whole text in place of a name."""
    return (licence.strip() or "UNKNOWN").splitlines()[0]


def licences(python: str) -> list[tuple[str, str, str]]:
    """Name, version and licence of each installed package."""
    command = [
        sys.executable,
        "-m",
        "piplicenses",
        "--python",
        python,
        "--with-system",
        "--format",
        "json",
    ]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [(row["Name"], row["Version"], row["License"]) for row in json.loads(listed)]


def main(python: str) -> int:
    """Print the table; 1 if a licence binds users or is not told."""
    faults = []
    for name, version, licence in licences(python):
        print(f"{name:28} {version:14} {title(licence)[:60]}")
        if binds(title(licence)) or title(licence) == "UNKNOWN":
            faults.append(f"{name}: {title(licence)}")
    if faults:
        print("These licences need a look before memkit may depend on them:", *faults, sep="\n  ")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
