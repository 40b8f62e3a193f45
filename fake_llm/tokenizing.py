"""Texts to tokens and back, as vLLM does at ``/tokenize`` and ``/detokenize``.

There is no vocabulary: a token's number is made of its text's hash, the same in every process. The numbers that this
server has given out, the latest of them, can be turned into text again.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b

from fake_llm.dialects import dialect
from fake_llm.dialects.openai.refusals import invalid, missing, wrong_type
from fake_llm.dialects.wire import to_bytes
from fake_llm.model import Json, Message, Tool, Turn
from fake_llm.tokens import TOKENS_PER_ATTACHMENT, pieces

MAX_MODEL_LEN = 131_072
MOST_TOKENS = 200_000
MOST_CHARACTERS = 16 * 1024 * 1024
"""Of the texts that are remembered for their numbers."""

_RANGE = 2**31


class Vocabulary:
    """Tokens and their numbers below 2^31; the longest unused are forgotten."""

    def __init__(self, most_tokens: int = MOST_TOKENS, most_characters: int = MOST_CHARACTERS) -> None:
        self._texts: OrderedDict[int, str] = OrderedDict()
        self._most_tokens = most_tokens
        self._most_characters = most_characters
        self._characters = 0

    def __repr__(self) -> str:
        return f"<Vocabulary {len(self._texts)} tokens>"

    def number(self, token: str) -> int:
        """The token's number: its hash, or the next one that no other token has."""
        found = int.from_bytes(blake2b(token.encode("utf-8", "surrogatepass"), digest_size=4).digest(), "big") % _RANGE
        while (known := self._texts.get(found)) is not None and known != token:
            found = (found + 1) % _RANGE
        if known is None:
            self._characters += len(token)
            self._texts[found] = token
            self._forget()
        else:
            self._texts.move_to_end(found)
        return found

    def text(self, number: int) -> str | None:
        """The token of that number; None for one that was not given out, or long ago."""
        return self._texts.get(number)

    def _forget(self) -> None:
        while len(self._texts) > self._most_tokens or (
            self._characters > self._most_characters and len(self._texts) > 1
        ):
            _, oldest = self._texts.popitem(last=False)
            self._characters -= len(oldest)


_VOCABULARY = Vocabulary()


def answer(path: str, body: Mapping[str, Json], headers: Mapping[str, str]) -> bytes:
    """The answer to ``body`` at ``/tokenize`` or ``/detokenize``.

    :raises ProtocolError: the request is refused.
    """
    if path == "/detokenize":
        return to_bytes({"prompt": _detokenized(body.get("tokens"))})
    tokens = _tokens(body, headers)
    return to_bytes(
        {
            "count": len(tokens),
            "max_model_len": MAX_MODEL_LEN,
            "tokens": [_VOCABULARY.number(token) for token in tokens],
            "token_strs": list(tokens) if body.get("return_token_strs") is True else None,
        }
    )


def chat_tokens(turn: Turn, *, prompts_reply: bool = True) -> Iterator[str]:
    """The conversation as tokens, as many as its usage counts; ``prompts_reply``: with the beginning of an answer."""
    for tool in turn.tools:
        yield from _tool(tool)
    for message in turn.messages:
        yield from _message(message)
    if prompts_reply:
        yield from ("<|im_start|>", "assistant", "\n")


def _tokens(body: Mapping[str, Json], headers: Mapping[str, str]) -> Sequence[str]:
    if body.get("messages") is not None:
        asked = {"model": body.get("model") or "default", "messages": body["messages"], "tools": body.get("tools")}
        turn = dialect("openai_chat").parse(asked, headers)
        return list(chat_tokens(turn, prompts_reply=body.get("add_generation_prompt") is not False))
    prompt = body.get("prompt")
    if prompt is None:
        missing("prompt")
    if not isinstance(prompt, str):
        wrong_type("prompt", "string", prompt)
    return pieces(prompt)


def _detokenized(written: Json) -> str:
    if written is None:
        missing("tokens")
    if not isinstance(written, list) or not all(isinstance(one, int) and not isinstance(one, bool) for one in written):
        wrong_type("tokens", "an array of integers", written)
    texts: list[str] = []
    for number in written:
        token = _VOCABULARY.text(number)
        if token is None:
            invalid(f"The token {number} is none that this server has given out.", "tokens")
        texts.append(token)
    return "".join(texts)


def _tool(tool: Tool) -> Iterator[str]:
    yield "<|tool|>"
    yield from pieces(tool.name)
    yield "\n"
    yield from pieces(tool.description)
    yield "\n"
    if tool.schema:
        yield from pieces(json.dumps(tool.schema, separators=(",", ":"), sort_keys=True, default=str))
    yield from ("\n", "<|/tool|>", "\n")


def _message(message: Message) -> Iterator[str]:
    yield from ("<|im_start|>", message.role, "\n")
    yield from pieces(message.text)
    yield from ["<|image_pad|>"] * (TOKENS_PER_ATTACHMENT * message.attachments)
    for call in message.tool_calls:
        yield "<tool_call>"
        yield from pieces(call.name)
        yield "\n"
        yield from pieces(call.arguments)
        yield from ("</tool_call>", "\n")
    for result in message.tool_results:
        yield from pieces(result.text)
    yield "<|im_end|>\n"
