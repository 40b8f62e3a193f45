"""A reply as a text completion, whole or as a stream; both have the same shape."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fake_llm.dialects.openai.logprobs import token_logprobs
from fake_llm.dialects.wire import END_OF_CHAT, data, interleaved, quoted, to_json
from fake_llm.finish import stream_pieces
from fake_llm.model import Json, Reply, Stamp, Turn, Usage
from fake_llm.tokens import pieces

FINGERPRINT = "fp_fake0001"

_FINISH = {"length": "length", "max_tokens": "length", "content_filter": "content_filter"}


def render(turn: Turn, replies: Sequence[Reply], stamp: Stamp) -> bytes:
    """The ``text_completion`` object: the choices of the first prompt, then those of the second, …"""
    choices = ",".join([_whole(turn, reply, index) for index, reply in enumerate(replies)])
    return f'{_head(turn, stamp)}{choices}],"usage":{_usage(turn, replies)}}}'.encode("ascii")


def stream(turn: Turn, replies: Sequence[Reply], stamp: Stamp) -> list[bytes]:
    """The chunks, those of several choices interleaved; the usage chunk if asked for; ``[DONE]``."""
    head = _head(turn, stamp)
    tail = '],"usage":null}' if turn.include_usage else "]}"
    parts = interleaved([list(_parts(turn, reply, index)) for index, reply in enumerate(replies)])
    events = [data(f"{head}{part}{tail}") for part in parts]
    if turn.include_usage:
        events.append(data(f'{head}],"usage":{_usage(turn, replies)}}}'))
    events.append(END_OF_CHAT)
    return events


def _head(turn: Turn, stamp: Stamp) -> str:
    return (
        f'{{"id":"cmpl-{stamp.id}","object":"text_completion","created":{stamp.created},'
        f'"model":{quoted(turn.model)},"system_fingerprint":"{FINGERPRINT}","choices":['
    )


def _whole(turn: Turn, reply: Reply, index: int) -> str:
    prompt, text = _prompt(turn, index), _text(reply)
    echoed = prompt if turn.raw.get("echo") else ""
    found = _logprobs(turn, pieces(echoed) if echoed else (), pieces(text) if text else (), len(prompt) - len(echoed))
    return _choice(index, echoed + text, found, quoted(_finish(reply)))


def _parts(turn: Turn, reply: Reply, index: int) -> Iterator[str]:
    """The choices of one choice's chunks: the prompt if it is to be echoed, the words, the reason of the end."""
    prompt = _prompt(turn, index)
    at = len(prompt)
    if turn.raw.get("echo"):
        yield _choice(index, prompt, _logprobs(turn, pieces(prompt) if prompt else (), (), 0))
    for piece in stream_pieces(reply):
        yield _choice(index, piece, _logprobs(turn, (), (piece,), at))
        at += len(piece)
    yield _choice(index, "", finish=quoted(_finish(reply)))


def _choice(index: int, text: str, logprobs: str = "null", finish: str = "null") -> str:
    return f'{{"text":{quoted(text)},"index":{index},"logprobs":{logprobs},"finish_reason":{finish}}}'


def _prompt(turn: Turn, index: int) -> str:
    """The prompt that the choice continues. Tokens cannot be read; their numbers stand for them."""
    each = max(turn.choices // len(turn.inputs), 1)
    prompt = turn.inputs[index // each]
    return prompt if isinstance(prompt, str) else " ".join(map(str, prompt))


def _text(reply: Reply) -> str:
    return reply.text if reply.refusal is None else reply.refusal


def _logprobs(turn: Turn, echoed: Sequence[str], said: Sequence[str], offset: int) -> str:
    """Four lists of equal length; nothing comes before the first echoed token, so it has no probability."""
    if turn.top_logprobs is None:
        return "null"
    top, tokens = turn.top_logprobs, [*echoed, *said]
    entries = token_logprobs(tokens, top, turn.seed or 0)
    chances: list[Json] = [entry["logprob"] for entry in entries]
    tops: list[Json] = [{other["token"]: other["logprob"] for other in entry["top_logprobs"]} for entry in entries]
    if echoed:
        chances[0] = tops[0] = None
    offsets: list[int] = []
    for token in tokens:
        offsets.append(offset)
        offset += len(token)
    return to_json(
        {
            "tokens": tokens,
            "token_logprobs": chances,
            "top_logprobs": tops if top else None,
            "text_offset": offsets,
        }
    )


def _finish(reply: Reply) -> str:
    return _FINISH.get(reply.finish, "stop")


def _usage(turn: Turn, replies: Sequence[Reply]) -> str:
    used = [reply.usage or Usage() for reply in replies]
    said = sum(usage.output_tokens for usage in used) if turn.max_tokens else 0
    asked = used[0].input_tokens
    return f'{{"prompt_tokens":{asked},"completion_tokens":{said},"total_tokens":{asked + said}}}'
