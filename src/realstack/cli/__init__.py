"""The `realstack` command: parse, call, exit code."""

from __future__ import annotations

import sys


def main() -> None:
    """Entry of the `realstack` command. One clear error, never a traceback, for what realstack knows to fail."""
    from realstack.cli import exit_codes
    from realstack.cli.app import app
    from realstack.errors import RealstackError

    try:
        app(prog_name="realstack")
    except RealstackError as problem:
        print(f"realstack: {problem}", file=sys.stderr)  # noqa: T201
        sys.exit(exit_codes.COULD_NOT_RUN)
    except KeyboardInterrupt:
        sys.exit(exit_codes.INTERRUPTED)
