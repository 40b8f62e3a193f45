"""Where a request asks to be cached: its breakpoints, checked, each with the keys of the prefixes that it may find."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b

from fake_llm.dialects.anthropic.checks import mapping, one_of, refuse, tag
from fake_llm.dialects.anthropic.conversation import Part
from fake_llm.model import Breakpoint, Json

MAX_BREAKPOINTS = 4
LOOK_BACK = 20
"""How many parts before a breakpoint an earlier request's breakpoint is looked for."""
MIN_TOKENS, MIN_TOKENS_HAIKU = 1_024, 2_048
TTL_S = {"5m": 300, "1h": 3_600}
UNCACHEABLE = frozenset({"thinking", "redacted_thinking"})


def breakpoints(body: Mapping[str, Json], before: Sequence[Part], messages: Sequence[Part]) -> tuple[Breakpoint, ...]:
    """The breakpoints of prefixes that are long enough to be cached, in the order of the prompt.

    ``before`` are the tools and the system prompt. What the reply is made under (the model, and for the messages the
    thinking, the choice of tools and the output format) is a part of every key.

    :raises ProtocolError: Anthropic refuses where or how caching is asked for.
    """
    parts = (*before, *messages)
    ttls = _ttls(body, parts)
    if not any(ttls):
        return ()
    model = body["model"]
    minimum = MIN_TOKENS_HAIKU if "haiku" in model else MIN_TOKENS
    made_under = [body.get(name) for name in ("thinking", "tool_choice", "output_config", "output_format")]
    prefixes: list[tuple[bytes, int]] = []
    found: list[Breakpoint] = []
    key, total = _key(b"", model), 0
    for place, (part, ttl) in enumerate(zip(parts, ttls, strict=True)):
        if place == len(before):
            key = _key(key, made_under)
        key, total = _key(key, (part.role, _without_marks(part.written))), total + part.tokens
        prefixes.append((key, total))
        if ttl and total >= minimum:
            found.append(Breakpoint(total, ttl, tuple(prefixes[: -LOOK_BACK - 2 : -1])))
    return tuple(found)


def _ttls(body: Mapping[str, Json], parts: Sequence[Part]) -> list[int]:
    """For each part the seconds that it is to be cached for, 0 for no breakpoint."""
    ttls, marks = [0] * len(parts), 0
    short = False
    for place, part in enumerate(parts):
        for at, mark in _marks(part):
            marks += 1
            ttls[place] = _ttl(mark, at)
            if short and ttls[place] > TTL_S["5m"]:
                refuse(
                    f"{at}.ttl: a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block. "
                    "Note that blocks are processed in the following order: `tools`, `system`, `messages`."
                )
            short = short or ttls[place] == TTL_S["5m"]
    if (whole := body.get("cache_control")) is not None:
        ttl = _ttl(whole, "cache_control")
        last = next((n for n in reversed(range(len(parts))) if _is_cacheable(parts[n].written)), None)
        if last is not None and not ttls[last]:
            ttls[last], marks = ttl, marks + 1
    if marks > MAX_BREAKPOINTS:
        refuse(f"A maximum of {MAX_BREAKPOINTS} blocks with cache_control may be provided. Found {marks}.")
    return ttls


def _marks(part: Part) -> Iterator[tuple[str, Json]]:
    """The marks on a part and on what it holds, with their places."""
    written = part.written
    if not isinstance(written, dict):
        return
    if isinstance(content := written.get("content"), list):
        for place, inner in enumerate(content):
            if isinstance(inner, dict) and inner.get("cache_control") is not None:
                yield f"{part.at}.content.{place}.cache_control", inner["cache_control"]
    if written.get("cache_control") is not None:
        yield f"{part.at}.cache_control", written["cache_control"]


def _ttl(mark: Json, at: str) -> int:
    tag(mapping(mark, at), ("ephemeral",), at)
    one_of(mark.get("ttl"), tuple(TTL_S), f"{at}.ephemeral.ttl")
    return TTL_S[mark.get("ttl") or "5m"]


def _is_cacheable(written: Json) -> bool:
    return not (isinstance(written, dict) and written.get("type") in UNCACHEABLE)


def _key(before: bytes, written: Json) -> bytes:
    said = json.dumps(written, sort_keys=True, separators=(",", ":"))
    return blake2b(before + said.encode("ascii"), digest_size=16).digest()


def _without_marks(written: Json) -> Json:
    """``written`` as the model sees it: where the breakpoints stand makes no other prompt of it."""
    if not isinstance(written, dict):
        return written
    if "cache_control" in written:
        written = {name: value for name, value in written.items() if name != "cache_control"}
    if isinstance(content := written.get("content"), list):
        written = {**written, "content": [_without_marks(one) for one in content]}
    return written
