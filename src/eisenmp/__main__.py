"""``python -m eisenmp``: the command."""

import sys

from eisenmp.cli import main

sys.exit(main())
