"""The fake LLM as a local process of this interpreter."""

from __future__ import annotations

import os
import sys
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path
from signal import SIGTERM

from realstack.model import Run, ServiceSpec
from realstack.providers.base import Launch
from realstack.providers.ports import listening_socket
from realstack.services.cache import cache_folder

_PACKAGE = "fake_llm"


class FakeLLMRecipe:
    """Starts ``python -m fake_llm`` on a socket that listens already, so that no request is ever refused."""

    def unavailable(self) -> str | None:
        """Only if this installation lost the package."""
        if _package_folder() is None:
            return f"the package {_PACKAGE} is not installed beside realstack"
        return None

    def source(self) -> str:
        """``python -m fake_llm from <folder>``."""
        return f"python -m {_PACKAGE} from {_package_folder()}"

    def prepare(self, spec: ServiceSpec, folder: Path, run: Run, port: int) -> Launch:
        """Listen, and hand the socket over."""
        listener = listening_socket(port)
        descriptor = listener.detach()
        address = ["--host", "127.0.0.1", "--port", str(port), "--fd", str(descriptor)]
        return Launch(
            argv=(sys.executable, "-m", _PACKAGE, *address),
            environment=_environment(),
            cwd=folder,
            stop_signals=((SIGTERM, 1.0),),
            inherit_fds=(descriptor,),
        )


def _package_folder() -> Path | None:
    found = find_spec(_PACKAGE)
    if found is None or not found.submodule_search_locations:
        return None
    return Path(next(iter(found.submodule_search_locations)))


def _environment() -> dict[str, str]:
    """Of Python's own variables only what the child needs to find the package and its byte code."""
    environment = {"PYTHONUNBUFFERED": "1"}
    package = _package_folder()
    # The user's own PYTHONPATH may be where the packages are that the fake needs.
    places = [os.environ.get("PYTHONPATH", "")]
    if package and not _child_finds(package):
        places.append(str(package.parent))
    if path := os.pathsep.join(filter(None, places)):
        environment["PYTHONPATH"] = path
    if cache := _byte_code_folder(package):
        environment["PYTHONPYCACHEPREFIX"] = str(cache)
    return environment


def _child_finds(package: Path) -> bool:
    """Whether an interpreter without our PYTHONPATH and sys.path changes finds it: it lies in site-packages."""
    import site

    places = [*site.getsitepackages(), site.getusersitepackages()]
    found = PathFinder.find_spec(_PACKAGE, places)
    return found is not None and package.samefile(Path(str(found.origin)).parent)


def _byte_code_folder(package: Path | None) -> Path | None:
    """A cache of ours where Python may not or shall not write beside the sources: compiling takes seconds."""
    beside = package and os.access(package, os.W_OK)
    if beside and not os.environ.get("PYTHONDONTWRITEBYTECODE"):
        return None
    return cache_folder("pycache")
