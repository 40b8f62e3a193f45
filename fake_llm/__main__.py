"""``python -m fake_llm``: start the server, print one JSON line when it is ready, serve until SIGTERM."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fake_llm import __version__

if TYPE_CHECKING:
    from fake_llm.scenario import Scenario
    from fake_llm.scenario_watch import WatchedFiles


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and serve; returns the exit status: 0 stopped, 2 could not start."""
    options = _parser().parse_args(arguments)
    if options.print_schema:
        from fake_llm.scenario_file import schema  # noqa: PLC0415

        sys.stdout.write(schema())
        return 0
    if options.handlers is not None:
        if not options.handlers.is_dir():
            sys.stderr.write(f"--handlers: {options.handlers} is no folder\n")
            return 2
        from fake_llm.handlers import use  # noqa: PLC0415 - few servers have any

        use(options.handlers)
    scenarios: tuple[Scenario, ...] = ()
    watched: WatchedFiles | None = None
    if options.scenarios:
        from fake_llm.scenario_file import load_files  # noqa: PLC0415 - pydantic and yaml, only if there are files
        from fake_llm.scenario_watch import WatchedFiles  # noqa: PLC0415
        from fake_llm.written import ScenarioError  # noqa: PLC0415

        try:
            watched = WatchedFiles(options.scenarios)
            scenarios = load_files(options.scenarios)
        except ScenarioError as error:
            sys.stderr.write(f"{error}\n")
            return 2
    from fake_llm.app import App  # noqa: PLC0415 - not before the options are known to be right
    from fake_llm.server import adopt, listen, serve  # noqa: PLC0415

    try:
        listener = adopt(options.fd) if options.fd is not None else listen(options.host, options.port)
    except (OSError, OverflowError) as error:
        where = f"file descriptor {options.fd}" if options.fd is not None else f"{options.host}:{options.port}"
        sys.stderr.write(f"cannot listen at {where}: {error}\n")
        return 2
    app = App(
        scenarios,
        log_calls=options.log_level in {"debug", "info"},
        control_from=options.control_from,
        control_token=options.control_token or os.environ.get("FAKE_LLM_CONTROL_TOKEN", ""),
        watched=watched,
    )
    serve(app, listener, debug=options.log_level == "debug")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m fake_llm", description="A fake LLM with real wire protocols.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8080, help="port; 0 takes a free one (default: %(default)s)")
    parser.add_argument("--fd", type=int, help="an inherited listening socket, instead of host and port")
    parser.add_argument(
        "--scenarios",
        type=Path,
        nargs="+",
        action="extend",
        default=[],
        metavar="FILE",
        help="scenario files or folders that every session starts with",
    )
    parser.add_argument(
        "--handlers",
        type=Path,
        metavar="DIR",
        help="a folder of Python modules whose functions scenarios may name (handler: module:function); they are run",
    )
    parser.add_argument(
        "--log-level",
        choices=["debug", "info", "warning", "error"],
        default="info",
        help="info: a line for each call on standard error (default: %(default)s)",
    )
    parser.add_argument(
        "--control-from",
        choices=["none", "loopback", "private", "any"],
        default="loopback",
        help="addresses that need no token for /_fake and /metrics; in a container the host is a private one "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--control-token",
        metavar="TOKEN",
        help="lets requests from elsewhere in, as a bearer token (default: $FAKE_LLM_CONTROL_TOKEN)",
    )
    parser.add_argument(
        "--print-schema",
        action="store_true",
        help="print the JSON schema of scenario files, by which editors complete them, and stop",
    )
    parser.add_argument("--version", action="version", version=__version__)
    return parser


if __name__ == "__main__":
    sys.exit(main())
