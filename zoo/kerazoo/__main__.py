"""`python -m kerazoo` is the command `kerazoo`."""

from kerazoo.cli import main

main()
