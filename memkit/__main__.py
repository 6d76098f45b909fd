"""``python -m memkit`` is the command ``memkit``."""

import sys

from memkit.cli import main

sys.exit(main())
