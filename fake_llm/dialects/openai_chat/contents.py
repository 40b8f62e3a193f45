"""The contents of a chat's messages: texts, images, sounds and files, each where it may stand."""

from __future__ import annotations

from collections.abc import Mapping

from fake_llm.dialects.openai.parts import (
    Reader,
    below,
    check_detail,
    check_file,
    check_image,
    read_content,
    read_sound,
    required_text,
    text_reader,
)
from fake_llm.dialects.openai.refusals import invalid
from fake_llm.model import Json

_ALLOWED = {"user": ("text", "image_url", "input_audio", "file"), "assistant": ("text", "refusal")}
"""The parts of a message by its role; all other roles have texts only."""


def contents(content: Json, param: str, role: str) -> tuple[str, int]:
    """The text of the content of the message at ``param``, and how many attachments it has beside it.

    :raises ProtocolError: OpenAI refuses it, or has no such part in a message of the ``role``.
    """
    if role != "user" and isinstance(content, list) and any(_is_image(part) for part in content):
        invalid(
            f"Invalid '{param}'. Image URLs are only allowed for messages with role 'user', but this message with role "
            f"'{role}' contains an image URL.",
            param,
            "invalid_value",
        )
    return read_content(content, f"{param}.content", _READERS, _ALLOWED.get(role, ("text",)))


def _is_image(part: Json) -> bool:
    return isinstance(part, Mapping) and part.get("type") == "image_url"


def _image(part: Mapping[str, Json], param: str) -> None:
    image, where = below(part, "image_url", param), f"{param}.image_url"
    url = required_text(image, "url", where)
    check_detail(image.get("detail"), where)
    check_image(url, f"{where}.url")


def _file(part: Mapping[str, Json], param: str) -> None:
    check_file(below(part, "file", param), f"{param}.file")


_READERS: dict[str, Reader] = {
    "text": text_reader("text"),
    "image_url": _image,
    "input_audio": read_sound,
    "refusal": text_reader("refusal"),
    "file": _file,
}
