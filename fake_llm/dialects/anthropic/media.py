"""Images and documents of a request: checked as Anthropic checks them, and what they cost in tokens."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import NoReturn

from fake_llm.dialects.anthropic.checks import mapping, one_of, refuse, string, tag, text
from fake_llm.dialects.anthropic.pixels import image_type, size_of
from fake_llm.model import Json, ProtocolError
from fake_llm.tokens import count

IMAGE_TYPES = ("image/jpeg", "image/png", "image/gif", "image/webp")
PIXELS_PER_TOKEN = 750
MAX_IMAGE_TOKENS = 1_600
MAX_SIDE = 8_000
TOKENS_PER_PAGE = 1_500

_PAGE, _PAGES = (b"/Type/Page", b"/Type /Page"), (b"/Type/Pages", b"/Type /Pages")


def image_tokens(block: Mapping[str, Json], at: str) -> int:
    """Tokens of an image block.

    :raises ProtocolError: Anthropic refuses it.
    """
    source = mapping(block.get("source"), f"{at}.source")
    kind = tag(source, ("base64", "file", "url"), f"{at}.source")
    if kind != "base64":
        _elsewhere(source, kind, f"{at}.source.{kind}")
        return MAX_IMAGE_TOKENS
    where = f"{at}.source.base64"
    media_type = string(source, "media_type", at=f"{where}.media_type")
    one_of(media_type, IMAGE_TYPES, f"{where}.media_type")
    content = _decoded(source, where)
    found = image_type(content)
    if found is None:
        refuse("Could not process image")
    if found != media_type:
        refuse(f"{where}.data: Image does not match the provided media type {media_type}")
    size = size_of(content, found)
    if size is None:
        return MAX_IMAGE_TOKENS
    if max(size) > MAX_SIDE:
        _too_large(f"{where}.data: At least one of the image dimensions exceed max allowed size: {MAX_SIDE} pixels")
    return max(1, min(MAX_IMAGE_TOKENS, size[0] * size[1] // PIXELS_PER_TOKEN))


def document_tokens(block: Mapping[str, Json], at: str) -> int:
    """Tokens of a document block, its title and context among them.

    :raises ProtocolError: Anthropic refuses it.
    """
    source = mapping(block.get("source"), f"{at}.source")
    kind = tag(source, ("base64", "content", "file", "text", "url"), f"{at}.source")
    where = f"{at}.source.{kind}"
    total = 0
    for name in ("title", "context"):
        if block.get(name) is not None:
            total += count(string(block, name, at=f"{at}.{name}"))
    if kind == "text":
        one_of(string(source, "media_type", at=f"{where}.media_type"), ("text/plain",), f"{where}.media_type")
        return total + count(text(source, "data", at=f"{where}.data"))
    if kind == "content":
        return total + _content(source.get("content"), f"{where}.content")
    if kind != "base64":
        _elsewhere(source, kind, where)
        return total + TOKENS_PER_PAGE
    one_of(string(source, "media_type", at=f"{where}.media_type"), ("application/pdf",), f"{where}.media_type")
    content = _decoded(source, where)
    if not content.lstrip().startswith(b"%PDF-"):
        refuse(f"{where}.data: The PDF specified was not valid.")
    return total + TOKENS_PER_PAGE * _pages(content)


def _content(content: Json, at: str) -> int:
    if isinstance(content, str):
        return count(content)
    if not isinstance(content, list):
        refuse(f"{at}: Input should be a valid string or list" if content is not None else f"{at}: Field required")
    total = 0
    for place, part in enumerate(content):
        here = f"{at}.{place}"
        kind = tag(mapping(part, here), ("image", "text"), here)
        total += image_tokens(part, f"{here}.image") if kind == "image" else count(string(part, "text", at=here))
    return total


def _decoded(source: Mapping[str, Json], where: str) -> bytes:
    try:
        return base64.b64decode(text(source, "data", at=f"{where}.data"), validate=True)
    except (binascii.Error, ValueError):
        refuse(f"{where}: invalid base64 data")


def _elsewhere(source: Mapping[str, Json], kind: str, where: str) -> None:
    """A source that the provider would fetch by itself."""
    if kind == "file":
        text(source, "file_id", at=f"{where}.file_id")
    elif not text(source, "url", at=f"{where}.url").startswith("https://"):
        refuse(f"{where}.url: Only HTTPS URLs are supported.")


def _pages(content: bytes) -> int:
    """Pages that can be seen without unpacking; at least one."""
    return max(1, sum(map(content.count, _PAGE)) - sum(map(content.count, _PAGES)))


def _too_large(message: str) -> NoReturn:
    raise ProtocolError(message, code="image_dimensions_too_large")
