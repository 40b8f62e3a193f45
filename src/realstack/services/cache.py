"""Where this user's things are kept from run to run: initialised clusters, byte code, a password."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder(name: str) -> Path | None:
    """``realstack/<name>`` in the user's cache folder, made if need be; None where it cannot be written."""
    import platformdirs

    folder = Path(platformdirs.user_cache_dir("realstack")) / name
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK | os.X_OK) else None
