"""`python -m lossgrad`: the command line without its script."""

import sys

from lossgrad.cli import main

sys.exit(main())
