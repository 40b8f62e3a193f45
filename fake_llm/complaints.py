"""What is wrong with a written scenario, as sentences with its place and the nearest known key."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from fake_llm.model import FaultKind

FAULT_KINDS: tuple[str, ...] = get_args(FaultKind)


def sentence(error: ErrorDetails, form: type[BaseModel]) -> str:
    """One of pydantic's findings as a sentence that names the nearest known key where a key is unknown."""
    where = _place(error["loc"])
    if error["type"] == "extra_forbidden":
        key = str(error["loc"][-1])
        return f"{where}: unknown key {key!r}{nearest(key, _known_keys(form, error['loc'][:-1]))}"
    return f"{where}: {error['msg'].removeprefix('Value error, ')}"


def sentences(error: ValidationError, form: type[BaseModel]) -> list[str]:
    """All findings, each once, without those about the alternative that was not meant."""
    details = error.errors(include_url=False, include_input=False)
    informative = [d for d in details if not _is_other_alternative(d, details)]
    return list(dict.fromkeys(sentence(detail, form) for detail in informative))


def nearest(word: str, known: Iterable[str]) -> str:
    """``, did you mean '…'?``, or the list of what is known where nothing is near."""
    names = list(known)
    near = get_close_matches(word, names, n=1, cutoff=0.5)
    return f", did you mean {near[0]!r}?" if near else f" (known: {', '.join(names)})"


def _place(loc: tuple[int | str, ...]) -> str:
    """``('scenarios', 0, 'reply', 'ReplyForm', 'txt')`` as ``scenarios[0].reply.txt``."""
    place = ""
    for before, step in zip(("", *loc), loc, strict=False):
        if isinstance(step, int):
            place += f"[{step}]"
        elif not _is_alternative(step) and not (before == "fault" and step in FAULT_KINDS):
            place += f".{step}" if place else step
    return place or "scenario"


def _is_alternative(step: int | str) -> bool:
    """Whether pydantic added the step to say which alternative of a union it tried."""
    return isinstance(step, str) and (step == "str" or step.endswith("Form") or "[" in step)


def _is_other_alternative(detail: ErrorDetails, details: list[ErrorDetails]) -> bool:
    """``reply: {txt: …}`` also fails as a string, which is no news where it failed as a mapping too."""
    if detail["loc"][-1:] != ("str",) or detail["type"] != "string_type":
        return False
    stem = detail["loc"][:-1]
    return any(other is not detail and other["loc"][: len(stem)] == stem for other in details)


def _known_keys(form: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    """The keys of the form at ``loc``."""
    forms: list[type[BaseModel]] = [form]
    for step in loc:
        if isinstance(step, int):
            continue
        named = [one for one in forms if one.__name__ == step]
        chosen = [one for one in forms if "kind" in one.model_fields and step in FAULT_KINDS and _kind(one) == step]
        if named or chosen:
            forms = named or chosen
            continue
        below = [_forms_in(f.annotation) for one in forms for k, f in one.model_fields.items() if step in (k, f.alias)]
        forms = [one for group in below for one in group] or forms
    return [field.alias or key for one in forms for key, field in one.model_fields.items()]


def _kind(form: type[BaseModel]) -> str:
    return str(get_args(form.model_fields["kind"].annotation)[0])


def _forms_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [form for part in get_args(annotation) for form in _forms_in(part)]
