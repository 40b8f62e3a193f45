"""The ``context`` of ``/api/generate``: a conversation as numbers, from which it can be read again.

A real model's numbers are the tokens of the conversation. Here they are its messages as JSON, three bytes to a number,
behind a number that says how many bytes there are. So no memory is needed between two requests, and whatever was not
made here is recognised, and is no conversation.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from fake_llm.dialects.wire import to_bytes
from fake_llm.model import Json, Message, Role

_MARK = 0x0117A3A
_BYTES = 3
_MOST_ATTACHMENTS = 10_000
_ROLES: dict[str, Role] = {"s": "system", "u": "user", "a": "assistant"}


def encode(messages: Sequence[Message]) -> list[int]:
    """The messages' roles, texts and counts of attachments as numbers."""
    raw = to_bytes([[message.role[0], message.text, message.attachments] for message in messages])
    return [_MARK, len(raw), *(int.from_bytes(raw[at : at + _BYTES], "big") for at in range(0, len(raw), _BYTES))]


def decode(context: Sequence[int]) -> tuple[Message, ...]:
    """The messages that :func:`encode` made ``context`` from; none if it did not."""
    if len(context) < 2 or context[0] != _MARK:
        return ()
    size, numbers = context[1], context[2:]
    if not (len(numbers) - 1) * _BYTES < size <= len(numbers) * _BYTES:
        return ()
    sizes = [_BYTES] * (len(numbers) - 1) + [size - (len(numbers) - 1) * _BYTES]
    try:
        raw = b"".join([number.to_bytes(width, "big") for number, width in zip(numbers, sizes, strict=True)])
        return tuple([_message(*one) for one in json.loads(raw)])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return ()


def _message(role: Json, said: Json, attachments: Json) -> Message:
    """One message of a conversation.

    :raises ValueError: it is none.
    """
    if not isinstance(said, str) or not isinstance(attachments, int) or not 0 <= attachments <= _MOST_ATTACHMENTS:
        raise ValueError("no message")
    return Message(_ROLES[role], said, attachments=attachments)
