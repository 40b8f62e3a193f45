"""Anthropic Messages: ``POST /v1/messages`` and ``POST /v1/messages/count_tokens``."""

from fake_llm.dialects.anthropic.reply import count_tokens, render
from fake_llm.dialects.anthropic.request import parse
from fake_llm.dialects.anthropic.stream import stream, stream_error
from fake_llm.dialects.wire import EVENT_STREAM

PROVIDER = "anthropic"
STREAM_TYPE = EVENT_STREAM

__all__ = ["PROVIDER", "STREAM_TYPE", "count_tokens", "parse", "render", "stream", "stream_error"]
