"""`python -m fanion.journal DIRECTORY SETTINGS`: one pass of retention and compression; the steward starts it."""

import sys

from fanion.journal.retention import main

sys.exit(main(sys.argv[1:]))
