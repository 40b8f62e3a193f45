"""Replies whose texts are templates: checked once as they are read, and filled for each request."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from fake_llm.asked import NAMES, AnswerFault, Asked
from fake_llm.model import Json
from fake_llm.template_budget import CURRENT, Budget
from fake_llm.templates import compiled, has_expressions, values_of

_TEXTS = ("text", "refusal", "reasoning")
_PARTS = {
    "tool_calls": ("arguments",),
    "server_tools": ("input", "output"),
    "citations": ("words", "quote", "title", "url"),
}
"""Where in a written reply there are templates, beside its ``json``."""
_SINGLE = re.compile(r"(?<!\{)\{(" + "|".join(NAMES) + r")\}(?!\})")

Fill = Callable[[str, str, bool], Json]
"""What stands for a text at a place; True: any JSON value may, False: a text."""


def check(words: Mapping[str, Json]) -> None:
    """That every template in ``words``, a written reply, is one.

    :raises AnswerFault: one is not; it names the place.
    """

    def checked(text: str, place: str, _: bool) -> str:
        if single := _SINGLE.search(text):
            name = single[1]
            raise AnswerFault(f"template of {place}: {{{name}}} is plain text, write {{{{ {name} }}}}")
        if has_expressions(text):
            try:
                compiled(text)
            except AnswerFault as error:
                raise AnswerFault(f"template of {place}: {error}") from error
        return text

    _filled(words, checked)


def filled(words: Mapping[str, Json], asked: Asked) -> dict[str, Json]:
    """``words`` with all templates filled for the request that was ``asked``.

    :raises AnswerFault: one failed, or all together cost too much.
    """
    values = values_of(asked)
    before = CURRENT.set(Budget())

    def fill(text: str, place: str, any_value: bool) -> Json:
        if not has_expressions(text):
            return text
        template = compiled(text)
        try:
            return template.value(values) if any_value else template.text(values)
        except AnswerFault as error:
            raise AnswerFault(f"template of {place}: {error}") from error

    try:
        return _filled(words, fill)
    finally:
        CURRENT.reset(before)


def _filled(words: Mapping[str, Json], fill: Fill) -> dict[str, Json]:
    found = dict(words)
    for name in _TEXTS:
        if isinstance(found.get(name), str):
            found[name] = fill(found[name], name, False)
    if "json" in found:
        found["json"] = _inside(found["json"], "json", fill)
    for name, parts in _PARTS.items():
        if name in found:
            found[name] = [_part(each, f"{name}[{at}]", parts, fill) for at, each in enumerate(found[name])]
    return found


def _part(written: Mapping[str, Json], place: str, parts: tuple[str, ...], fill: Fill) -> dict[str, Json]:
    """Texts that stand alone stay texts, those inside containers may become any value."""
    found = dict(written)
    for name in parts:
        at, value = f"{place}.{name}", found.get(name)
        if isinstance(value, str):
            found[name] = fill(value, at, False)
        elif value is not None:
            found[name] = _inside(value, at, fill)
    return found


def _inside(value: Json, place: str, fill: Fill) -> Any:
    if isinstance(value, str):
        return fill(value, place, True)
    if isinstance(value, list):
        return [_inside(each, f"{place}[{at}]", fill) for at, each in enumerate(value)]
    if isinstance(value, dict):
        return {key: _inside(each, f"{place}.{key}", fill) for key, each in value.items()}
    return value
