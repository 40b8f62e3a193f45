"""`python -m realstack.cli`."""

from realstack.cli import main

main()
