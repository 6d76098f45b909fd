"""What the build takes for a fault of a wheel or a source distribution."""

import importlib.util
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / ".ci" / "contents.py"
TRACKED = {
    "pyproject.toml",
    "memkit/__init__.py",
    "memkit/py.typed",
    "tests/unit/test_a.py",
    "integrations/langchain/pyproject.toml",
    "integrations/langchain/src/langchain_memkit/__init__.py",
    "integrations/langchain/src/langchain_memkit/py.typed",
}
INFO = [f"memkit_sdk-1.dist-info/{name}" for name in ("METADATA", "RECORD", "WHEEL")]
INFO += ["memkit_sdk-1.dist-info/licenses/LICENSE", "memkit_sdk-1.dist-info/entry_points.txt"]
WHEEL = ["memkit/__init__.py", "memkit/py.typed", *INFO]
SDIST = [f"memkit_sdk-1/{name}" for name in [*TRACKED, "PKG-INFO"]]


@pytest.fixture(scope="module")
def contents():
    spec = importlib.util.spec_from_file_location("contents", SCRIPT)
    module = sys.modules["contents"] = importlib.util.module_from_spec(spec)  # for dataclasses
    spec.loader.exec_module(module)
    yield module
    del sys.modules["contents"]


@pytest.fixture
def sdk(contents):
    return contents.DISTRIBUTIONS[0]


@pytest.fixture
def integration(contents):
    return contents.DISTRIBUTIONS[1]


def test_whole_distributions_have_no_faults(sdk, integration):
    assert sdk.wheel_faults(WHEEL, TRACKED) == []
    assert sdk.sdist_faults([*SDIST, "memkit_sdk-1/.gitignore"], TRACKED) == []
    info = [name.replace("memkit_sdk", "langchain_memkit") for name in INFO[:-1]]
    package = ["langchain_memkit/__init__.py", "langchain_memkit/py.typed"]
    assert integration.wheel_faults([*package, *info], TRACKED) == []


@pytest.mark.parametrize("name", WHEEL)
def test_what_a_wheel_lacks_is_named(sdk, name):
    faults = sdk.wheel_faults([one for one in WHEEL if one != name], TRACKED)

    assert faults == [f"missing: {name}"]


@pytest.mark.parametrize(
    "name", ["tests/unit/test_a.py", "memkit/notes.txt", "memkit/__init__.pyc"]
)
def test_what_does_not_belong_there_is_named(sdk, name):
    assert sdk.wheel_faults([*WHEEL, name], TRACKED) == [f"does not belong there: {name}"]
    assert sdk.sdist_faults([*SDIST, "memkit_sdk-1/agent.mem"], TRACKED) == [
        "does not belong there: agent.mem"
    ]


def test_a_source_distribution_has_its_tests(sdk):
    names = [name for name in SDIST if not name.endswith("test_a.py")]

    assert sdk.sdist_faults(names, TRACKED) == ["missing: tests/unit/test_a.py"]


def test_a_package_without_the_mark_of_types_is_named(sdk):
    names = [name for name in WHEEL if name != "memkit/py.typed"]

    (fault,) = sdk.wheel_faults(names, TRACKED - {"memkit/py.typed"})
    assert fault.startswith("memkit/py.typed is not tracked")
