"""Names and marks of the databases that realstack makes. Pure: no server is asked here.

A name ends with a check sum of the rest, so that a database whose maker was killed between CREATE DATABASE
and its COMMENT is still known as ours.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PREFIX = "rs_"
MARK_VERSION = 1

_TEMPLATE = re.compile(r"rs_tpl_(?P<project>[0-9a-f]{8})_(?P<state>[0-9a-f]{12})_(?P<check>[0-9a-f]{6})")
_CLONE = re.compile(r"(?P<lender>rs_run_[a-z0-9]+_[a-z0-9]+)_(?P<number>\d+)_(?P<check>[0-9a-f]{6})")
_LONGEST = 63


def template_name(root: Path, state: str) -> str:
    """``rs_tpl_<project>_<state>_<check>``: the template of that state for the project at ``root``."""
    return _checked(f"{template_prefix(root)}{state[:12]}")


def template_prefix(root: Path) -> str:
    """What the names of all templates of a project begin with."""
    return f"rs_tpl_{hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:8]}_"


def lender_name(run_id: str, worker: str) -> str:
    """``rs_run_<run>_<worker>``: what the names of all that one worker lends begin with."""
    return f"rs_run_{_plain(run_id)}_{_plain(worker)}"


def clone_name(lender: str, number: int) -> str:
    """The name of the ``number``-th database that ``lender`` lends."""
    return _checked(f"{lender}_{number}")


def lender_of(name: str) -> str | None:
    """Which lender made the database of that name; None for any other name."""
    match = _CLONE.fullmatch(name)
    return match["lender"] if match else None


def is_template(name: str) -> bool:
    """Whether this is the name of a template."""
    return _TEMPLATE.fullmatch(name) is not None


def is_our_name(name: str) -> bool:
    """Whether realstack gave this name: its form and its check sum are right."""
    known = _TEMPLATE.fullmatch(name) or _CLONE.fullmatch(name)
    return known is not None and _checked(name.rpartition("_")[0]) == name


def is_ours(name: str, comment: str | None) -> bool:
    """Whether a database of this name and comment may be dropped by realstack.

    What was lent a test may give a comment of its own, so of that the name alone tells: nobody else gives names with
    our check sum. A template's comment nobody but realstack has a reason to touch.
    """
    return is_our_name(name) and (comment is None or lender_of(name) is not None or read_mark(comment) is not None)


def mark(kind: str, **facts: Any) -> str:
    """The comment of a database of ours."""
    return json.dumps({"realstack": MARK_VERSION, "kind": kind, **facts})


def mark_of(facts: Mapping[str, Any]) -> str:
    """The comment with those facts, as :func:`read_mark` gives them."""
    return json.dumps(dict(facts))


def read_mark(comment: str | None) -> Mapping[str, Any] | None:
    """What :func:`mark` wrote, or None for anybody else's comment."""
    try:
        facts = json.loads(comment or "")
    except ValueError:
        return None
    return facts if isinstance(facts, dict) and "realstack" in facts else None


def lock_key(name: str) -> int:
    """The number of the advisory lock that stands for ``name``."""
    return int.from_bytes(hashlib.sha256(f"realstack:{name}".encode()).digest()[:8], "big", signed=True)


def _plain(word: str) -> str:
    """``word`` in lower case letters and digits; long ones cut, with a hash that keeps them apart."""
    plain = re.sub(r"[^a-z0-9]", "", word.lower())
    if plain == word and len(plain) <= 16:
        return plain
    return plain[:10] + hashlib.sha256(word.encode()).hexdigest()[:6]


def _checked(name: str) -> str:
    checked = f"{name}_{hashlib.sha256(f'realstack {name}'.encode()).hexdigest()[:6]}"
    assert len(checked) <= _LONGEST  # noqa: S101 - PostgreSQL would cut it silently
    return checked
