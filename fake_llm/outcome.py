"""What is sent for a request, and what the journal keeps of it."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

from fake_llm.dialects.wire import no_constant, to_bytes
from fake_llm.envelopes import Envelope, HeaderList
from fake_llm.faults import Step, Write
from fake_llm.journal import Entry
from fake_llm.model import Fault, Json, ProtocolError, Reply, Stamp, Turn
from fake_llm.unread import WORD_OF_KIND, Unread

JSON_TYPE = (b"content-type", b"application/json")


@dataclass(slots=True)
class Outcome:
    """What is to be sent, and what the journal keeps of it."""

    status: int
    headers: HeaderList
    steps: Sequence[Step]
    turn: Turn | None = None
    reply: Reply | None = None
    replies: Sequence[Reply] = ()
    raw: bytes = b""
    scenario: str | None = None
    fault: str | None = None
    error: str | None = None
    body: Json = field(default=None)

    def note(self, entry: Entry, *, seen: int) -> None:
        """Write this outcome of a request of ``seen`` bytes into ``entry``."""
        entry.body, entry.turn, entry.reply, entry.reply_raw = self.body, self.turn, self.reply, self.raw
        entry.status, entry.error, entry.fault = self.status, self.error, self.fault
        entry.scenario, entry.matched = self.scenario, self.scenario is not None
        entry.size = 1_000 + 3 * seen + len(self.raw)


def new_stamp() -> Stamp:
    """A stamp of now with a random id."""
    return Stamp(_ids.randbytes(12).hex(), int(time.time()))


def refused(error: ProtocolError, envelopes: Envelope, stamp: Stamp, fault: Fault | None = None) -> Outcome:
    """An error in the provider's envelope."""
    if isinstance(error, Unread):
        error = envelopes.unread(error)
    raw = to_bytes(envelopes.error_object(error, stamp))
    headers = [JSON_TYPE, (b"content-length", b"%d" % len(raw)), *envelopes.error_headers(error.status, stamp, fault)]
    if fault is not None:
        headers = with_own(headers, fault.headers)
    return Outcome(error.status, headers, [Write(raw)], raw=raw, error=error.message)


def sent(raw: bytes) -> Outcome:
    """JSON as it is sent, without the provider's own headers."""
    return Outcome(200, [JSON_TYPE, (b"content-length", b"%d" % len(raw))], [Write(raw)], raw=raw)


def whole(value: Json) -> Outcome:
    """As :func:`sent`, from a value."""
    return sent(to_bytes(value))


def decode(body: bytes) -> Json:
    """The request's JSON object.

    :raises ProtocolError: it is none.
    """
    try:
        decoded = _read(body.decode("utf-8"))
    except json.JSONDecodeError as error:
        raise Unread("no_json", reason=error.msg, text=error.doc, at=error.pos) from error
    except (ValueError, RecursionError) as error:
        raise Unread("no_json", reason=str(error), text=body.decode("utf-8", "replace")) from error
    if not isinstance(decoded, dict):
        raise Unread("no_object", kind=WORD_OF_KIND[type(decoded)])
    return decoded


def _read(text: str) -> Json:
    """As the decoder itself, which looks for blanks before and behind; few bodies have any."""
    if text.startswith("{"):
        decoded, end = _decoder.raw_decode(text)
        if end == len(text):
            return decoded
    return _decoder.decode(text)


def with_own(headers: HeaderList, own: Mapping[str, str]) -> HeaderList:
    """``headers`` with those of a scenario put in their place."""
    if not own:
        return headers
    encoded = {name.lower().encode("latin-1", "replace"): one_line(value) for name, value in own.items()}
    return [(name, value) for name, value in headers if name not in encoded] + list(encoded.items())


def one_line(value: str) -> bytes:
    """A header's value without line ends."""
    return value.replace("\r", " ").replace("\n", " ").encode("latin-1", "replace")


_ids = Random()  # noqa: S311 - ids are no secrets, and the system's randomness costs a system call each
_decoder = json.JSONDecoder(parse_constant=no_constant)
