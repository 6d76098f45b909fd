"""``python -m memkit`` is the command ``memkit``."""

import sys

from memkit.cli.main import main

sys.exit(main())
