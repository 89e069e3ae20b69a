"""`python -m bench`: see `bench.report`."""

from bench.report.command import main

main()
