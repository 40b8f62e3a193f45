"""Gemini's Interactions API: ``POST /v1/interactions``. What the paths below it answer is in
:mod:`fake_llm.stored_interactions`.
"""

from fake_llm.dialects.gemini_interactions.interaction import render
from fake_llm.dialects.gemini_interactions.keeping import is_background, kept_turn
from fake_llm.dialects.gemini_interactions.request import parse, resume
from fake_llm.dialects.gemini_interactions.stream import stream, stream_error, stream_failure
from fake_llm.dialects.wire import EVENT_STREAM

PROVIDER = "gemini"
STREAM_TYPE = EVENT_STREAM

__all__ = [
    "PROVIDER",
    "STREAM_TYPE",
    "is_background",
    "kept_turn",
    "parse",
    "render",
    "resume",
    "stream",
    "stream_error",
    "stream_failure",
]
