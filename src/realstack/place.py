"""Where this process runs: which start of which machine, and in which of its PID namespaces.

An engine or a home folder may be shared by machines and by containers. A process id means something only where it
was given, so whoever asks whether an owner lives asks first whether it is from here.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from functools import cache
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_PID_NAMESPACE = Path("/proc/self/ns/pid")
_SYSCTL_WITHIN_S = 5.0


@cache
def here() -> str:
    """``BOOT/NAMESPACE``: the id of this machine's last start, and the PID namespace's inode where there is one.

    Linux tells the first in ``random/boot_id`` (random(4)), macOS in the sysctl ``kern.bootsessionuuid``; elsewhere the
    host's name stands for it.
    """
    return f"{_boot() or platform.node()}/{_namespace()}"


def host() -> str:
    """The name of this machine, which outlives its restart."""
    return platform.node()


def is_here(place: str) -> bool:
    """Whether processes of that place can be seen from here; of an unknown one ("") nobody can tell: False."""
    return place == here()


def is_of_an_earlier_start(place: str, host_then: str) -> bool:
    """Whether all processes of that place have ended since this machine was started again."""
    return bool(place) and host_then == host() and place.partition("/")[0] != here().partition("/")[0]


def _boot() -> str:
    if sys.platform == "darwin":
        return _sysctl("kern.bootsessionuuid")
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""


def _namespace() -> int:
    try:
        return _PID_NAMESPACE.stat().st_ino
    except OSError:
        return 0


def _sysctl(name: str) -> str:
    try:
        asked = subprocess.run(
            ["/usr/sbin/sysctl", "-n", name],
            capture_output=True,
            text=True,
            timeout=_SYSCTL_WITHIN_S,
            stdin=subprocess.DEVNULL,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return asked.stdout.strip()
