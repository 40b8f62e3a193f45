"""A reply as a chat completion, whole or as a stream of chunks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import takewhile

from fake_llm.dialects.openai.citations import cited, url_citation
from fake_llm.dialects.openai.logprobs import token_logprobs
from fake_llm.dialects.openai.parameters import served_by
from fake_llm.dialects.openai_chat.checks import predicted
from fake_llm.dialects.openai_chat.compatible import running_usage, wants_running_usage
from fake_llm.dialects.wire import END_OF_CHAT, interleaved, quoted, to_json
from fake_llm.finish import cut_text, stream_pieces
from fake_llm.model import Json, Reply, Stamp, ToolCall, Turn, Usage

FINGERPRINT = "fp_fake0001"

_FINISH = {
    "stop_sequence": "stop",
    "refusal": "stop",
    "end_turn": "stop",
    "max_tokens": "length",
    "tool_use": "tool_calls",
}


def render(turn: Turn, replies: Sequence[Reply], stamp: Stamp) -> bytes:
    """The ``chat.completion`` object."""
    choices = ",".join([_choice(turn, reply, index, stamp) for index, reply in enumerate(replies)])
    return (
        f'{{"id":"chatcmpl-{stamp.id}","object":"chat.completion","created":{stamp.created},'
        f'"model":{quoted(turn.model)},"choices":[{choices}],"usage":{_usage(turn, replies)},'
        f'"service_tier":"{served_by(turn.raw.get("service_tier"))}","system_fingerprint":"{FINGERPRINT}"}}'
    ).encode("ascii")


def stream(turn: Turn, replies: Sequence[Reply], stamp: Stamp) -> list[bytes]:
    """The chunks, those of several choices interleaved; the usage chunk if asked for; ``[DONE]``."""
    head = (
        f'data: {{"id":"chatcmpl-{stamp.id}","object":"chat.completion.chunk","created":{stamp.created},'
        f'"model":{quoted(turn.model)},"service_tier":"{served_by(turn.raw.get("service_tier"))}",'
        f'"system_fingerprint":"{FINGERPRINT}","choices":['
    )
    runs = turn.include_usage and wants_running_usage(turn.raw)
    tail = "" if runs else '],"usage":null}\n\n' if turn.include_usage else "]}\n\n"
    chunks = interleaved([_chunks(turn, reply, index, stamp, (head, tail)) for index, reply in enumerate(replies)])
    if runs:
        usages = running_usage(_total(replies), len(chunks))
        chunks = [f'{chunk}],"usage":{_tokens(usage)}}}\n\n' for chunk, usage in zip(chunks, usages, strict=True)]
    events = [chunk.encode("ascii") for chunk in chunks]
    if turn.include_usage:
        events.append(f'{head}],"usage":{_usage(turn, replies)}}}\n\n'.encode("ascii"))
    events.append(END_OF_CHAT)
    return events


def _choice(turn: Turn, reply: Reply, index: int, stamp: Stamp) -> str:
    """One choice as JSON, put together by hand: this is every request's work."""
    silent = reply.refusal is not None or (reply.tool_calls and not reply.text)
    content = "null" if silent else quoted(reply.text)
    refusal = "null" if reply.refusal is None else quoted(reply.refusal)
    calls = f",{_calls(turn, reply, index, stamp)}" if reply.tool_calls else ""
    logprobs = "null" if turn.top_logprobs is None else to_json(_logprobs(turn, reply))
    noted = to_json(_annotations(reply)) if reply.citations else "[]"
    thought = f',"reasoning_content":{quoted(reply.reasoning)}' if _shows_reasoning(turn, reply) else ""
    return (
        f'{{"index":{index},"message":{{"role":"assistant","content":{content},"refusal":{refusal},'
        f'"annotations":{noted}{thought}{calls}}},"logprobs":{logprobs},'
        f'"finish_reason":{quoted(_finish(turn, reply))}}}'
    )


def _calls(turn: Turn, reply: Reply, index: int, stamp: Stamp) -> str:
    if _is_legacy(turn):
        first = reply.tool_calls[0]
        return f'"function_call":{{"name":{quoted(first.name)},"arguments":{quoted(first.arguments)}}}'
    calls = [_call(call, index, place, stamp) for place, call in enumerate(reply.tool_calls)]
    return f'"tool_calls":{to_json(calls)}'


