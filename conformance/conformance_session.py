"""A session of the running fake LLM. Standard library only: every environment runs this."""

from __future__ import annotations

import json
import urllib.request
from typing import Any


class Session:
    """One session of the fake LLM: where clients find it, what it is told, what it has seen."""

    def __init__(self, url: str) -> None:
        self._control = f"{url}/_fake/sessions"
        made = self._ask("POST", "", {})
        self.url = url
        self.id: str = made["id"]
        self.key: str = made["api_key"]
        self.openai = f"{url}/v1"
        self.prefixed = f"{url}/s/{self.id}"
        """The address that names the session by itself; no two tests have the same."""

    def script(self, *scenarios: dict[str, Any]) -> None:
        """Add scenarios, as they are written in YAML."""
        self._ask("POST", f"/{self.id}/scenarios", {"scenarios": list(scenarios)})

    def calls(self) -> list[dict[str, Any]]:
        """The journal's entries."""
        entries: list[dict[str, Any]] = self._ask("GET", f"/{self.id}/journal")["entries"]
        return entries

    def end(self) -> None:
        """Forget it."""
        self._ask("DELETE", f"/{self.id}")

    def _ask(self, method: str, path: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self._control + path, data, {"content-type": "application/json"}, method=method
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            text = answer.read()
        return json.loads(text) if text else None
