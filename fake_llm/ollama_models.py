"""What Ollama answers about its models: everything below ``/api`` but what a model itself says."""

from __future__ import annotations

import hashlib
import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from fake_llm.connection import HeaderList
from fake_llm.dialects.ollama import catalogue
from fake_llm.dialects.ollama.fields import members, text, truth, wrong
from fake_llm.dialects.ollama.lines import LINES
from fake_llm.dialects.wire import to_bytes, to_json
from fake_llm.faults import Write
from fake_llm.local_models import LocalModels, Made, canonical, is_name, tagged
from fake_llm.model import Json, ProtocolError
from fake_llm.outcome import JSON_TYPE, Outcome, decode

FOREVER_S = 9_223_372_036.0
"""How long a model is said to stay that is never unloaded: the longest duration that Go can say."""

_DIGEST = re.compile(r"sha256[:-][0-9a-fA-F]{64}")
_BLOBS = "blobs/"


def answer(models: LocalModels, method: str, path: str, body: bytes) -> Outcome:
    """The answer to ``method`` at ``path``, which begins with ``/api/``.

    :raises ProtocolError: Ollama refuses the request.
    """
    name = path.removeprefix("/api/")
    if name.startswith(_BLOBS):
        return _blob(models, method, name.removeprefix(_BLOBS), body)
    methods, serve = _SERVED.get(name, ((), _version))
    if method not in methods:
        raise ProtocolError("405 method not allowed", status=405)
    return serve(models, body)


def _version(models: LocalModels, body: bytes) -> Outcome:
    return _json({"version": catalogue.VERSION})


def _tags(models: LocalModels, body: bytes) -> Outcome:
    made = models.all_made()
    names = {canonical(one.name) for one in made}
    listed = [Made(name, modified=catalogue.MODIFIED_AT) for name in catalogue.LISTED if name not in names]
    shown = [*made, *(one for one in listed if not models.is_deleted(one.name))]
    return _json(
        {"models": [{**catalogue.summary(m.name, m.parent), "modified_at": _instant(m.modified)} for m in shown]}
    )


def _ps(models: LocalModels, body: bytes) -> Outcome:
    now = time.time()
    found: list[Json] = []
    for name, until in models.loaded(now):
        made = models.made(name)
        parent = made.parent if made else ""
        summary = catalogue.summary(name, parent)
        found.append(
            {
                **summary,
                "expires_at": _instant(until if math.isfinite(until) else now + FOREVER_S),
                "size_vram": summary["size"],
                "context_length": min(4_096, catalogue.kind_of(parent or name).context),
            }
        )
    return _json({"models": found})


def _show(models: LocalModels, body: bytes) -> Outcome:
    asked = decode(body)
    name = text(asked, "model", "ShowRequest") or text(asked, "name", "ShowRequest")
    if not name:
        raise ProtocolError("model is required")
    _check_name(name)
    models.require(name)
    made = models.made(name) or Made(name, modified=catalogue.MODIFIED_AT)
    known_as = made.parent or name
    form = made.form
    template = form.get("template") or "{{ .Prompt }}"
    system = form.get("system") or ""
    parameters = _parameters(form.get("parameters") or {})
    modelfile = [f"FROM {tagged(known_as)}", f'TEMPLATE """{template}"""']
    modelfile += [f'SYSTEM """{system}"""'] if system else []
    modelfile += [f"PARAMETER {' '.join(line.split(None, 1))}" for line in parameters]
    shown: dict[str, Json] = {
        "modelfile": "\n".join(modelfile) + "\n",
        "template": template,
        "details": catalogue.details(name, made.parent),
        "model_info": catalogue.model_info(known_as),
        "capabilities": list(catalogue.kind_of(known_as).abilities),
        "modified_at": _instant(made.modified),
    }
    said = form.get("license")
    more = {
        "license": "\n".join(said) if isinstance(said, list) else said,
        "parameters": "\n".join(parameters),
        "system": system,
        "messages": form.get("messages"),
    }
    return _json({**shown, **{key: value for key, value in more.items() if value}})


