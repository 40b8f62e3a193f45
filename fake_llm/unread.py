"""Requests that were refused before anything in them was read. Each provider says so in words of its own."""

from __future__ import annotations

from typing import Literal

from fake_llm.model import ProtocolError

Why = Literal["no_json", "no_object", "content_type", "too_large", "method"]
WORD_OF_KIND = {list: "array", str: "string", bool: "bool", int: "number", float: "number", type(None): "null"}


class Unread(ProtocolError):
    """What is known of it. ``text`` is the body and ``at`` the character that is wrong, where it is no JSON."""

    def __init__(
        self,
        why: Why,
        *,
        status: int = 400,
        reason: str = "",
        text: str = "",
        at: int = 0,
        kind: str = "",
        content_type: str = "",
        limit: int = 0,
        method: str = "",
        path: str = "",
    ) -> None:
        self.why = why
        self.reason, self.text, self.at = reason, text, at
        self.kind = kind
        self.content_type = content_type
        self.limit = limit
        self.method, self.path = method, path
        self.dialect = ""
        super().__init__(f"The request was not read: {why}.", status=status)

    @property
    def ends_early(self) -> bool:
        """Whether the body stops where more should come."""
        return not self.text[self.at :].strip() or self.reason.startswith("Unterminated string")

    @property
    def inside(self) -> str:
        """The bracket of the container in which it is wrong, "" for none."""
        open_ones: list[str] = []
        quoted = escaped = False
        for char in self.text[: self.at]:
            if quoted:
                quoted, escaped = escaped or char != '"', char == "\\" and not escaped
            elif char == '"':
                quoted = True
            elif char in "{[":
                open_ones.append(char)
            elif char in "}]" and open_ones:
                open_ones.pop()
        return open_ones[-1] if open_ones else ""
