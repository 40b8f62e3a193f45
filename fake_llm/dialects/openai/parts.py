"""The parts of a message: what OpenAI's dialects take as text, image, sound and file, and what of them they refuse."""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Mapping, Sequence

from fake_llm.dialects.openai.refusals import invalid, missing, wrong_type, wrong_value
from fake_llm.model import Json

DETAILS = ("auto", "low", "high", "original")
SOUNDS = ("wav", "mp3")

_DATA_URL = re.compile(r"data:([^;,]*)(?:;[^;,]+)*?;base64,(.*)", re.DOTALL | re.IGNORECASE)
_IMAGES = ("png", "jpeg", "gif", "webp")
_FIRST_BYTES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF8", b"RIFF")

Reader = Callable[[Mapping[str, Json], str], str | None]
"""Reads one part of a kind: gives its text, or None for an attachment; raises what is to be refused."""


def read_content(
    content: Json, param: str, readers: Mapping[str, Reader], allowed: Sequence[str] | None = None
) -> tuple[str, int]:
    """The text of a content, a line for each part, and how many attachments it has beside it.

    ``readers`` are the kinds of part that the API has, ``allowed`` those that may stand here: all if None.

    :raises ProtocolError: it is neither a text nor a list of such parts.
    """
    if isinstance(content, str):
        return content, 0
    if not isinstance(content, list):
        wrong_type(param, "one of a string or array of objects", content)
    texts: list[str] = []
    attachments = 0
    for place, part in enumerate(content):
        where = f"{param}[{place}]"
        if not isinstance(part, Mapping):
            wrong_type(where, "object", part)
        kind = part.get("type")
        if not isinstance(kind, str) or kind not in readers:
            wrong_value(f"{where}.type", kind or "", tuple(readers))
        if allowed is not None and kind not in allowed:
            wrong_value(where, kind, allowed)
        text = readers[kind](part, where)
        if text is None:
            attachments += 1
        else:
            texts.append(text)
    return "\n".join(texts), attachments


def required_text(written: Mapping[str, Json], name: str, param: str) -> str:
    """The member ``name`` of what stands at ``param``.

    :raises ProtocolError: it is not there, or no string.
    """
    value = written.get(name)
    if value is None:
        missing(f"{param}.{name}")
    if not isinstance(value, str):
        wrong_type(f"{param}.{name}", "string", value)
    return value


def text_reader(name: str) -> Reader:
    """Reads a part whose text stands in its member ``name``."""
    return lambda part, param: required_text(part, name, param)


def below(part: Mapping[str, Json], name: str, param: str) -> Mapping[str, Json]:
    """The object ``name`` of a part.

    :raises ProtocolError: it is not there, or no object.
    """
    value = part.get(name)
    if value is None:
        missing(f"{param}.{name}")
    if not isinstance(value, Mapping):
        wrong_type(f"{param}.{name}", "object", value)
    return value


def check_image(url: str, param: str) -> None:
    """Refuse a URL that is none, and data that is no PNG, JPEG, GIF or WebP. Nothing is fetched.

    :raises ProtocolError: as the service does, naming ``param`` where the address is wrong and not the image.
    """
    if url.lower().startswith(("http://", "https://")):
        return
    if not url.startswith("data:"):
        invalid(
            f"Invalid '{param}'. Expected a valid URL, but got a value with an invalid format.", param, "invalid_value"
        )
    data = _DATA_URL.fullmatch(url)
    if data is None or not data[1].lower().startswith("image/"):
        invalid("Invalid MIME type. Only image types are supported.", param, "invalid_image_format")
    image = _decoded(data[2])
    if image is None:
        invalid("Invalid base64 image_url.", param, "invalid_base64_image")
    if data[1].lower().removeprefix("image/") not in (*_IMAGES, "jpg") or not image.startswith(_FIRST_BYTES):
        invalid(
            "You uploaded an unsupported image. Please make sure your image has of one the following formats: "
            f"{list(_IMAGES)}.",
            param,
            "invalid_image_format",
        )


def check_detail(detail: Json, param: str, words: Sequence[str] = DETAILS) -> None:
    """Refuse an unknown degree of detail."""
    if detail is not None and detail not in words:
        wrong_value(f"{param}.detail", detail, words)


def read_sound(part: Mapping[str, Json], param: str) -> None:
    """A part of the type ``input_audio``.

    :raises ProtocolError: it has no data, or of no format that is known.
    """
    sound, where = below(part, "input_audio", param), f"{param}.input_audio"
    data, kind = required_text(sound, "data", where), required_text(sound, "format", where)
    if kind not in SOUNDS:
        wrong_value(f"{where}.format", kind, SOUNDS)
    if not _decoded(data):
        invalid(f"Invalid '{where}.data'. Expected base64-encoded audio.", f"{where}.data", "invalid_value")


def check_file(file: Mapping[str, Json], param: str) -> None:
    """Refuse a file that is neither named by its id nor given as a data URL with a name.

    :raises ProtocolError: in OpenAI's envelope, naming the member.
    """
    if file.get("file_id") is not None:
        required_text(file, "file_id", param)
        return
    if file.get("file_data") is None:
        missing(f"{param}.file_id")
    data = required_text(file, "file_data", param)
    if file.get("filename") is None:
        missing(f"{param}.filename")
    found = _DATA_URL.fullmatch(data)
    if found is None or not _decoded(found[2]):
        why = "an invalid value" if data.startswith("data:") else "a value without the 'data:' prefix"
        invalid(
            f"Invalid '{param}.file_data'. Expected a base64-encoded data URL with a MIME type (e.g. "
            f"'data:application/pdf;base64,aW1nIGJ5dGVzIGhlcmU='), but got {why}.",
            f"{param}.file_data",
            "invalid_value",
        )


def _decoded(data: str) -> bytes | None:
    try:
        return binascii.a2b_base64(data, strict_mode=True)
    except ValueError:
        return None
