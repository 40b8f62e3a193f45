"""OpenAI Responses: ``POST /v1/responses``. What the paths below it answer is in :mod:`fake_llm.stored_responses`."""

from fake_llm.dialects.openai_responses.keeping import is_background, kept_turn
from fake_llm.dialects.openai_responses.request import parse, resume
from fake_llm.dialects.openai_responses.response import render
from fake_llm.dialects.openai_responses.stream import stream, stream_error, stream_failure
from fake_llm.dialects.wire import EVENT_STREAM

PROVIDER = "openai"
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
