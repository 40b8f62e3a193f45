"""Images, sounds, films and documents in a request: what is refused, and how they are counted."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from fake_llm.dialects.google.fields import as_message, get, invalid, message, repeated, text
from fake_llm.dialects.wire import to_json
from fake_llm.model import Json, ProtocolError, Turn
from fake_llm.tokens import TOKENS_PER_ATTACHMENT

MODALITIES = ("TEXT", "IMAGE", "VIDEO", "AUDIO", "DOCUMENT")

_IMAGES = frozenset({"png", "jpeg", "jpg", "webp", "heic", "heif"})
_DOCUMENTS = frozenset({"pdf", "json", "rtf", "x-javascript", "javascript", "x-python", "xml", "x-ipynb+json"})
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]*={0,2}")
_UPLOADED = re.compile(r"(?:https?://generativelanguage\.googleapis\.com/[^?]*/)?files/(?P<id>[A-Za-z0-9-]+)")


def check_media(part: Mapping[str, Json], at: str) -> None:
    """Refuse the part's data, or the file that it names, where Gemini does.

    :raises ProtocolError: the type is not supported, the bytes are no base64, the file does not exist.
    """
    if get(part, "inlineData") is not None:
        blob = message(part, "inlineData", f"{at}.inline_data", "Blob")
        _check_bytes(text(blob, "data", f"{at}.inline_data"), f"{at}.inline_data.data")
        _check_type(text(blob, "mimeType", f"{at}.inline_data") or "")
        return
    file = message(part, "fileData", f"{at}.file_data", "FileData")
    uri = text(file, "fileUri", f"{at}.file_data")
    if not uri:
        invalid(f"{at}.file_data.file_uri", "file_uri must not be empty.")
    if (kind := text(file, "mimeType", f"{at}.file_data")) is not None:
        _check_type(kind)
    if uploaded := _UPLOADED.fullmatch(uri):
        raise ProtocolError(
            f"You do not have permission to access the File {uploaded['id']} or it may not exist.", status=403
        )


def token_details(turn: Turn, tokens: int) -> list[Json]:
    """The prompt's ``tokens`` by kind."""
    if not any(one.attachments for one in turn.messages):
        return [{"modality": "TEXT", "tokenCount": tokens}]
    counts = dict.fromkeys(MODALITIES, 0)
    for kind in _kinds(turn.raw):
        counts[kind] += TOKENS_PER_ATTACHMENT
    counts["TEXT"] += max(tokens - sum(counts.values()), 0)
    return [{"modality": kind, "tokenCount": count} for kind, count in counts.items() if count]


def modality(mime_type: str) -> str:
    """The kind of token that data of this type is counted as."""
    family = mime_type.partition("/")[0].upper()
    return family if family in ("IMAGE", "VIDEO", "AUDIO") else "DOCUMENT"


def _kinds(body: Mapping[str, Json]) -> Iterator[str]:
    for content in repeated(body, "contents"):
        for part in repeated(content, "parts"):
            response = get(part, "functionResponse") or {}
            for holder in (part, *repeated(response, "parts")):
                data = (get(holder, "inlineData") or get(holder, "fileData")) if isinstance(holder, Mapping) else None
                if data is not None:
                    yield modality(str(get(data, "mimeType") or ""))


def _check_bytes(encoded: str | None, at: str) -> None:
    if encoded is not None and not _BASE64.fullmatch(encoded):
        raise ProtocolError(
            f"Invalid value at '{at}' (TYPE_BYTES), Base64 decoding failed for {to_json(encoded[:40])}", param=at
        )


def _check_type(mime_type: str) -> None:
    family, _, kind = mime_type.lower().partition(";")[0].strip().partition("/")
    known = {"image": kind in _IMAGES, "application": kind in _DOCUMENTS}
    if not kind or not known.get(family, family in ("text", "audio", "video")):
        raise ProtocolError(f"Unsupported MIME type: {mime_type}")


def attachments_of(response: Mapping[str, Json], at: str) -> int:
    """How much is attached to a function's response."""
    parts = repeated(response, "parts")
    for place, part in enumerate(parts):
        check_media(as_message(part, f"{at}.parts[{place}]", "FunctionResponsePart"), f"{at}.parts[{place}]")
    return len(parts)
