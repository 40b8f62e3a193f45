"""The compose file as text with line numbers: YAML in, strings, lists and mappings out.

Every scalar stays as it is written, since Compose reads YAML 1.2 (``yes`` is a word, ``22:22`` is no number)
and its fields decide themselves what they take a word for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from realstack.errors import ComposeFileError


class Text(str):
    """A scalar with its ``line`` (from 1). ``plain``: it was written without quotes."""

    __slots__ = ("line", "plain")
    line: int
    plain: bool

    @classmethod
    def at(cls, value: str, line: int, *, plain: bool = False) -> Text:
        """``value`` as written at ``line``."""
        text = cls(value)
        text.line, text.plain = line, plain
        return text


def _scalar(loader: Any, node: yaml.ScalarNode) -> Text:
    return Text.at(str(node.value), node.start_mark.line + 1, plain=not node.style)


def _mapping(loader: Any, node: yaml.MappingNode) -> dict[Any, Any]:
    _refuse_twice(node)
    loader.flatten_mapping(node)
    return {
        loader.construct_object(key, deep=True): loader.construct_object(value, deep=True) for key, value in node.value
    }


def _refuse_twice(node: yaml.MappingNode) -> None:
    seen: dict[str, int] = {}
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode) or key.tag.endswith(":null"):
            is_list = isinstance(key, yaml.SequenceNode)
            what = "nothing" if isinstance(key, yaml.ScalarNode) else "a list" if is_list else "a mapping"
            raise yaml.constructor.ConstructorError(None, None, f"a key must be a word, not {what}", key.start_mark)
        word = str(key.value)
        if word in seen and word != "<<":
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {word!r} stands twice, first in line {seen[word]}", key.start_mark
            )
        seen[word] = key.start_mark.line + 1


def _without_guesses(base: Any) -> Any:
    """``base``, a safe loader, without guessing of types."""

    resolvers = {
        first: [(tag, pattern) for tag, pattern in known if tag.endswith((":null", ":merge"))]
        for first, known in base.yaml_implicit_resolvers.items()
    }
    loader: Any = type("Loader", (base,), {"yaml_implicit_resolvers": resolvers})
    loader.add_constructor("tag:yaml.org,2002:str", _scalar)
    loader.add_constructor("tag:yaml.org,2002:map", _mapping)
    return loader


_IN_PYTHON = _without_guesses(yaml.SafeLoader)
_FASTEST = _without_guesses(getattr(yaml, "CSafeLoader", yaml.SafeLoader))
"""libyaml's, where PyYAML has it: it takes a tenth of the time. Its errors show no piece of the file."""


def read_document(path: Path) -> dict[Any, Any]:
    """The mapping that the file holds.

    :raises ComposeFileError: unreadable, no YAML, or no mapping; the sentence has the line.
    """
    try:
        document = _loaded(path.read_text(encoding="utf-8"))
    except OSError as problem:
        raise ComposeFileError(
            f"The compose file {path} cannot be read: {problem.strerror}.", remedy="correct its path or its mode."
        ) from problem
    except UnicodeDecodeError as problem:
        raise ComposeFileError(f"{path} is not UTF-8 text: {problem}.", remedy="save it as UTF-8.") from problem
    except yaml.MarkedYAMLError as problem:
        raise _syntax_error(path, problem) from problem
    except yaml.YAMLError as problem:
        raise ComposeFileError(f"{path} is not valid YAML: {problem}", remedy="correct it.") from problem
    if not isinstance(document, dict):
        raise ComposeFileError(
            f"{path} is no compose file: its top is not a mapping.", remedy="start it with `services:`."
        )
    return document


def _loaded(text: str) -> Any:
    try:
        return yaml.load(text, _FASTEST)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError:
        return yaml.load(text, _IN_PYTHON)  # noqa: S506 - for its words, which show the place


def _syntax_error(path: Path, problem: yaml.MarkedYAMLError) -> ComposeFileError:
    mark = problem.problem_mark or problem.context_mark
    where = f"{path}:{mark.line + 1}" if mark else str(path)
    told = problem.problem or problem.context or str(problem)
    snippet = mark.get_snippet(indent=0) if mark else None
    return ComposeFileError(
        f"{where}: {told}.",
        details=snippet.splitlines() if snippet else (),
        remedy="correct that line; `docker compose config` checks the file too.",
    )


def first_line(value: Any) -> int | None:
    """The line of the first piece of text in ``value``."""
    if isinstance(value, Text):
        return value.line
    items: Iterable[Any] = ()
    if isinstance(value, dict):
        items = (*value, *value.values())
    elif isinstance(value, list):
        items = value
    return next((line for item in items if (line := first_line(item)) is not None), None)


def shown(value: Any) -> str:
    """``value`` in an error's words: a word as it is, of the rest what it is."""
    if isinstance(value, dict):
        return f"a mapping with {', '.join(map(str, value)) or 'nothing'}"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return repr(str(value)) if value is not None else "empty"


def as_list(value: Any) -> list[Any]:
    """``value`` where a list or one of its items may stand."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def natural(value: Any) -> Any:
    """``value`` with plain words as what YAML takes them for: numbers, true, false. For ``x-`` parts."""
    if isinstance(value, Mapping):
        return {str(key): natural(item) for key, item in value.items()}
    if isinstance(value, list):
        return [natural(item) for item in value]
    if isinstance(value, Text) and value.plain:
        return _number_or_word(str(value))
    return str(value) if isinstance(value, str) else value


def _number_or_word(word: str) -> object:
    if word in ("true", "True", "TRUE", "false", "False", "FALSE"):
        return word.lower() == "true"
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            continue
    return word
