"""Encrypted content: what a client sends back unread. It is packed, with the check sum of zlib, and is no secret."""

from __future__ import annotations

import base64
import json
import zlib
from typing import NoReturn

from fake_llm.dialects.wire import to_bytes
from fake_llm.model import Json, ProtocolError

PREFIX = "gAAAAAB"
MAX_OPENED = 64 * 1024 * 1024


def sealed(value: Json) -> str:
    """``value`` as encrypted content."""
    return PREFIX + base64.urlsafe_b64encode(zlib.compress(to_bytes(value))).decode("ascii")


def opened(content: Json) -> Json:
    """What was :func:`sealed`.

    :raises ProtocolError: it was not, or has been changed since.
    """
    if not isinstance(content, str) or not content.startswith(PREFIX):
        _refuse(content)
    try:
        found = base64.b64decode(content[len(PREFIX) :].encode("ascii"), altchars=b"-_", validate=True)
        packed = zlib.decompressobj()
        value = json.loads(packed.decompress(found, MAX_OPENED))
        if not packed.eof:
            _refuse(content)
        return value
    except (ValueError, zlib.error):
        _refuse(content)


def _refuse(content: Json) -> NoReturn:
    text = content if isinstance(content, str) else ""
    raise ProtocolError(
        f"The encrypted content {text[:4]}...{text[-4:]} could not be verified. Reason: Encrypted content could not be "
        "decrypted or parsed.",
        code="invalid_encrypted_content",
    )
