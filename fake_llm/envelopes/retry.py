"""The headers by which providers say when to ask again; the clients of all of them read the same two."""

from __future__ import annotations

import math

from fake_llm.envelopes import HeaderList
from fake_llm.model import Fault


def retry_after_s(fault: Fault) -> float | None:
    """The seconds to wait that the fault asks for, however it says so."""
    return fault.retry_after_ms / 1000 if fault.retry_after_ms is not None else fault.retry_after_s


def retry_headers(fault: Fault) -> HeaderList:
    """``retry-after`` and ``retry-after-ms`` as the fault sets them."""
    found: HeaderList = []
    if fault.retry_after_s is not None:
        found.append((b"retry-after", f"{fault.retry_after_s:g}".encode()))
    if fault.retry_after_ms is not None:
        found.append((b"retry-after-ms", f"{fault.retry_after_ms:g}".encode()))
        if fault.retry_after_s is None:
            found.append((b"retry-after", b"%d" % math.ceil(fault.retry_after_ms / 1000)))
    return found
