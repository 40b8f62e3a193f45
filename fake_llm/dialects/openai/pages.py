"""Lists of what a session keeps, page by page, and how their queries are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fake_llm.dialects.openai.refusals import Range, check_number, wrong_type, wrong_value
from fake_llm.model import Json, ProtocolError

LIMIT = Range("integer", 1, 100)


def page(items: Sequence[Mapping[str, Json]], query: Mapping[str, str], *, order: str) -> dict[str, Json]:
    """The page of ``items``, the oldest first, that ``query`` asks for; ``order``: that of a query without one.

    :raises ProtocolError: the query asks for no page.
    """
    asked = query.get("order", order)
    if asked not in ("asc", "desc"):
        wrong_value("order", asked, ("asc", "desc"))
    limit = number(query, "limit", 20)
    check_number("limit", limit, LIMIT)
    found = list(items) if asked == "asc" else list(reversed(items))
    after = query.get("after")
    if after is not None:
        places = [place for place, item in enumerate(found) if item["id"] == after]
        if not places:
            raise ProtocolError(f"Item with id '{after}' not found.", status=404, param="after")
        found = found[places[0] + 1 :]
    shown = found[:limit]
    return {
        "object": "list",
        "data": shown,
        "first_id": shown[0]["id"] if shown else None,
        "last_id": shown[-1]["id"] if shown else None,
        "has_more": len(shown) < len(found),
    }


def number(query: Mapping[str, str], name: str, default: int) -> int:
    """An integer of the query.

    :raises ProtocolError: it is none.
    """
    value = query.get(name)
    if value is None:
        return default
    try:
        return int(value)
    except ValueError:
        wrong_type(name, "integer", value)


def truth(query: Mapping[str, str], name: str) -> bool:
    """A boolean of the query, false where it is not there.

    :raises ProtocolError: it is none.
    """
    value = query.get(name, "false")
    if value not in ("true", "false"):
        wrong_type(name, "boolean", value)
    return value == "true"
