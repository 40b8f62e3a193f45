"""Whom a server that refuses root runs as. No user is created, and no folder but our own is changed."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_PREFERRED = ("postgres", "_postgres", "nobody")
_CAP_CHOWN, _CAP_SETGID, _CAP_SETUID = 0, 6, 7


@dataclass(frozen=True, slots=True)
class Identity:
    """How a program is started so that it is not root.

    ``uid``/``gid``: the user to switch to, who must own what it writes; None: stay who we are.
    ``wrapper``: words before its own command line.
    """

    uid: int | None = None
    gid: int | None = None
    wrapper: tuple[str, ...] = ()

    def own(self, path: Path) -> None:
        """Give ``path``, which is ours, to this user."""
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid)

    def can_reach(self, path: Path) -> bool:
        """Whether this user may read ``path`` and enter all folders above it."""
        if self.uid is None or self.gid is None:
            return True
        path = path.resolve()
        return _allows(path, self, 0o4) and all(_allows(folder, self, 0o1) for folder in path.parents)


class NoOtherUserError(Exception):
    """We are root and can become nobody else."""


def identity(folder: Path) -> Identity:
    """Ourselves; for root an existing unprivileged user who can reach ``folder``.

    Root switches its user id where that is allowed. Where it is not, or where ``folder`` lies below one that
    is closed to others, a user namespace makes root's files look like that user's.

    :raises NoOtherUserError: neither works here.
    """
    if os.geteuid() != 0:
        return Identity()
    user = _unprivileged_user()
    if user is None:
        raise NoOtherUserError("the system has no user but root")
    switched = Identity(user.pw_uid, user.pw_gid)
    if _may_switch_to(user.pw_uid) and all(_allows(above, switched, 0o1) for above in folder.resolve().parents):
        return switched
    wrapper = (
        "unshare", "--user", f"--map-user={user.pw_uid}", f"--map-group={user.pw_gid}", "--",
    )  # fmt: skip
    if _works(wrapper):
        return Identity(wrapper=wrapper)
    raise NoOtherUserError(
        f"we are root; the user {user.pw_name} cannot reach {folder}, and user namespaces are not allowed here"
    )


def _unprivileged_user() -> pwd.struct_passwd | None:
    for name in _PREFERRED:
        with contextlib.suppress(KeyError):
            user = pwd.getpwnam(name)
            # macOS gives nobody the id -2.
            if 0 < user.pw_uid < 2**31:
                return user
    return next((user for user in pwd.getpwall() if user.pw_uid > 0), None)


def _allows(path: Path, who: Identity, bit: int) -> bool:
    """The classic permission bits: owner, else group, else others."""
    try:
        seen = path.stat()
    except OSError:
        return False
    shift = 6 if seen.st_uid == who.uid else 3 if seen.st_gid == who.gid else 0
    return bool(seen.st_mode >> shift & bit)


def _may_switch_to(uid: int) -> bool:
    """Root in a container may lack the capabilities, or live in a namespace that knows no other user."""
    if sys.platform != "linux":
        return True
    held = _effective_capabilities()
    needed = (1 << _CAP_CHOWN) | (1 << _CAP_SETGID) | (1 << _CAP_SETUID)
    return held & needed == needed and any(first <= uid < first + count for first, count in _mapped_uids())


def _effective_capabilities() -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)
    return 0


def _mapped_uids() -> Iterator[tuple[int, int]]:
    for line in Path("/proc/self/uid_map").read_text(encoding="ascii").splitlines():
        inside, _, count = (int(number) for number in line.split())
        yield inside, count


@cache
def _works(wrapper: Sequence[str]) -> bool:
    if not shutil.which(wrapper[0]):
        return False
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        return subprocess.run([*wrapper, "true"], capture_output=True, timeout=5, check=False).returncode == 0
    return False
