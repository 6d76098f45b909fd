"""The package's tests notice when ids, metadata, k, scopes or the order are lost."""

import subprocess
import sys
from pathlib import Path


def test_every_mutant_is_noticed():
    script = Path(__file__).parents[1] / "mutants.py"
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
