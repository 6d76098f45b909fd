"""``python -m memkit`` runs the command line."""

import sys

from memkit.cli.main import main

sys.exit(main())
