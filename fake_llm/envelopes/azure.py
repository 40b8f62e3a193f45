"""Azure OpenAI: its own errors, headers and content filter results around what OpenAI's dialects answer."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from fake_llm.dialects.wire import END_OF_CHAT, data, to_bytes, to_json
from fake_llm.envelopes import HeaderList, openai
from fake_llm.envelopes.retry import retry_after_s, retry_headers
from fake_llm.model import Fault, Json, ProtocolError, Stamp, Turn
from fake_llm.unread import Unread

REGION = b"East US"
FILTERED = "content_filter"

_GATEWAY = "azure_gateway"
"""The type of an error that never reached a model: its body has a code and a message and nothing beside."""
_GATEWAY_ERRORS = {
    401: (
        "401",
        "Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a valid key for an "
        "active subscription and use a correct regional API endpoint for your resource.",
    ),
    403: ("403", "Access denied due to Virtual Network/Firewall rules."),
    404: (
        "DeploymentNotFound",
        "The API deployment for this resource does not exist. If you created the deployment within the last 5 minutes, "
        "please wait a moment and try again.",
    ),
    429: (
        "429",
        "Requests to {model} have exceeded call rate limit of your current OpenAI S0 pricing tier. Please retry after "
        "{seconds} seconds.",
    ),
}
_CATEGORIES = ("hate", "self_harm", "sexual", "violence")


def headers(stamp: Stamp) -> HeaderList:
    """Request ids, region, rate limits."""
    return [
        *_common(stamp),
        (b"x-ratelimit-limit-requests", b"%d" % openai.REQUEST_LIMIT),
        (b"x-ratelimit-limit-tokens", b"%d" % openai.TOKEN_LIMIT),
        (b"x-ratelimit-remaining-requests", b"%d" % (openai.REQUEST_LIMIT - 1)),
        (b"x-ratelimit-remaining-tokens", b"%d" % (openai.TOKEN_LIMIT - 1)),
    ]


def error_headers(status: int, stamp: Stamp, fault: Fault | None = None) -> HeaderList:
    """As :func:`headers`; a 429 has used up its limit and says in whole seconds when to come back."""
    if fault is None:
        return headers(stamp)
    if status != 429:
        return [*headers(stamp), *retry_headers(fault)]
    wait_s = math.ceil(retry_after_s(fault) or 0)
    return [
        *_common(stamp),
        *retry_headers(fault),
        (b"x-ratelimit-limit-requests", b"%d" % openai.REQUEST_LIMIT),
        (b"x-ratelimit-limit-tokens", b"%d" % openai.TOKEN_LIMIT),
        (b"x-ratelimit-remaining-requests", b"0"),
        (b"x-ratelimit-remaining-tokens", b"%d" % (openai.TOKEN_LIMIT - 1)),
        (b"x-ratelimit-reset-requests", b"%d" % wait_s),
        (b"x-ratelimit-reset-tokens", b"0"),
    ]


def error_object(error: ProtocolError, stamp: Stamp) -> Mapping[str, object]:
    """The gateway's short form, the content filter's with its findings, or OpenAI's."""
    if error.type == _GATEWAY:
        return {"error": {"code": error.code, "message": error.message}}
    if error.status == 400 and error.code == FILTERED:
        inner = {"code": "ResponsibleAIPolicyViolation", "content_filter_result": _prompt_results(filtered=True)}
        said = {"message": error.message, "type": None, "param": error.param or "prompt", "code": FILTERED}
        return {"error": {**said, "status": 400, "innererror": inner}}
    return openai.error_object(error, stamp)


def from_fault(fault: Fault, model: str) -> ProtocolError:
    """The error for the fault's status, in Azure's words where it has its own and the fault has none."""
    if fault.status == 400 and fault.code == FILTERED:
        message = "The response was filtered due to the prompt triggering Azure OpenAI's content management policy."
        return openai.from_fault(fault if fault.message else replace(fault, message=message), model)
    if fault.status not in _GATEWAY_ERRORS or fault.type:
        return openai.from_fault(fault, model)
    code, message = _GATEWAY_ERRORS[fault.status]
    wait_s = math.ceil(retry_after_s(fault) or 1)
    return ProtocolError(
        fault.message or message.replace("{model}", model).replace("{seconds}", str(wait_s)),
        status=fault.status,
        type=_GATEWAY,
        code=fault.code if fault.code is not None else code,
    )


def not_found(method: str, path: str) -> ProtocolError:
    """Azure's answer to an unknown path, and to a deployment's without an API version."""
    return ProtocolError("Resource not found", status=404, code="404", type=_GATEWAY)


def missing_key() -> ProtocolError:
    """Azure's answer to a request without a key: the same as to a wrong one."""
    code, message = _GATEWAY_ERRORS[401]
    return ProtocolError(message, status=401, code=code, type=_GATEWAY)


def unread(error: Unread) -> ProtocolError:
    """As OpenAI, whose service reads the body; a wrong method finds nothing at the gateway."""
    return not_found(error.method, error.path) if error.why == "method" else openai.unread(error)


def dressed(turn: Turn, raw: bytes) -> bytes:
    """A chat completion with what the content filters found in the prompt and in each choice."""
    if turn.dialect != "openai_chat":
        return raw
    found = json.loads(raw)
    for choice in found["choices"]:
        choice["content_filter_results"] = _results(filtered=choice["finish_reason"] == FILTERED)
    return to_bytes({**found, **_of_prompt()})


def dressed_events(turn: Turn, events: Sequence[bytes]) -> list[bytes]:
    """A chat's chunks: before them one about the prompt, and the results in each choice."""
    return list(_dressed_chat(events)) if turn.dialect == "openai_chat" else list(events)


def _dressed_chat(events: Sequence[bytes]) -> Iterator[bytes]:
    yield data(to_json({"id": "", "object": "", "created": 0, "model": "", "choices": [], **_of_prompt()}))
    for event in events:
        if event == END_OF_CHAT:
            yield event
            continue
        chunk = json.loads(event.removeprefix(b"data: "))
        for choice in chunk["choices"]:
            filtered = choice["finish_reason"] == FILTERED
            says = bool(choice["delta"].get("content"))
            choice["content_filter_results"] = _results(filtered=filtered) if says or filtered else {}
        yield data(to_json(chunk))


def _common(stamp: Stamp) -> HeaderList:
    request_id = f"{stamp.id[:8]}-{stamp.id[8:12]}-4{stamp.id[12:15]}-8{stamp.id[15:18]}-{stamp.id[18:]}000000"
    return [
        (b"apim-request-id", request_id.encode()),
        (b"x-request-id", request_id.encode()),
        (b"x-ms-region", REGION),
        (b"x-ms-client-request-id", b"Not-Set"),
        (b"x-ms-rai-invoked", b"true"),
        (b"azureml-model-session", b"fake-0001"),
    ]


def _of_prompt() -> dict[str, Json]:
    return {"prompt_filter_results": [{"prompt_index": 0, "content_filter_results": _prompt_results(filtered=False)}]}


def _prompt_results(*, filtered: bool) -> dict[str, Json]:
    return {**_results(filtered=filtered), "jailbreak": {"filtered": False, "detected": False}}


def _results(*, filtered: bool) -> dict[str, Json]:
    """What the filters found: something violent, where anything was filtered."""
    safe: dict[str, Json] = {name: {"filtered": False, "severity": "safe"} for name in _CATEGORIES}
    return {**safe, "violence": {"filtered": True, "severity": "medium"}} if filtered else safe
