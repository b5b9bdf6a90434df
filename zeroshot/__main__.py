"""`python -m zeroshot` is the command `zeroshot`."""

from zeroshot.cli import main

main()
