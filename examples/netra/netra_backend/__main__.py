"""``python -m netra_backend --port 8000`` serves the API until it is told to stop."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import uvicorn


def main(argv: Sequence[str] | None = None) -> None:
    """Serve :mod:`netra_backend.app.main` on the given address; SIGTERM and Ctrl-C stop it gracefully."""
    parser = argparse.ArgumentParser(prog="python -m netra_backend", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8000, help="port to listen on (default: %(default)s)")
    parser.add_argument("--log-level", default="info", help="uvicorn's log level (default: %(default)s)")
    arguments = parser.parse_args(argv)
    uvicorn.run(
        "netra_backend.app.main:app",
        host=arguments.host,
        port=arguments.port,
        log_level=arguments.log_level,
    )


if __name__ == "__main__":
    main()
