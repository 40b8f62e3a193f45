"""Which columns look as if they held personal data or secrets: by their name, by keys within JSON, by their values."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

from realstack.state.capture.tables import TEXTS, Column

_WORD = re.compile(r"\w+")
_ANYWHERE: list[str] = _WORD.findall("email phone password passwd secret username firstname lastname surname fullname")
_WORDS = frozenset(
    _WORD.findall(
        "mail mobile telephone tel fax name address street zip zipcode postcode postal city ip pwd passphrase token "
        "apikey credential credentials ssn iban bic passport birth birthday birthdate dob nickname salary gender "
        "nationality cvv cvc login"
    )
)
_PAIRS = frozenset(
    _WORD.findall(
        "e_mail api_key private_key access_key tax_id national_id social_security credit_card card_number user_agent"
    )
)
_BIRTHS = frozenset(["birth", "birthday", "birthdate", "dob"])
_NUMBERS = frozenset(["phone", "mobile", "telephone", "tel", "fax", "ssn", "iban", "salary", "cvv", "cvc", "zip"])
_SECRETS = frozenset(["token", "secret", "password", "passwd", "apikey", "pwd"])
_EMAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)*\.[a-z]{2,}", re.IGNORECASE)


def word_in(name: str) -> str:
    """The word in ``name`` that makes it look personal; empty if there is none."""
    whole = name.lower()
    for part in _ANYWHERE:
        if part in whole.replace("_", ""):
            return part
    words = [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+", name)]
    for pair in pairwise(words):
        if "_".join(pair) in _PAIRS:
            return " ".join(pair)
    found: Iterator[str] = (word for word in words if word in _WORDS)
    return next(found, "")


def looks_personal(column: Column, values: Iterable[str | None]) -> str:
    """Why ``column`` with these values looks personal; empty if it does not, or holds nothing."""
    present = [value for value in values if value]
    if not present:
        return ""
    word = word_in(column.name)
    if word and _may_hold(column, word):
        return f"its name has {word!r}"
    if column.base in ("json", "jsonb") and (key := next(_personal_keys(present), "")):
        return f"its JSON has the key {key!r}"
    if column.category in ("S", "A", "C") or column.base in ("json", "jsonb", *TEXTS):
        for value in present:
            if _EMAIL.search(value):
                return "a value looks like an e-mail address"
    return ""


def _may_hold(column: Column, word: str) -> bool:
    """Whether a column of that type can hold it: ``email_sent_at`` is a time, ``is_mobile`` a flag."""
    match column.category:
        case "B" | "E" | "R" | "T":
            return False
        case "D":
            return word in _BIRTHS
        case "N":
            return word in _NUMBERS
        case "U" if column.base == "uuid":
            return word in _SECRETS
        case _:
            return True


def _personal_keys(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        for key, value in _pairs_below(json.loads(text)):
            if value not in (None, "", [], {}) and not isinstance(value, bool) and word_in(key):
                yield key


def _pairs_below(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, each in value.items():
            yield key, each
            yield from _pairs_below(each)
    elif isinstance(value, list):
        for each in value:
            yield from _pairs_below(each)