def _pull(models: LocalModels, body: bytes) -> Outcome:
    asked, name = _asked_for(body, "PullRequest")
    digest, total = catalogue.digest(name), catalogue.size(name)
    layer = {"status": f"pulling {digest[:12]}", "digest": f"sha256:{digest}", "total": total}
    steps: list[Json] = [{"status": "pulling manifest"}, layer]
    steps += [{**layer, "completed": total * part // 4} for part in range(1, 5)]
    steps += [{"status": status} for status in ("verifying sha256 digest", "writing manifest", "success")]
    outcome = _progress(asked, "PullRequest", steps)
    models.add(Made(name, modified=time.time()))
    return outcome


def _push(models: LocalModels, body: bytes) -> Outcome:
    asked, name = _asked_for(body, "PushRequest")
    models.require(name)
    digest, total = catalogue.digest(name), catalogue.size(name)
    layer = {"status": f"pushing {digest[:12]}", "digest": f"sha256:{digest}", "total": total}
    steps: list[Json] = [{"status": "retrieving manifest"}, layer, {**layer, "completed": total}]
    steps += [{"status": "pushing manifest"}, {"status": "success"}]
    return _progress(asked, "PushRequest", steps)


def _create(models: LocalModels, body: bytes) -> Outcome:
    asked, name = _asked_for(body, "CreateRequest")
    struct = "CreateRequest"
    parent, system, template = (text(asked, key, struct) for key in ("from", "system", "template"))
    files = {
        **members(asked.get("files"), f"{struct}.files", "map[string]string"),
        **members(asked.get("adapters"), f"{struct}.adapters", "map[string]string"),
    }
    parameters = members(asked.get("parameters"), f"{struct}.parameters", "map[string]interface {}")
    text(asked, "quantize", struct)
    _check_license(asked.get("license"))
    messages = asked.get("messages")
    if messages is not None and not isinstance(messages, list):
        wrong(f"{struct}.messages", messages, "[]api.Message")
    if not parent and not asked.get("files"):
        raise ProtocolError("neither 'from' or 'files' was specified")
    if parent:
        _check_name(parent)
    for file, digest in files.items():
        if not isinstance(digest, str):
            wrong(f"{struct}.files", digest, "string")
        if digest not in models.blobs:
            raise ProtocolError(f'blob "{digest}" of the file "{file}" not found')
    layers = [digest for digest in files.values() if isinstance(digest, str)] or [f"sha256:{catalogue.digest(parent)}"]
    steps: list[Json] = [{"status": "gathering model components"}]
    steps += [{"status": f"using existing layer {digest}"} for digest in layers]
    steps += [{"status": "writing manifest"}, {"status": "success"}]
    outcome = _progress(asked, struct, steps)
    if parent:
        models.restore(parent)
    earlier = models.made(parent) if parent else None
    own = {"system": system, "template": template, "parameters": dict(parameters), "messages": messages,
           "license": asked.get("license")}  # fmt: skip
    form = {**(earlier.form if earlier else {}), **{key: value for key, value in own.items() if value}}
    models.add(Made(name, (earlier and earlier.parent) or parent, time.time(), form))
    return outcome


def _copy(models: LocalModels, body: bytes) -> Outcome:
    asked = decode(body)
    source, destination = (text(asked, key, "CopyRequest") for key in ("source", "destination"))
    for what, name in (("source", source), ("destination", destination)):
        if not is_name(name):
            raise ProtocolError(f'{what} "{name}" is invalid')
    if models.is_deleted(source):
        raise ProtocolError(f'model "{source}" not found', status=404)
    earlier = models.made(source)
    parent = earlier.parent if earlier and earlier.parent else source
    models.add(Made(destination, parent, time.time(), earlier.form if earlier else {}))
    return _empty(200)


def _delete(models: LocalModels, body: bytes) -> Outcome:
    asked = decode(body)
    name = text(asked, "model", "DeleteRequest") or text(asked, "name", "DeleteRequest")
    if not is_name(name):
        raise ProtocolError(f'name "{name}" is invalid')
    models.delete(name)
    return _empty(200)


def _blob(models: LocalModels, method: str, digest: str, body: bytes) -> Outcome:
    if method not in {"HEAD", "POST"}:
        raise ProtocolError("405 method not allowed", status=405)
    if not _DIGEST.fullmatch(digest):
        raise ProtocolError("invalid digest format")
    named = "sha256:" + digest[7:].lower()
    if named in models.blobs:
        return _empty(200)
    if method == "HEAD":
        raise ProtocolError(f'blob "{digest}" not found', status=404)
    found = f"sha256:{hashlib.sha256(body).hexdigest()}"
    if found != named:
        raise ProtocolError(f'digest mismatch, expected "{digest}", got "{found}"')
    models.keep_blob(named)
    return _empty(201)


def _asked_for(body: bytes, struct: str) -> tuple[Mapping[str, Json], str]:
    """The request, and the model that it names, by its present or its former key."""
    asked = decode(body)
    name = text(asked, "model", struct) or text(asked, "name", struct)
    _check_name(name)
    return asked, name


def _check_name(name: str) -> None:
    if not is_name(name):
        raise ProtocolError("invalid model name")


def _check_license(written: Json) -> None:
    listed = written if isinstance(written, list) else [written or ""]
    for one in listed:
        if not isinstance(one, str):
            wrong("CreateRequest.license", one, "string")


def _parameters(parameters: Mapping[str, Json]) -> list[str]:
    """The lines of a model's parameters, one for each value."""
    listed = ((name, value if isinstance(value, list) else [value]) for name, value in parameters.items())
    return [f"{name:<30} {to_json(one)}" for name, values in listed for one in values]


def _instant(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S.%f}Z"


def _progress(asked: Mapping[str, Json], struct: str, steps: Sequence[Json]) -> Outcome:
    """The steps as a stream, or only the last one where the request wants no stream."""
    if not truth(asked, "stream", struct, default=True):
        return _json(steps[-1])
    raw = b"".join([to_bytes(step) + b"\n" for step in steps])
    return _outcome(200, [(b"content-type", LINES)], raw)


def _json(value: Json) -> Outcome:
    raw = to_bytes(value)
    return _outcome(200, [JSON_TYPE, (b"content-length", b"%d" % len(raw))], raw)


def _empty(status: int) -> Outcome:
    return _outcome(status, [(b"content-length", b"0")], b"")


def _outcome(status: int, headers: HeaderList, raw: bytes) -> Outcome:
    return Outcome(status, headers, [Write(raw)], raw=raw)


_SERVED: dict[str, tuple[Sequence[str], Callable[[LocalModels, bytes], Outcome]]] = {
    "version": (("GET", "HEAD"), _version),
    "tags": (("GET", "HEAD"), _tags),
    "ps": (("GET",), _ps),
    "show": (("POST",), _show),
    "pull": (("POST",), _pull),
    "push": (("POST",), _push),
    "create": (("POST",), _create),
    "copy": (("POST",), _copy),
    "delete": (("DELETE",), _delete),
}
