"""Extended thinking: when it is asked for, its block with a signature, and what is refused of blocks sent back."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping

from fake_llm.dialects.anthropic.checks import number, one_of, refuse, tag
from fake_llm.model import Json, Reply, Thinking, ToolChoice, Turn

KINDS = ("adaptive", "between_tools", "disabled", "enabled")
MIN_BUDGET = 1_024
BLOCKS = frozenset({"thinking", "redacted_thinking"})

_KEY = b"the fake LLM signs what it thought"
_SALT = 12


def check(body: Mapping[str, Json], headers: Mapping[str, str], choice: ToolChoice, *, counting: bool) -> Thinking:
    """Whether the reply is to think: ``hidden`` where the model may.

    :raises ProtocolError: Anthropic refuses the configuration.
    """
    written = body.get("thinking")
    if written is None:
        return "off"
    kind = tag(written, KINDS, "thinking")
    one_of(written.get("display"), ("summarized", "omitted"), f"thinking.{kind}.display")
    if kind == "enabled":
        number(written, "budget_tokens", required=True, low=MIN_BUDGET, at="thinking.enabled.budget_tokens")
        interleaved = "interleaved-thinking" in headers.get("anthropic-beta", "") and body.get("tools")
        if not counting and written["budget_tokens"] >= body["max_tokens"] and not interleaved:
            refuse("`max_tokens` must be greater than `thinking.budget_tokens`.")
    if kind not in ("enabled", "adaptive"):
        return "off" if kind == "disabled" else "hidden"
    if choice.mode == "required":
        refuse("Thinking may not be enabled when tool_choice forces tool use.")
    if body.get("temperature") not in (None, 1):
        refuse("`temperature` may only be set to 1 when thinking is enabled.")
    if body.get("top_k") is not None:
        refuse("`top_k` must be unset when thinking is enabled.")
    if (body.get("top_p") or 1) < 0.95:
        refuse("`top_p` must be greater than or equal to 0.95 or unset when thinking is enabled.")
    return "always"


def check_history(body: Mapping[str, Json]) -> None:
    """Refuse a loop of tool calls whose thinking was left out, where the budget for it is the client's.

    The loop begins with the first message of the assistant after the user last said anything but tool results.
    """
    if (body.get("thinking") or {}).get("type") != "enabled":
        return
    first: tuple[int, Json] | None = None
    for place, message in enumerate(body["messages"]):
        if message["role"] == "assistant":
            first = first or (place, message["content"])
        elif message["role"] == "user" and not _only_results(message["content"]):
            first = None
    if first is None:
        return
    place, content = first
    found = "text" if isinstance(content, str) else content[0]["type"] if content else "text"
    if found not in BLOCKS:
        refuse(
            f"messages.{place}.content.0.type: Expected `thinking` or `redacted_thinking`, but found `{found}`. When "
            "`thinking` is enabled, a final `assistant` message must start with a thinking block (preceeding the "
            "lastmost set of `tool_use` and `tool_result` blocks). We recommend you include thinking blocks from "
            "previous turns. To avoid this requirement, disable `thinking`."
        )


def block(turn: Turn, reply: Reply) -> dict[str, Json] | None:
    """The block of what ``reply`` thought, or None."""
    if not reply.reasoning or turn.thinking == "off":
        return None
    if reply.reasoning_redacted:
        return {"type": "redacted_thinking", "data": _sign(reply.reasoning, reply.reasoning, "redacted")}
    omitted = (turn.raw.get("thinking") or {}).get("display") == "omitted"
    shown = "" if omitted else reply.reasoning
    return {"type": "thinking", "thinking": shown, "signature": _sign(reply.reasoning, shown)}


def fits(thinking: str, signature: str) -> bool:
    """Whether ``signature`` is one that :func:`block` gave to this text."""
    try:
        found = base64.b64decode(signature, validate=True)
    except (binascii.Error, ValueError):
        return False
    return hmac.compare_digest(found, _signed(found[:_SALT], thinking, ""))


def _sign(thought: str, shown: str, purpose: str = "") -> str:
    salt = hashlib.sha256(thought.encode("utf-8", "surrogatepass")).digest()[:_SALT]
    return base64.b64encode(_signed(salt, shown, purpose)).decode("ascii")


def _signed(salt: bytes, shown: str, purpose: str) -> bytes:
    said = purpose.encode() + salt + shown.encode("utf-8", "surrogatepass")
    return salt + hmac.digest(_KEY, said, "sha256")


def _only_results(content: Json) -> bool:
    return isinstance(content, list) and bool(content) and all(one["type"] == "tool_result" for one in content)
