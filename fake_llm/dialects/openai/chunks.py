"""What the streams of chunks have in common, those of chats and of legacy completions."""

from __future__ import annotations

from fake_llm.dialects.wire import data, to_json
from fake_llm.model import ProtocolError, Stamp


def stream_error(error: ProtocolError, stamp: Stamp) -> bytes:
    """A chunk whose ``error`` the SDKs raise."""
    return data(
        to_json({"error": {"message": error.message, "type": error.type, "param": error.param, "code": error.code}})
    )
