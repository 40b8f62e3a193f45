"""A password for services whose declaration has none: made once per user, kept where only that user reads."""

from __future__ import annotations

import os
import secrets
from functools import cache
from pathlib import Path

from realstack.model import Secret
from realstack.services.cache import cache_folder


@cache
def made_up_password() -> Secret:
    """The same in every run of this user, so that what was initialised with it can be cached.

    Without a writable cache folder it lives as long as this process.
    """
    folder = cache_folder("made-up")
    return Secret(_kept_at(folder / "password") if folder else secrets.token_urlsafe(24))


def _kept_at(path: Path) -> str:
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        if not path.exists():
            unfinished.touch(mode=0o600, exist_ok=False)
            unfinished.write_text(secrets.token_urlsafe(24), encoding="ascii")
            # A link never replaces what another run made first.
            os.link(unfinished, path)
    except FileExistsError:
        pass
    finally:
        unfinished.unlink(missing_ok=True)
    return path.read_text(encoding="ascii")
