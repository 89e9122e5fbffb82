"""`python -m journal` is the `journal` command."""

from journal.cli.app import main

main()
