"""LangGraph's own tests of its stores, all of them, on `MemkitStore`.

They are in the source distribution of langgraph-checkpoint, which `make test` fetches into the
virtual environment.
"""

import hashlib
import subprocess
import sys
import tarfile
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

NAME = "langgraph_checkpoint-4.3.2"
SDIST = Path(sys.prefix) / "suites" / f"{NAME}.tar.gz"
SHA256 = "fcab8468c7e965d7055e2a35c253d73a145624ef4728b150ca7c361f4afca286"
CASES = 117


@pytest.mark.skipif(not SDIST.exists(), reason=f"`make test` fetches {SDIST.name}")
@pytest.mark.engines
def test_langgraphs_own_suite_passes(tmp_path, engine, request):
    assert hashlib.sha256(SDIST.read_bytes()).hexdigest() == SHA256
    with tarfile.open(SDIST) as archive:
        safely = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # from 3.11.4 on
        archive.extractall(tmp_path, **safely)
    options = ["-q", "-p", "store_swap", "-p", "no:cacheprovider", "-o", "addopts="]
    options += ["--disable-socket", "--allow-unix-socket", "--junit-xml=report.xml"]
    options += ["-W", "ignore::pytest.PytestDeprecationWarning"]
    server = {}
    if engine == "postgresql":
        server["MEMKIT_STORE_SERVER"] = request.getfixturevalue("postgres").url
        server["XDG_CACHE_HOME"] = str(tmp_path / "cache")
    run = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "tests/test_store.py"],
        cwd=tmp_path / NAME,
        env={
            "PYTHONPATH": ":".join([str(Path(__file__).parent), *filter(None, sys.path)]),
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
            **server,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    suite = ET.parse(tmp_path / NAME / "report.xml").getroot().find("testsuite")
    counts = {name: int(suite.get(name)) for name in ("tests", "failures", "errors", "skipped")}
    assert counts == {"tests": CASES, "failures": 0, "errors": 0, "skipped": 0}
