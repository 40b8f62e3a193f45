"""The programs beside the engine: the command ``docker``, its component Compose, and buildx, which builds images."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from functools import lru_cache
from pathlib import Path

GET_COMPOSE = (
    "install Docker's command line with Compose v2 (the package docker-compose-plugin, docker-compose-v2 or "
    "docker-compose)"
)
GET_BUILDX = "install Docker's command line with its buildx component (the package docker-buildx-plugin, docker-buildx)"
_ANSWERS_WITHIN_S = 10.0
_BUILDS_BY_ITSELF_BEFORE = 23
"""From this version on the command needs buildx for BuildKit (docs.docker.com, "Docker Engine 23.0 release notes")."""
_PLUGIN_FOLDERS = tuple(
    Path(base, "docker/cli-plugins")
    for base in ("/usr/local/lib", "/usr/local/libexec", "/usr/lib", "/usr/libexec", "/opt/homebrew/lib")
)


def why_no_compose() -> str | None:
    """Why ``docker compose`` cannot be used, or None. It asks the program, once in a process."""
    problem = _why_not("compose")
    return f"`docker compose` cannot be used: {problem}" if problem else None


def why_no_builder() -> str | None:
    """Why the command ``docker`` cannot build with BuildKit, or None. It asks the program, once in a process."""
    problem = _why_not("buildx")
    if problem is None or (shutil.which("docker") and _cli_version() < _BUILDS_BY_ITSELF_BEFORE):
        return None
    return f"`docker buildx` cannot be used: {problem}"


def builder_in_sight() -> bool:
    """Whether a file at a usual place says that :func:`why_no_builder` will have nothing to say. Starts nothing."""
    own = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker", "cli-plugins")
    return shutil.which("docker") is not None and any(
        (folder / "docker-buildx").exists() for folder in (own, *_PLUGIN_FOLDERS)
    )


def _why_not(component: str) -> str | None:
    return _answer(component, os.environ.get("PATH", ""), os.environ.get("DOCKER_CONFIG", ""))


@lru_cache(maxsize=8)
def _answer(component: str, path: str, config: str) -> str | None:
    """What is wrong with a component of the command ``docker``; ``path`` and ``config`` say where it looks for it."""
    try:
        asked = _asked("docker", component, "version")
    except FileNotFoundError:
        return "there is no command `docker`"
    except OSError as problem:
        return str(problem)
    except subprocess.TimeoutExpired:
        return f"it did not answer within {_ANSWERS_WITHIN_S:g} s"
    if asked.returncode == 0:
        return None
    return asked.stderr.strip().partition("\n")[0] or f"it ended with status {asked.returncode}"


def _cli_version() -> int:
    """The first number of the command's version; a high one if it does not tell."""
    try:
        found = re.search(r"version (\d+)\.", _asked("docker", "--version").stdout)
    except (OSError, subprocess.TimeoutExpired):
        found = None
    return int(found[1]) if found else _BUILDS_BY_ITSELF_BEFORE


def _asked(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, capture_output=True, text=True, timeout=_ANSWERS_WITHIN_S, stdin=subprocess.DEVNULL, check=False
    )
