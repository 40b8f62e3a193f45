"""What Anthropic refuses, in its words: ``messages.0.role: Field required``."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NoReturn

from fake_llm.model import Json, ProtocolError

SAMPLING_REMOVED_IN = "2026-10-21"
"""The API version from which ``temperature``, ``top_p`` and ``top_k`` are refused, even at their defaults."""
VERSIONS = frozenset({"2023-01-01", "2023-06-01", SAMPLING_REMOVED_IN})

EFFORTS = ("low", "medium", "high", "xhigh", "max")


def check_version(headers: Mapping[str, str]) -> str:
    """The API version that the request names.

    :raises ProtocolError: it names none, or one that never was.
    """
    version = headers.get("anthropic-version")
    if not version:
        raise ProtocolError("anthropic-version: header is required")
    if version not in VERSIONS:
        raise ProtocolError(f'anthropic-version: "{version}" is not a valid version')
    return version


def check_parameters(body: Mapping[str, Json], version: str, *, counting: bool) -> None:
    """Refuse parameters of a wrong type or out of range, and those that ``version`` no longer has."""
    text(body, "model", at="model")
    if not counting:
        number(body, "max_tokens", required=True, low=0)
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
    one_of((body.get("output_config") or {}).get("effort"), EFFORTS, "output_config.effort")
    one_of(body.get("service_tier"), ("auto", "standard_only"), "service_tier")
    user = (body.get("metadata") or {}).get("user_id")
    if user is not None and not isinstance(user, str):
        refuse("metadata.user_id: Input should be a valid string")


def number(body: Mapping[str, Json], name: str, *, low: int, required: bool = False, at: str = "") -> None:
    """Refuse anything but a whole number from ``low`` on."""
    at = at or name
    value = body.get(name)
    if value is None:
        if required:
            refuse(f"{at}: Field required")
        return
    if isinstance(value, bool) or not isinstance(value, int):
        refuse(f"{at}: Input should be a valid integer")
    if value < low:
        refuse(f"{at}: Input should be greater than or equal to {low}")


def decimal(body: Mapping[str, Json], name: str) -> None:
    """Refuse anything but a number from 0 to 1."""
    value = body.get(name)
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float):
        refuse(f"{name}: Input should be a valid number")
    if not 0 <= value <= 1:
        refuse(f"{name}: range: 0..1")


def text(written: Mapping[str, Json], name: str, *, at: str) -> str:
    """The text that must be there, and not be empty."""
    value = string(written, name, at=at)
    if not value:
        refuse(f"{at}: String should have at least 1 character")
    return value


def string(written: Mapping[str, Json], name: str, *, at: str) -> str:
    """The text that must be there."""
    value = written.get(name)
    if value is None:
        refuse(f"{at}: Field required")
    if not isinstance(value, str):
        refuse(f"{at}: Input should be a valid string")
    return value


def mapping(value: Json, at: str) -> Mapping[str, Json]:
    """The object that must be there."""
    if value is None:
        refuse(f"{at}: Field required")
    if not isinstance(value, dict):
        refuse(f"{at}: Input should be a valid dictionary")
    return value


def one_of(value: Json, allowed: Collection[str], at: str) -> None:
    """Refuse a value that is there and is none of those allowed."""
    if value is not None and value not in allowed:
        *first, last = (f"'{one}'" for one in allowed)
        refuse(f"{at}: Input should be {', '.join(first)} or {last}" if first else f"{at}: Input should be {last}")


def tag(written: Mapping[str, Json], allowed: Collection[str], at: str) -> str:
    """The type of ``written``, which must be one of those allowed."""
    kind = written.get("type")
    if kind is None:
        refuse(f"{at}.type: Field required")
    if not isinstance(kind, str) or kind not in allowed:
        refuse(
            f"{at}: Input tag '{kind}' found using 'type' does not match any of the expected tags: "
            + ", ".join(f"'{one}'" for one in sorted(allowed))
        )
    return kind


def refuse(message: str) -> NoReturn:
    """Refuse with Anthropic's usual kind of error."""
    raise ProtocolError(message)
