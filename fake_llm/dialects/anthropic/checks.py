"""What Anthropic refuses, in its words: ``messages.0.role: Field required``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NoReturn

from fake_llm.model import Json, ProtocolError

SAMPLING_REMOVED_IN = "2026-10-21"
"""The API version from which ``temperature``, ``top_p`` and ``top_k`` are refused, even at their defaults."""

_VERSION = re.compile(r"\d{4}-\d{2}-\d{2}")


def check_version(headers: Mapping[str, str]) -> str:
    """The API version that the request names.

    :raises ProtocolError: it names none, or one that never was.
    """
    version = headers.get("anthropic-version")
    if not version:
        raise ProtocolError("anthropic-version: header is required")
    if not _VERSION.fullmatch(version):
        raise ProtocolError(f'anthropic-version: "{version}" is not a valid version')
    return version


def check_parameters(body: Mapping[str, Json], version: str, *, counting: bool) -> None:
    """Refuse parameters of a wrong type or out of range, and those that ``version`` no longer has."""
    _require_text(body, "model")
    if not counting:
        number(body, "max_tokens", required=True, low=1)
    for name in ("temperature", "top_p"):
        decimal(body, name)
    number(body, "top_k", low=0)
    if version >= SAMPLING_REMOVED_IN:
        for name in ("temperature", "top_p", "top_k"):
            if body.get(name) is not None:
                refuse(f"{name}: This parameter is not supported in API version {version}")
    for name, kind, words in (
        ("stream", bool, "boolean"),
        ("metadata", dict, "dictionary"),
        ("tools", list, "list"),
        ("tool_choice", dict, "dictionary"),
        ("stop_sequences", list, "list"),
        ("output_config", dict, "dictionary"),
        ("thinking", dict, "dictionary"),
    ):
        if (value := body.get(name)) is not None and not isinstance(value, kind):
            refuse(f"{name}: Input should be a valid {words}")
    for place, stop in enumerate(body.get("stop_sequences") or ()):
        if not isinstance(stop, str):
            refuse(f"stop_sequences.{place}: Input should be a valid string")
        if not stop.strip():
            refuse("stop_sequences: each stop sequence must contain non-whitespace")


def number(body: Mapping[str, Json], name: str, *, required: bool = False, low: int) -> None:
    """Refuse anything but a whole number from ``low`` on."""
    value = body.get(name)
    if value is None:
        if required:
            refuse(f"{name}: Field required")
        return
    if isinstance(value, bool) or not isinstance(value, int):
        refuse(f"{name}: Input should be a valid integer")
    if value < low:
        refuse(f"{name}: Input should be greater than or equal to {low}")


def decimal(body: Mapping[str, Json], name: str) -> None:
    """Refuse anything but a number from 0 to 1."""
    value = body.get(name)
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float):
        refuse(f"{name}: Input should be a valid number")
    if not 0 <= value <= 1:
        refuse(f"{name}: range: 0..1")


def refuse(message: str) -> NoReturn:
    """Refuse with Anthropic's usual kind of error."""
    raise ProtocolError(message)


def _require_text(body: Mapping[str, Json], name: str) -> None:
    value = body.get(name)
    if value is None:
        refuse(f"{name}: Field required")
    if not isinstance(value, str):
        refuse(f"{name}: Input should be a valid string")
    if not value:
        refuse(f"{name}: String should have at least 1 character")