def _call(call: ToolCall, index: int, place: int, stamp: Stamp) -> dict[str, Json]:
    call_id = _call_id(call, index, place, stamp)
    if call.custom:
        return {"id": call_id, "type": "custom", "custom": {"name": call.name, "input": call.arguments}}
    return {"id": call_id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _call_id(call: ToolCall, index: int, place: int, stamp: Stamp) -> str:
    return call.id or f"call_{stamp.id[:20]}{index:02x}{place:02x}"


def _chunks(turn: Turn, reply: Reply, index: int, stamp: Stamp, around: tuple[str, str]) -> list[str]:
    """The chunks of one choice; ``around``: what stands in each before and after the choice."""
    head, tail = around
    begin, end = f'{head}{{"index":{index},"delta":', f',"logprobs":null,"finish_reason":null}}{tail}'
    silent = reply.refusal is not None or (reply.tool_calls and not reply.text)
    content = "null" if silent else '""'
    found = [f'{begin}{{"role":"assistant","content":{content},"refusal":null}}{end}']
    if _shows_reasoning(turn, reply):
        thoughts = cut_text(reply.reasoning, reply.chunk_size)
        found += [f'{begin}{{"reasoning_content":{quoted(piece)}}}{end}' for piece in thoughts]
    found += _words(turn, reply, begin, tail)
    if reply.citations and (noted := _annotations(reply)):
        found.append(f'{begin}{{"annotations":{to_json(noted)}}}{end}')
    for place, call in enumerate(reply.tool_calls):
        calls = _call_deltas(turn, reply, call, _call_id(call, index, place, stamp), place)
        found += [f"{begin}{inner}{end}" for inner in calls]
    found.append(f'{begin}{{}},"logprobs":null,"finish_reason":{quoted(_finish(turn, reply))}}}{tail}')
    return found


def _words(turn: Turn, reply: Reply, begin: str, tail: str) -> list[str]:
    """The chunks of the text: the innermost loop of a stream."""
    begin += '{"content":' if reply.refusal is None else '{"refusal":'
    pieces = stream_pieces(reply)
    if turn.top_logprobs is None:
        end = f'}},"logprobs":null,"finish_reason":null}}{tail}'
        return [f"{begin}{quoted(piece)}{end}" for piece in pieces]
    shown = [to_json(_logprob_list(turn, reply, [piece])) for piece in pieces]
    return [
        f'{begin}{quoted(piece)}}},"logprobs":{likely},"finish_reason":null}}{tail}'
        for piece, likely in zip(pieces, shown, strict=True)
    ]


def _call_deltas(turn: Turn, reply: Reply, call: ToolCall, call_id: str, place: int) -> Iterator[str]:
    """Id, type and name in the first fragment only: clients join what they get."""
    pieces = cut_text(call.arguments, reply.chunk_size)
    if _is_legacy(turn):
        yield f'{{"function_call":{{"name":{quoted(call.name)},"arguments":""}}}}'
        for piece in pieces:
            yield f'{{"function_call":{{"arguments":{quoted(piece)}}}}}'
        return
    kind, key = ("custom", "input") if call.custom else ("function", "arguments")
    yield (
        f'{{"tool_calls":[{{"index":{place},"id":{quoted(call_id)},"type":"{kind}",'
        f'"{kind}":{{"name":{quoted(call.name)},"{key}":""}}}}]}}'
    )
    for piece in pieces:
        yield f'{{"tool_calls":[{{"index":{place},"{kind}":{{"{key}":{quoted(piece)}}}}}]}}'


def _finish(turn: Turn, reply: Reply) -> str:
    if reply.finish == "tool_calls":
        if _is_legacy(turn):
            return "function_call"
        return "stop" if turn.tool_choice.named else "tool_calls"
    return _FINISH.get(reply.finish, reply.finish)


def _is_legacy(turn: Turn) -> bool:
    """Whether the client speaks of ``functions``, which ``tools`` replaced."""
    return bool(turn.raw.get("functions")) and not turn.raw.get("tools")


def _annotations(reply: Reply) -> list[dict[str, Json]]:
    """The pages that the text cites; a chat has no other sources."""
    return [
        {"type": "url_citation", "url_citation": url_citation(citation, start, end)}
        for citation, start, end in cited(reply)
        if citation.url
    ]


def _shows_reasoning(turn: Turn, reply: Reply) -> bool:
    """OpenAI hides it; servers that are compatible with it show it, and have this parameter for it."""
    return bool(reply.reasoning) and turn.raw.get("include_reasoning") is True


def _logprobs(turn: Turn, reply: Reply) -> dict[str, Json]:
    return _logprob_list(turn, reply, cut_text(reply.refusal or reply.text, None))


def _logprob_list(turn: Turn, reply: Reply, pieces: Sequence[str]) -> dict[str, Json]:
    found = token_logprobs(pieces, turn.top_logprobs or 0, turn.seed or 0)
    return {"content": None, "refusal": found} if reply.refusal is not None else {"content": found, "refusal": None}


def _total(replies: Sequence[Reply]) -> Usage:
    """Several choices share one prompt."""
    used = [reply.usage or Usage() for reply in replies]
    if len(used) == 1:
        return used[0]
    return Usage(
        used[0].input_tokens,
        sum(usage.output_tokens for usage in used),
        used[0].cached_tokens,
        sum(usage.reasoning_tokens for usage in used),
    )


def _usage(turn: Turn, replies: Sequence[Reply]) -> str:
    return _tokens(_total(replies), _accepted(turn, replies[0]) if turn.raw.get("prediction") else 0)


def _tokens(usage: Usage, accepted: int = 0) -> str:
    return (
        f'{{"prompt_tokens":{usage.input_tokens},"completion_tokens":{usage.output_tokens},'
        f'"total_tokens":{usage.input_tokens + usage.output_tokens},'
        f'"prompt_tokens_details":{{"cached_tokens":{usage.cached_tokens},"audio_tokens":0}},'
        f'"completion_tokens_details":{{"reasoning_tokens":{usage.reasoning_tokens},"audio_tokens":0,'
        f'"accepted_prediction_tokens":{accepted},"rejected_prediction_tokens":0}}}}'
    )


def _accepted(turn: Turn, reply: Reply) -> int:
    """How many tokens the reply begins with that were predicted."""
    pairs = zip(cut_text(reply.text, None), cut_text(predicted(turn.raw), None), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
