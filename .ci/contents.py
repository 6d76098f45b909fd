"""Look into the wheels and source distributions in dist/: all that belongs there, nothing else.

Run from the top of a git checkout, after both distributions were built: python .ci/contents.py
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_MADE_BY_THE_BUILD = {"PKG-INFO"}
_ADDED_BY_THE_BUILD = {".gitignore"}  # hatchling takes it along wherever there is one
_WHEEL_INFO = {"METADATA", "RECORD", "WHEEL", "licenses/LICENSE"}


@dataclass(frozen=True)
class Distribution:
    """One of the distributions that are built here.

    Attributes:
        name: As in the names of the files.
        folder: Where its pyproject.toml is, seen from the top of the checkout.
        package: The folder that is imported, seen from ``folder``.
        info: What its wheel says about itself beyond what every wheel does.
    """

    name: str
    folder: str
    package: str
    info: frozenset[str] = frozenset()

    def of(self, tracked: Iterable[str]) -> set[str]:
        """The files among those of the checkout that are its own, by their place in it."""
        prefix = f"{self.folder}/" if self.folder else ""
        return {path.removeprefix(prefix) for path in tracked if path.startswith(prefix)}

    def wheel_faults(self, names: Iterable[str], tracked: Iterable[str]) -> list[str]:
        """What is wrong with a wheel that has files of these names."""
        parent = self.package.rpartition("/")[0]
        prefix = f"{parent}/" if parent else ""
        expected = {
            path.removeprefix(prefix)
            for path in self.of(tracked)
            if path.startswith(f"{self.package}/")
        }
        info = {f"{name}.dist-info" for name in names_before(names, ".dist-info/")}
        expected |= {f"{folder}/{name}" for folder in info for name in _WHEEL_INFO | self.info}
        faults = differences(set(names), expected)
        package = self.package.removeprefix(prefix)
        if f"{package}/py.typed" not in expected:
            faults.append(f"{package}/py.typed is not tracked: users' type checkers see no types")
        return faults

    def sdist_faults(self, names: Iterable[str], tracked: Iterable[str]) -> list[str]:
        """What is wrong with a source distribution that has files of these names."""
        inside = {name.partition("/")[2] for name in names}
        return differences(inside - _ADDED_BY_THE_BUILD, self.of(tracked) | _MADE_BY_THE_BUILD)


DISTRIBUTIONS = (
    Distribution("memkit_sdk", "", "memkit", frozenset({"entry_points.txt"})),
    Distribution("langchain_memkit", "integrations/langchain", "src/langchain_memkit"),
    Distribution("ray_memkit", "integrations/ray", "src/ray_memkit"),
    Distribution(
        "vllm_memkit", "integrations/vllm", "src/vllm_memkit", frozenset({"entry_points.txt"})
    ),
)


def names_before(names: Iterable[str], end: str) -> set[str]:
    """What stands before ``end`` in those of the names that have it."""
    return {name.partition(end)[0] for name in names if end in name}


def differences(found: set[str], expected: set[str]) -> list[str]:
    """A line for every file that is missing or too many."""
    missing = [f"missing: {name}" for name in sorted(expected - found)]
    return missing + [f"does not belong there: {name}" for name in sorted(found - expected)]


def tracked_files() -> set[str]:
    """What git tracks in the checkout, without its own files."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], capture_output=True, text=True, check=True
    ).stdout
    return {path for path in listed.split("\0") if path} - _ADDED_BY_THE_BUILD


def only(folder: Path, pattern: str) -> Path:
    """The only file that matches.

    Raises:
        FileNotFoundError: If there is none, or more than one.
    """
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise FileNotFoundError(f"expected one {folder / pattern}, got {list(map(str, found))}")
    return found[0]


def main(folder: Path) -> int:
    """Print what each file has and every fault; 1 if there is one."""
    tracked = tracked_files()
    count = 0
    for one in DISTRIBUTIONS:
        wheel = only(folder, f"{one.name}-*.whl")
        with zipfile.ZipFile(wheel) as archive:
            names = archive.namelist()
        sdist = only(folder, f"{one.name}-*.tar.gz")
        with tarfile.open(sdist) as archive:
            sources = [member.name for member in archive.getmembers() if member.isfile()]
        for path, inside, faults in (
            (wheel, names, one.wheel_faults(names, tracked)),
            (sdist, sources, one.sdist_faults(sources, tracked)),
        ):
            print(f"{path.name}: {len(inside)} files, {len(faults)} faults")
            for fault in faults:
                print(f"  {fault}")
            count += len(faults)
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "dist")))
