"""OpenAI moderations: ``POST /v1/moderations``. Verdicts by a few phrases for each category, or by a scenario.

The phrases let a test provoke each category with a plain sentence; they are no attempt at moderation.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from zlib import crc32

from fake_llm.dialects.openai.parts import Reader, read_content, text_reader
from fake_llm.dialects.openai.refusals import missing, wrong_type
from fake_llm.dialects.openai_inputs import inputs_of, not_valid
from fake_llm.dialects.wire import to_bytes
from fake_llm.model import Json, Message, Reply, Stamp, Turn

PROVIDER = "openai"

DEFAULT_MODEL = "omni-moderation-latest"
FLAGGED_FROM = 0.5
SCRIPTED_SCORE = 0.95

_DO = "(?:kill|murder|stab|shoot|strangle|torture|hurt)"
_WHOM = "(?:you|him|her|them|people|someone|somebody|everyone|everybody)"
_I_WILL = "i(?:'ll| will| want to| am going to|'m going to)"
_HOW = "how (?:to|do i|can i|would i)"
_SELF = "(?:suicide|self-harm|(?:kill|hurt|cut|harm) myself)"
_SEXUAL = "(?:sex|sexual|porn|pornography|nude|erotic)"
PHRASES = {
    "harassment": r"(?:you are|you're) (?:an? |so )?(?:idiot|moron|stupid|worthless|pathetic)",
    "harassment/threatening": f"{_I_WILL} {_DO} {_WHOM}",
    "hate": r"hate (?:all )?(?:women|men|jews|muslims|christians|immigrants|foreigners|gays)",
    "hate/threatening": r"(?:kill|murder) all (?:women|men|jews|muslims|christians|immigrants|foreigners|gays)",
    "illicit": f"{_HOW} (?:make|build|buy|cook|get|forge|launder) .*(?:drugs|meth|cocaine|fake id|money|bomb|weapons?)",
    "illicit/violent": f"{_HOW} (?:make|build|buy|get) .*(?:bomb|weapons?|explosives?)",
    "self-harm": f"{_SELF}|end my life",
    "self-harm/instructions": f"{_HOW} .*{_SELF}|{_HOW} .*end my life",
    "self-harm/intent": f"{_I_WILL} (?:commit {_SELF}|{_SELF}|end my life)",
    "sexual": _SEXUAL,
    "sexual/minors": rf"(?:child|children|minor|minors|underage)\b.*\b{_SEXUAL}"
    rf"|{_SEXUAL}\b.*\b(?:child|children|minor|minors|underage)",
    "violence": f"{_DO} {_WHOM}|{_DO} all",
    "violence/graphic": "(?:gore|dismember|dismembered|decapitate|decapitated|disembowel|disembowelled)",
}
"""For each category what it is found by: whole words, case makes no difference. A category below another one, by
its name, makes that one true as well."""
OF_IMAGES = frozenset(name for name in PHRASES if name.startswith(("self-harm", "violence"))) | {"sexual"}
"""The categories that images are judged by too."""

_FOUND_BY = {name: re.compile(rf"\b(?:{phrase})\b", re.IGNORECASE | re.DOTALL) for name, phrase in PHRASES.items()}
_NAME = re.compile(r"[a-z/-]+")


def parse(body: Mapping[str, Json], headers: Mapping[str, str]) -> Turn:
    """The turn that ``body`` asks for. Texts are judged each by itself, parts with images all together.

    :raises ProtocolError: OpenAI refuses the request.
    """
    model = body.get("model")
    if model is not None and not isinstance(model, str):
        wrong_type("model", "string", model)
    written = body.get("input")
    if written is None:
        missing("input")
    if isinstance(written, list) and written and isinstance(written[0], Mapping):
        text, images = read_content(written, "input", _READERS)
        texts: tuple[str, ...] = (text,)
    else:
        images, texts = 0, tuple(one for one in inputs_of(written, "input", empty=True) if isinstance(one, str))
        if not texts:
            not_valid("input")
    said = Message("user", "\n".join(texts), attachments=images)
    return Turn("openai_moderations", model or DEFAULT_MODEL, (said,), inputs=texts, computed=True, raw=body)


def render(turn: Turn, replies: Sequence[Reply], stamp: Stamp) -> bytes:
    """A verdict for each text."""
    scripted = _scripted(replies[0].text)
    images = turn.messages[0].attachments > 0
    results = [_verdict(str(text), scripted, images=images) for text in turn.inputs]
    return to_bytes({"id": f"modr-{stamp.id}", "model": turn.model, "results": results})


def _image(part: Mapping[str, Json], param: str) -> None:
    image = part.get("image_url")
    if not isinstance(image, Mapping) or not isinstance(image.get("url"), str):
        missing(f"{param}.image_url.url")


_READERS: dict[str, Reader] = {"text": text_reader("text"), "image_url": _image}


def _scripted(text: str) -> dict[str, float] | None:
    """What a scenario says: an object of scores, or a list of what is flagged, or its names; None: it says nothing.

    An object's values are scores or truths; what it leaves out is not flagged. Names that are no categories are none.
    """
    if not text:
        return None
    try:
        said = json.loads(text)
    except ValueError:
        said = _NAME.findall(text)
    if isinstance(said, list):
        said = {name: True for name in said if isinstance(name, str)}
    if not isinstance(said, dict):
        return {}
    return {name: _score(value) for name, value in said.items() if name in PHRASES}


def _score(said: Json) -> float:
    if isinstance(said, bool):
        return SCRIPTED_SCORE if said else 0.0
    return float(said) if isinstance(said, int | float) else 0.0


def _verdict(text: str, scripted: Mapping[str, float] | None, *, images: bool) -> dict[str, Json]:
    scores = _by_phrases(text) if scripted is None else {name: _low(text, name) for name in PHRASES} | dict(scripted)
    categories = {name: score >= FLAGGED_FROM for name, score in scores.items()}
    return {
        "flagged": any(categories.values()),
        "categories": categories,
        "category_scores": scores,
        "category_applied_input_types": {name: _kinds(name, text, images=images) for name in PHRASES},
    }


def _by_phrases(text: str) -> dict[str, float]:
    found = {name for name, phrase in _FOUND_BY.items() if phrase.search(text)}
    found |= {name.partition("/")[0] for name in found}
    return {name: 0.9 + _low(text, name) * 900 if name in found else _low(text, name) for name in PHRASES}


def _low(text: str, name: str) -> float:
    """A score below 0.0001 that is the same for the same text and category."""
    return round((1 + crc32(f"{name} {text}".encode("utf-8", "surrogatepass")) % 9_999) / 1e8, 10)


def _kinds(name: str, text: str, *, images: bool) -> list[str]:
    return [*(["text"] if text or not images else []), *(["image"] if images and name in OF_IMAGES else [])]
