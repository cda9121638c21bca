"""`python -m bmzpack` is the command `bmzpack`."""

from bmzpack.cli import main

main()
