"""Anthropic's form of a model, and its pages of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fake_llm.model import Json, ProtocolError

CREATED_AT = "2026-01-01T00:00:00Z"
LINES = ("haiku", "sonnet", "opus", "fable", "mythos")
DEFAULT_LIMIT, MAX_LIMIT = 20, 1_000

_YES: Json = {"supported": True}


def page(ids: Sequence[str], query: Mapping[str, str]) -> Json:
    """The page right after ``after_id`` or right before ``before_id``, of ``limit`` models.

    ``has_more``: there are others further in that direction.

    :raises ProtocolError: the limit is out of range, or both ids are given, or one is none of ``ids``.
    """
    limit = _limit(query.get("limit"))
    after, before = query.get("after_id"), query.get("before_id")
    if after and before:
        raise ProtocolError("Only one of after_id and before_id may be given")
    for name, cursor in (("after_id", after), ("before_id", before)):
        if cursor and cursor not in ids:
            raise ProtocolError(f"{name}: Invalid model ID '{cursor}'")
    if before:
        rest = ids[: ids.index(before)]
        shown = rest[-limit:]
    else:
        rest = ids[ids.index(after) + 1 :] if after else ids
        shown = rest[:limit]
    return {
        "data": [model(one) for one in shown],
        "has_more": len(shown) < len(rest),
        "first_id": shown[0] if shown else None,
        "last_id": shown[-1] if shown else None,
    }


def model(model_id: str) -> Json:
    """One model."""
    words = model_id.removeprefix("claude-").split("-")
    name = " ".join(word.capitalize() for word in words if not word.isdigit())
    version = ".".join(word for word in words if word.isdigit() and len(word) < 3)
    return {
        "type": "model",
        "id": model_id,
        "display_name": f"Claude {name} {version}".strip(),
        "created_at": CREATED_AT,
        "lifecycle": "active",
        "deprecated_at": None,
        "retires_at": None,
        "line": next((line for line in LINES if line in words), None),
        "max_input_tokens": 200_000,
        "max_tokens": 64_000,
        "capabilities": _capabilities(),
    }


def _capabilities() -> Json:
    """All of them: the fake refuses nothing for the sake of the model's name."""
    simple = ("batch", "citations", "code_execution", "image_input", "pdf_input", "structured_outputs")
    efforts = ("low", "medium", "high", "xhigh", "max")
    thinking = ("adaptive", "between_tools", "disabled", "enabled")
    return {
        **dict.fromkeys(simple, _YES),
        "context_management": {"supported": False},
        "effort": {**_YES, **dict.fromkeys(efforts, _YES)},
        "server_tools": {**_YES, "code_execution": _YES, "web_search": _YES},
        "thinking": {**_YES, "types": dict.fromkeys(thinking, _YES)},
    }


def _limit(written: str | None) -> int:
    if not written:
        return DEFAULT_LIMIT
    try:
        limit = int(written)
    except ValueError as error:
        raise ProtocolError("limit: Input should be a valid integer, unable to parse string as an integer") from error
    if not 1 <= limit <= MAX_LIMIT:
        bound = "greater than or equal to 1" if limit < 1 else f"less than or equal to {MAX_LIMIT}"
        raise ProtocolError(f"limit: Input should be {bound}")
    return limit
