"""Run as ``python tests/benchmarks NAME``; the folder need not be importable before."""

import sys
from pathlib import Path

# Python put this folder first; its modules are imported as `benchmarks.…`, from the one above.
sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.command import main

if __name__ == "__main__":  # not in processes that a benchmark spawns
    sys.exit(main())
