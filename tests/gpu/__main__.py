"""Run as ``python tests/gpu``; the folder need not be importable before."""

import sys
from pathlib import Path

# Python put this folder first; its modules are imported as `gpu.…`, from the one above.
sys.path[0] = str(Path(__file__).resolve().parents[1])

from gpu.run_checks import main

if __name__ == "__main__":
    sys.exit(main())
