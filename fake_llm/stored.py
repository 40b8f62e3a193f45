"""What a provider answers about the things that a session keeps: each area of its paths by a module of its own."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Protocol, cast

from fake_llm.envelopes import HeaderList
from fake_llm.kept import Kept
from fake_llm.model import Stamp
from fake_llm.outcome import Outcome

AREAS = {
    "/v1/responses": "fake_llm.stored_responses",
    "/v1/conversations": "fake_llm.stored_conversations",
    "/v1/chat/completions": "fake_llm.stored_chats",
    "/v1/interactions": "fake_llm.stored_interactions",
}


class Area(Protocol):
    """The module of an area."""

    def answer(
        self, kept: Kept, method: str, rest: str, query: Mapping[str, str], *, body: bytes, stamp: Stamp
    ) -> Outcome:
        """The answer to ``method`` at ``rest``, the path below the area's; without the provider's own headers.

        :raises ProtocolError: the provider refuses the request.
        """
        ...


def answer(
    kept: Kept, method: str, path: str, query: Mapping[str, str], *, body: bytes, stamp: Stamp, common: HeaderList
) -> Outcome:
    """The answer to ``method`` at the canonical ``path`` of any version; ``common`` are the headers of every answer.

    :raises ProtocolError: the provider refuses the request.
    """
    path = "/v1/" + path.split("/", 2)[2]
    root = next(root for root in AREAS if path == root or path.startswith(root + "/"))
    area = cast("Area", import_module(AREAS[root]))
    found = area.answer(kept, method, path[len(root) + 1 :], query, body=body, stamp=stamp)
    found.headers = [*found.headers, *common]
    return found
