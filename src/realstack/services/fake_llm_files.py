"""Scenario files: read here, and handed to the fake LLM over its control API, wherever it runs."""

from __future__ import annotations

import http.client
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from realstack.errors import FakeLLMError, SettingsError
from realstack.model import Endpoint
from realstack.services.fake_llm import DEFAULT_SESSION, exchange

ScenarioFile = Mapping[str, str]
"""``name`` as complaints show it, and ``text``: a file as the control API takes it."""

_SUFFIXES = {".yaml", ".yml", ".json"}


def read_scenario_files(paths: Sequence[Path], root: Path) -> tuple[ScenarioFile, ...]:
    """The files at ``paths``, in order; a folder stands for its YAML and JSON files, sorted. Names are from ``root``.

    :raises SettingsError: a file cannot be read.
    """
    return tuple(_read(file, root) for path in paths for file in _below(path))


def _below(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(file for file in path.iterdir() if file.suffix in _SUFFIXES)
    return [path]


def _read(file: Path, root: Path) -> ScenarioFile:
    name = os.path.relpath(file, root) if file.is_relative_to(root) else str(file)
    try:
        return {"name": name, "text": file.read_text(encoding="utf-8")}
    except (OSError, UnicodeDecodeError) as problem:
        raise SettingsError(
            f"the scenario file {file} cannot be read: {problem}",
            remedy="correct the path in [tool.realstack.fake_llm] scenarios, or in the compose file's x-realstack.",
        ) from problem


async def hand_over(endpoint: Endpoint, files: Sequence[ScenarioFile]) -> None:
    """Let every session of that fake LLM that is made from now on start with ``files``.

    :raises FakeLLMError: a file is wrong; the sentence names it and the line.
    """
    await _asked(endpoint, "PUT", "/_fake/files", {"files": files})


async def renew_default_session(endpoint: Endpoint) -> None:
    """Make the session of requests that name none a new one."""
    await _asked(endpoint, "POST", "/_fake/sessions", {"id": DEFAULT_SESSION})


async def _asked(endpoint: Endpoint, method: str, path: str, body: object) -> None:
    status, answer = await exchange(endpoint, method, path, json.dumps(body).encode())
    if status >= http.client.BAD_REQUEST:
        raise refused(f"{method} {path}", answer)


def refused(asked: str, answer: bytes) -> FakeLLMError:
    """The error for a request of the control API that was refused with that answer."""
    try:
        problems = json.loads(answer)["error"]["problems"]
    except (ValueError, KeyError, TypeError):
        problems = [answer.decode("utf-8", "replace")[:500]]
    shut_out = "The control API" in problems[0]
    remedy = (
        "give its token in the address: REALSTACK_FAKE_LLM_URL=http://:TOKEN@host:port."
        if shut_out
        else "correct the rule or the scenario file."
    )
    return FakeLLMError(f"the fake LLM refused {asked}: {'; '.join(problems)}", remedy=remedy)
