"""Reading a request as Ollama's server does: JSON into typed fields, wrong types refused in the words of Go."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import NoReturn

from fake_llm.dialects.wire import to_json
from fake_llm.local_models import is_name, keep_alive_s
from fake_llm.model import Json, OutputFormat, ProtocolError

MAX_TOP_LOGPROBS = 20

_LEVELS = ("low", "medium", "high", "max")
_LEVEL_WORDS = '"high", "medium", "low", "max", true, or false'
_INTEGERS = ("num_predict", "seed", "num_ctx", "num_keep", "top_k", "repeat_last_n", "num_batch", "num_gpu", "main_gpu",
             "num_thread", "mirostat")  # fmt: skip
_NUMBERS = ("temperature", "top_p", "min_p", "typical_p", "repeat_penalty", "presence_penalty", "frequency_penalty")
_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")
_NOT_BASE64 = re.compile(r"[^A-Za-z0-9+/]")


def wrong(field: str, value: Json, expected: str) -> NoReturn:
    """Refuse a value of another JSON type, as Go's decoder does."""
    raise ProtocolError(f"json: cannot unmarshal {_kind(value)} into Go struct field {field} of type {expected}")


def text(body: Mapping[str, Json], name: str, struct: str) -> str:
    """A string, or "" for none."""
    value = body.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        wrong(f"{struct}.{name}", value, "string")
    return value


def truth(body: Mapping[str, Json], name: str, struct: str, *, default: bool = False) -> bool:
    """A boolean; ``default`` where there is none."""
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        wrong(f"{struct}.{name}", value, "bool")
    return value


def items(body: Mapping[str, Json], name: str, struct: str, kind: str) -> Sequence[Json]:
    """An array, or () for none."""
    value = body.get(name)
    if value is None:
        return ()
    if not isinstance(value, list):
        wrong(f"{struct}.{name}", value, f"[]{kind}")
    return value


def members(value: Json, field: str, kind: str) -> Mapping[str, Json]:
    """An object; null is an empty one."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        wrong(field, value, kind)
    return value


def model_of(body: Mapping[str, Json], struct: str, *, required: bool) -> str:
    """The model's name.

    :raises ProtocolError: no model can be called so; ``required`` chooses between the endpoints' two ways to say it.
    """
    name = text(body, "model", struct)
    if is_name(name):
        return name
    if required:
        raise ProtocolError("model is required")
    raise ProtocolError(f"model '{name}' not found", status=404)


def check_keep_alive(body: Mapping[str, Json]) -> None:
    """Refuse a ``keep_alive`` that is no duration."""
    keep_alive_s(body.get("keep_alive"))


class Options:
    """The request's ``options``, checked. Unknown ones are let through."""

    def __init__(self, body: Mapping[str, Json], struct: str) -> None:
        given = members(body.get("options"), f"{struct}.options", "map[string]interface {}")
        for name in _INTEGERS:
            _check_number(name, given.get(name), "integer")
        for name in _NUMBERS:
            _check_number(name, given.get(name), "float32")
        self._given = given
        self.stop = _stops(given.get("stop"))
        self.seed = self.integer("seed")
        predicted = self.integer("num_predict")
        self.max_tokens = predicted if predicted is not None and predicted > 0 else None

    def integer(self, name: str) -> int | None:
        """A whole number of 64 bits, what lies behind the point cut off; None for none."""
        value = self._given.get(name)
        if value is None:
            return None
        if isinstance(value, float):
            value = int(value) if math.isfinite(value) else 0
        return max(-(2**63), min(value, 2**63 - 1))


def output_of(body: Mapping[str, Json]) -> OutputFormat:
    """What ``format`` asks for: "json", or a JSON schema.

    :raises ProtocolError: something else.
    """
    written = body.get("format")
    if written is None or written == "":
        return OutputFormat()
    if written == "json":
        return OutputFormat("json_object")
    if isinstance(written, Mapping):
        return OutputFormat("json_schema", written)
    shown = to_json(to_json(written))
    raise ProtocolError(f'invalid format: {shown}; expected "json" or a valid JSON Schema object', status=500)


def thinks(body: Mapping[str, Json]) -> bool:
    """Whether the thoughts are to be shown.

    :raises ProtocolError: ``think`` is no boolean and no level.
    """
    think = body.get("think")
    if think is None or isinstance(think, bool):
        return bool(think)
    if not isinstance(think, str):
        raise ProtocolError(f"think must be a boolean or string ({_LEVEL_WORDS})")
    if think not in _LEVELS:
        raise ProtocolError(f"invalid think value: {to_json(think)} (must be {_LEVEL_WORDS})")
    return True


def top_logprobs_of(body: Mapping[str, Json], struct: str) -> int | None:
    """How many alternatives to show beside each token's log probability; None: no log probabilities."""
    top = body.get("top_logprobs")
    if top is not None and (not isinstance(top, int) or isinstance(top, bool)):
        wrong(f"{struct}.top_logprobs", top, "int")
    if not 0 <= (top or 0) <= MAX_TOP_LOGPROBS:
        raise ProtocolError(f"top_logprobs must be between 0 and {MAX_TOP_LOGPROBS}")
    return (top or 0) if truth(body, "logprobs", struct) else None


def images_of(body: Mapping[str, Json], struct: str) -> int:
    """How many images there are, each in base64.

    :raises ProtocolError: one is not.
    """
    images = items(body, "images", struct, "api.ImageData")
    for image in images:
        if not isinstance(image, str):
            wrong(f"{struct}.images", image, "[]uint8")
        encoded = image.replace("\n", "").replace("\r", "")
        if not _BASE64.fullmatch(encoded):
            illegal = _NOT_BASE64.search(encoded.rstrip("="))
            raise ProtocolError(f"illegal base64 data at input byte {illegal.start() if illegal else len(encoded)}")
    return len(images)


def _check_number(name: str, value: Json, expected: str) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise ProtocolError(f'option "{name}" must be of type {expected}', status=500)


def _stops(written: Json) -> tuple[str, ...]:
    if written is None:
        return ()
    if not isinstance(written, list):
        raise ProtocolError('option "stop" must be of type array', status=500)
    if not all(isinstance(one, str) for one in written):
        raise ProtocolError('option "stop" must be of an array of strings', status=500)
    return tuple(written)


def _kind(value: Json) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"
