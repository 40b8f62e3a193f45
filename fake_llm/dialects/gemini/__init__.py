"""Gemini's Developer API: ``models/{model}:generateContent``, ``:streamGenerateContent`` and ``:countTokens``.

``parse`` takes the body together with what the URL says: ``model``, ``stream`` and ``alt``.
"""

from fake_llm.dialects.gemini.reply import count_tokens, render, stream, stream_error
from fake_llm.dialects.gemini.request import parse
from fake_llm.dialects.wire import EVENT_STREAM

PROVIDER = "gemini"
STREAM_TYPE = EVENT_STREAM

__all__ = ["PROVIDER", "STREAM_TYPE", "count_tokens", "parse", "render", "stream", "stream_error"]
