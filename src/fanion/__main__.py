"""`python -m fanion` is the `fanion` command."""

from fanion.cli import main

main()
