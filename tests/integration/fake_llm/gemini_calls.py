"""Calls by the unchanged ``google-genai`` SDK, and what they came back with."""

from __future__ import annotations

from typing import Any

import httpx
from google import genai
from google.genai import types

from .conftest import Session

MODEL = "gemini-2.5-flash"
NO_LOOP: Any = {"disable": True}


def client_of(session: Session, **options: Any) -> genai.Client:
    return genai.Client(
        api_key=session.api_key,
        vertexai=False,
        http_options=types.HttpOptions(base_url=session.url, timeout=20_000, **options),
    )


def ask(client: genai.Client, contents: Any = "hello there", **config: Any) -> types.GenerateContentResponse:
    return client.models.generate_content(
        model=MODEL, contents=contents, config=types.GenerateContentConfig(automatic_function_calling=NO_LOOP, **config)
    )


def stream(client: genai.Client, contents: Any = "hello there", **config: Any) -> list[types.GenerateContentResponse]:
    config = {"automatic_function_calling": NO_LOOP, **config}
    return list(
        client.models.generate_content_stream(
            model=MODEL, contents=contents, config=types.GenerateContentConfig(**config)
        )
    )


def reason(found: types.GenerateContentResponse) -> str | None:
    """Why the first candidate ended."""
    assert found.candidates
    ended = found.candidates[0].finish_reason
    return ended.value if ended else None


def tokens(found: types.GenerateContentResponse) -> tuple[int, int]:
    """Those of the prompt, and those of the candidates."""
    usage = found.usage_metadata
    assert usage is not None
    assert usage.prompt_token_count is not None
    assert usage.candidates_token_count is not None
    assert usage.total_token_count == usage.prompt_token_count + usage.candidates_token_count
    return usage.prompt_token_count, usage.candidates_token_count


def raw(session: Session, path: str, **more: Any) -> httpx.Response:
    body = {"contents": [{"parts": [{"text": "hello there"}]}], **more.pop("body", {})}
    headers = more.pop("headers", {"x-goog-api-key": session.api_key})
    return httpx.post(session.url + path, json=body, headers=headers, timeout=20, trust_env=False, **more)
