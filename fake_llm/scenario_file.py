"""Scenario files: YAML (JSON is YAML) read into scenarios, with the file's line in every complaint."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from fake_llm.complaints import sentence, sentences
from fake_llm.scenario import Scenario
from fake_llm.written import ScenarioError, ScenarioForm, scenarios_from
from fake_llm.written_faults import Form


class FileForm(Form):
    """A scenario file: a mapping with the one key ``scenarios``. A bare list of scenarios will do as well."""

    scenarios: list[ScenarioForm] = Field(default_factory=list)


def schema() -> str:
    """The JSON schema of a scenario file, as text, for editors."""
    either = TypeAdapter(FileForm | list[ScenarioForm]).json_schema()
    named = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Scenarios of the fake LLM"}
    return json.dumps({**named, **either}, indent=2, ensure_ascii=False) + "\n"


def load_files(paths: Sequence[Path]) -> tuple[Scenario, ...]:
    """The scenarios of all files, in order; a folder stands for its ``*.yaml``, ``*.yml`` and ``*.json``, sorted.

    :raises ScenarioError: a file cannot be read, or is wrong; every problem names its file and line.
    """
    problems: list[str] = []
    found: list[Scenario] = []
    for path in files_of(paths):
        try:
            found.extend(load_text(_read(path), str(path)))
        except ScenarioError as error:
            problems.extend(error.problems)
    if problems:
        raise ScenarioError(problems)
    return tuple(found)


def load_sent(files: Iterable[tuple[str, str]]) -> tuple[Scenario, ...]:
    """The scenarios of files that were sent: name and text of each. Each test of a run sends the same ones.

    :raises ScenarioError: a file is wrong; every problem names its file and line.
    """
    problems: list[str] = []
    found: list[Scenario] = []
    for name, text in files:
        try:
            found.extend(_load_once(text, name))
        except ScenarioError as error:
            problems.extend(error.problems)
    if problems:
        raise ScenarioError(problems)
    return tuple(found)


def load_text(text: str, name: str) -> tuple[Scenario, ...]:
    """The scenarios that ``text`` holds; ``name`` is its file's, for complaints.

    :raises ScenarioError: it is no YAML, or not of the form.
    """
    try:
        root, document = _parsed(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ScenarioError([f"{name}:{line}: not YAML: {error.problem}"]) from error
    except yaml.YAMLError as error:
        raise ScenarioError([f"{name}: not YAML: {error}"]) from error
    if document is None:
        return ()
    listed = isinstance(document, list)
    if twice := _repeated_keys(root):
        raise ScenarioError([f"{name}:{line}: key {key!r} is given twice" for key, line in twice])
    try:
        form = FileForm.model_validate({"scenarios": document} if listed else document)
    except ValidationError as error:
        raise ScenarioError(_located(error, FileForm, root, name, listed=listed)) from error
    return scenarios_from(form.scenarios, prefix=Path(name).stem)


_FASTEST: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's, where PyYAML has it: it takes a tenth of the time."""


def _parsed(text: str) -> tuple[yaml.Node | None, Any]:
    try:
        return yaml.compose(text, Loader=_FASTEST), yaml.load(text, Loader=_FASTEST)  # noqa: S506 - a safe one
    except yaml.YAMLError:  # again in Python, for its line, which is nearer to the mistake
        return yaml.compose(text, Loader=yaml.SafeLoader), yaml.safe_load(text)


_load_once = lru_cache(maxsize=64)(load_text)


def files_of(paths: Sequence[Path]) -> list[Path]:
    """The files that ``paths`` stand for: themselves, or what of their kind is in a folder."""
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            files.extend(sorted(p for p in path.iterdir() if p.suffix in {".yaml", ".yml", ".json"}))
        else:
            files.append(path)
    return files


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioError([f"{path}: cannot be read: {error}"]) from error


def _located(
    error: ValidationError, form: type[BaseModel], root: yaml.Node | None, name: str, *, listed: bool
) -> list[str]:
    told = set(sentences(error, form))
    lines: list[str] = []
    for detail in error.errors(include_url=False, include_input=False):
        text = sentence(detail, form)
        if text in told:
            told.discard(text)
            loc = detail["loc"][1:] if listed else detail["loc"]
            lines.append(f"{name}:{_line(root, loc)}: {text}")
    return lines


def _line(node: yaml.Node | None, loc: Sequence[int | str]) -> int:
    """The line of the node at ``loc``; steps that the document does not have are passed over."""
    line = node.start_mark.line if node is not None else 0
    for step in loc:
        if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
            line = node.start_mark.line
        elif isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value == step:
                    node, line = value, key.start_mark.line
                    break
    return line + 1


def _repeated_keys(node: Any) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                found.append((str(key.value), key.start_mark.line + 1))
            seen.add(key.value)
            found.extend(_repeated_keys(value))
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            found.extend(_repeated_keys(item))
    return found
