"""OpenAI Chat Completions: ``POST /v1/chat/completions``."""

from fake_llm.dialects.openai.chunks import stream_error
from fake_llm.dialects.openai_chat.reply import render, stream
from fake_llm.dialects.openai_chat.request import parse
from fake_llm.dialects.openai_chat.storing import kept_chat
from fake_llm.dialects.wire import EVENT_STREAM

PROVIDER = "openai"
STREAM_TYPE = EVENT_STREAM

__all__ = ["PROVIDER", "STREAM_TYPE", "kept_chat", "parse", "render", "stream", "stream_error"]
