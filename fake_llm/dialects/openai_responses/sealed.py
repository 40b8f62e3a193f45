"""Encrypted content: what a client sends back unread. It is packed and has a check sum, and is no secret."""

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
    packed = zlib.compress(to_bytes(value))
    return PREFIX + base64.urlsafe_b64encode(zlib.crc32(packed).to_bytes(4, "big") + packed).decode("ascii")


def opened(content: Json) -> Json:
    """What was :func:`sealed`.

    :raises ProtocolError: it was not, or has been changed since.
    """
    if not isinstance(content, str) or not content.startswith(PREFIX):
        _refuse(content)
    try:
        found = base64.b64decode(content[len(PREFIX) :].encode("ascii"), altchars=b"-_", validate=True)
        if zlib.crc32(found[4:]).to_bytes(4, "big") != found[:4]:
            _refuse(content)
        return json.loads(zlib.decompressobj().decompress(found[4:], MAX_OPENED))
    except (ValueError, zlib.error):
        _refuse(content)


def _refuse(content: Json) -> NoReturn:
    text = content if isinstance(content, str) else ""
    raise ProtocolError(
        f"The encrypted content {text[:4]}...{text[-4:]} could not be verified. Reason: Encrypted content could not be "
        "decrypted or parsed.",
        code="invalid_encrypted_content",
    )
