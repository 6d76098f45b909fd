"""What the build takes for a licence that would bind users' programs."""

import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / ".ci" / "licences.py"


@pytest.fixture(scope="module")
def licences():
    spec = importlib.util.spec_from_file_location("licences", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "licence",
    [
        "GPL-3.0-or-later",
        "AGPL-3.0-only",
        "GNU General Public License v3 or later (GPLv3+)",
        "GNU Affero General Public License v3",
        "GNU General Public License v3 or later (GPLv3+); MIT License",
        "(Apache-2.0 OR MIT) AND GPL-2.0-only",
        "EUPL-1.2",
    ],
)
def test_strong_copyleft_is_seen(licences, licence):
    assert licences.binds(licence)


@pytest.mark.parametrize(
    "licence",
    [
        "MIT",
        "Apache-2.0 WITH LLVM-exception",
        "BSD-3-Clause AND GPL-3.0-with-GCC-exception",
        "LGPL-2.1-or-later",
        "GNU Lesser General Public License v2 or later (LGPLv2+)",
        "Mozilla Public License 2.0 (MPL 2.0)",
    ],
)
def test_what_lets_users_choose_is_not(licences, licence):
    assert not licences.binds(licence)


def test_a_whole_text_is_known_by_its_first_line(licences):
    assert licences.title("MIT License\n\nCopyright (c) the authors") == "MIT License"
    assert licences.title(" ") == "UNKNOWN"
