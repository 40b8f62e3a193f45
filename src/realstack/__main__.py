"""`python -m realstack` is the `realstack` command."""

from realstack.cli import main

main()
