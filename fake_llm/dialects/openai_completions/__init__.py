"""OpenAI's legacy completions: ``POST /v1/completions``."""

from fake_llm.dialects.openai.chunks import stream_error
from fake_llm.dialects.openai_completions.reply import render, stream
from fake_llm.dialects.openai_completions.request import parse
from fake_llm.dialects.wire import EVENT_STREAM

PROVIDER = "openai"
STREAM_TYPE = EVENT_STREAM

__all__ = ["PROVIDER", "STREAM_TYPE", "parse", "render", "stream", "stream_error"]
