"""Metadata, which OpenAI lets clients attach to what it stores: some pairs of short texts."""

from __future__ import annotations

from collections.abc import Mapping

from fake_llm.dialects.openai.refusals import invalid, wrong_type
from fake_llm.model import Json

MAX_PAIRS = 16
MAX_KEY = 64
MAX_VALUE = 512


def metadata_of(written: Json, param: str = "metadata") -> dict[str, str]:
    """The pairs; none for null.

    :raises ProtocolError: there are too many, or one is no text or too long.
    """
    if written is None:
        return {}
    if not isinstance(written, Mapping):
        wrong_type(param, "object", written)
    if len(written) > MAX_PAIRS:
        invalid(
            f"Invalid '{param}': too many properties. Expected an object with at most {MAX_PAIRS} properties, but got "
            f"an object with {len(written)} properties instead.",
            param,
            "object_above_max_properties",
        )
    for name, value in written.items():
        if not isinstance(value, str):
            wrong_type(f"{param}.{name}", "string", value)
        _check_length(f"{param} key", name, MAX_KEY, param)
        _check_length(f"{param}.{name}", value, MAX_VALUE, f"{param}.{name}")
    return dict(written)


def _check_length(what: str, text: str, most: int, param: str) -> None:
    if len(text) > most:
        invalid(
            f"Invalid '{what}': string too long. Expected a string with maximum length {most}, but got a string with "
            f"length {len(text)} instead.",
            param,
            "string_above_max_length",
        )
