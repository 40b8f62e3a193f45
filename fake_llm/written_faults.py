"""Faults as people write them: in scenarios, in the control API, and in a request's header.

Kept apart from :mod:`fake_llm.faults` because pydantic takes long to import.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from fake_llm.complaints import FAULT_KINDS, nearest, sentences
from fake_llm.model import Fault, Json


class Form(BaseModel):
    """Base of the written forms: an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())


class FaultForm(Form):
    """What all faults have."""

    rate: float = Field(1, gt=0, le=1, description="Which part of the calls it strikes; the session's seed says which")


class InStream(FaultForm):
    """A place inside a stream. None given: after the first event."""

    after_chunks: int | None = Field(None, ge=0, description="So many events of the stream")
    after_tokens: int | None = Field(None, ge=1, description="The events up to so many tokens of the text")


class ErrorForm(FaultForm):
    """An error's words, in place of the provider's."""

    message: str = ""
    type: str = ""
    code: str | None = None


class StatusFault(ErrorForm):
    """An error in the provider's own envelope."""

    kind: Literal["status"] = "status"
    status: int = Field(500, ge=400, le=599)
    param: str | None = None
    retry_after_s: float | None = Field(None, ge=0)
    retry_after_ms: float | None = Field(None, ge=0)
    headers: dict[str, str] = Field(default_factory=dict)


class HangFault(FaultForm):
    """Silence, then the connection is closed without an answer."""

    kind: Literal["hang"]
    hang_s: float | None = Field(None, ge=0, description="None: until the client gives up")


class CutFault(InStream):
    """The connection ends inside the reply. No number given: after the first event, or half of the body."""

    kind: Literal["cut"]
    after_bytes: int | None = Field(None, ge=0)
    reset: bool = Field(False, description="By a TCP reset instead of an orderly close")


class MalformedFault(FaultForm):
    """A body that is no JSON."""

    kind: Literal["malformed"]


class EmptyFault(FaultForm):
    """A body of no bytes."""

    kind: Literal["empty"]


class StreamErrorFault(InStream, ErrorForm):
    """The provider's error event inside a stream (a request that does not stream gets the status)."""

    kind: Literal["stream_error"]
    status: int = Field(500, ge=400, le=599)


class StallFault(InStream):
    """The reply begins, then silence; half of a body that does not stream. At last the connection is closed."""

    kind: Literal["stall"]
    hang_s: float | None = Field(None, ge=0, description="None: until the client gives up")


class SlowFault(FaultForm):
    """A late first byte, and late tokens after it; a body that does not stream takes as long in all."""

    kind: Literal["slow"]
    delay_s: float | None = Field(None, ge=0, description="Before the first byte")
    chunk_delay_s: float | None = Field(None, ge=0, description="Between events")


class TruncatedFault(InStream):
    """JSON that stops in the middle, in a response that is whole as HTTP."""

    kind: Literal["truncated"]


class InvalidUtf8Fault(InStream):
    """Bytes that are no UTF-8, in a body or in the event after those counted."""

    kind: Literal["invalid_utf8"]


class WrongTypeFault(FaultForm):
    """A page of a proxy's in place of the answer."""

    kind: Literal["wrong_type"]
    status: int = Field(200, ge=200, le=599)
    content_type: str = "text/html; charset=utf-8"
    message: str = Field("", description="The page's heading")


class DuplicateEventsFault(FaultForm):
    """The stream's nth event comes twice; without a number each does."""

    kind: Literal["duplicate_events"]
    nth: int | None = Field(None, ge=1)


class MissingEventsFault(FaultForm):
    """The stream's nth event does not come."""

    kind: Literal["missing_events"]
    nth: int = Field(2, ge=1)


class InvalidArgumentsFault(FaultForm):
    """Arguments of tool calls that are no JSON. A reply without calls calls the first tool that was offered."""

    kind: Literal["invalid_arguments"]


class ContextOverflowFault(FaultForm):
    """The provider's error for a prompt that is too long."""

    kind: Literal["context_overflow"]
    limit: int | None = Field(None, ge=1, description="The model's context in tokens")


class ContentFilterFault(FaultForm):
    """The provider's filter ends the reply after ``after_tokens`` tokens, or with ``prompt`` refuses the request."""

    kind: Literal["content_filter"]
    after_tokens: int = Field(0, ge=0)
    prompt: bool = False


class SlowHeadersFault(FaultForm):
    """The response's headers come a byte at a time."""

    kind: Literal["slow_headers"]
    chunk_delay_s: float = Field(0.05, ge=0, description="Between bytes")


class DisconnectFault(FaultForm):
    """The connection ends before any byte of an answer, once the request has been read."""

    kind: Literal["disconnect"]
    reset: bool = Field(True, description="By a TCP reset instead of an orderly close")


AnyFault = Annotated[
    StatusFault
    | HangFault
    | CutFault
    | MalformedFault
    | EmptyFault
    | StreamErrorFault
    | StallFault
    | SlowFault
    | TruncatedFault
    | InvalidUtf8Fault
    | WrongTypeFault
    | DuplicateEventsFault
    | MissingEventsFault
    | InvalidArgumentsFault
    | ContextOverflowFault
    | ContentFilterFault
    | SlowHeadersFault
    | DisconnectFault,
    Field(discriminator="kind"),
]


class FaultSwitch(Form):
    """A fault that a session's next requests get, whatever its scenarios say. ``times`` None: until cleared."""

    fault: AnyFault
    times: int | None = Field(None, ge=1)


class AskedFault(FaultSwitch):
    """A fault as a request's header asks for it. Requests of the same ``id`` are counted together."""

    id: str = ""


def fault_from(form: AnyFault) -> Fault:
    """The plain fault."""
    return Fault(**form.model_dump())


_SHORT = {"after": "after_chunks", "retry_after": "retry_after_s", "delay": "delay_s", "chunk_delay": "chunk_delay_s"}
_OWN = ("id", "times")


@lru_cache(maxsize=256)
def read_header(text: str) -> tuple[str, Fault, int | None]:
    """``id=a1;status=429;times=1;retry-after=1`` as its id, the fault and how often it strikes.

    A word without a value is the kind, or a switch such as ``reset``. Without an id the text itself is one.

    :raises ValueError: it is malformed; the sentence says how.
    """
    own: dict[str, Json] = {}
    fault: dict[str, Json] = {}
    for part in filter(None, (part.strip() for part in text.split(";"))):
        name, given, value = (piece.strip() for piece in part.partition("="))
        key = name.lower().replace("-", "_")
        key = _SHORT.get(key, key)
        if not given and key not in FAULT_KINDS and key not in ("reset", "prompt"):
            raise ValueError(f"{part!r} is neither name=value nor a kind{nearest(key, FAULT_KINDS)}")
        if not given and key in FAULT_KINDS:
            key, value = "kind", key
        target = own if key in _OWN else fault
        if key in target:
            raise ValueError(f"{name!r} is given twice")
        target[key] = value if given or key == "kind" else True
    fault.setdefault("kind", "status")
    try:
        form = _ADAPTER.validate_python({**own, "fault": fault})
    except ValidationError as error:
        raise ValueError("; ".join(sentences(error, AskedFault))) from error
    return form.id or text, fault_from(form.fault), form.times


_ADAPTER = TypeAdapter(AskedFault)
