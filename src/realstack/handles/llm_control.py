"""A plain connection of the standard library to the fake LLM's control API: synchronous, and cheap to import."""

from __future__ import annotations

import http.client
import json
import threading
from typing import Any

from realstack.errors import FakeLLMError
from realstack.model import Endpoint
from realstack.services.fake_llm import base_url, control_headers
from realstack.services.fake_llm_files import refused

ANSWER_WITHIN_S = 10.0


class Control:
    """One kept connection, for any number of threads."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.base = base_url(endpoint)
        self._endpoint = endpoint
        self._below = endpoint.options.get("path", "")
        self._headers = {"content-type": "application/json", **control_headers(endpoint)}
        self._lock = threading.Lock()
        self._connection: http.client.HTTPConnection | None = None

    def ask(self, method: str, path: str, body: Any = None, *, missing_ok: bool = False) -> Any:
        """The answer's JSON; None where there is none, or nothing was found and that will do.

        :raises FakeLLMError: the fake refuses it, or does not answer.
        """
        status, answer = self._exchange(method, path, None if body is None else json.dumps(body).encode())
        if status == http.client.NOT_FOUND and missing_ok:
            return None
        if status >= http.client.BAD_REQUEST:
            raise refused(f"{method} {path}", answer)
        return json.loads(answer) if answer else None

    def _exchange(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        """One request and its answer, on a kept connection; once more on a new one if the kept one had died."""
        with self._lock:
            for attempt in (1, 2):
                fresh = self._connection is None
                try:
                    connection = self._connected()
                    connection.request(method, self._below + path, body, self._headers)
                    answer = connection.getresponse()
                    return answer.status, answer.read()
                except (http.client.HTTPException, OSError) as problem:
                    if self._connection is not None:
                        self._connection.close()
                        self._connection = None
                    if fresh or attempt == 2:
                        raise FakeLLMError(
                            f"the fake LLM at {self.base} does not answer: {problem!r}",
                            remedy="look at its log; `realstack doctor` shows what runs.",
                        ) from problem
            raise AssertionError("unreachable")

    def _connected(self) -> http.client.HTTPConnection:
        if self._connection is None:
            kind = http.client.HTTPSConnection if self._endpoint.scheme == "https" else http.client.HTTPConnection
            self._connection = kind(self._endpoint.host, self._endpoint.port, timeout=ANSWER_WITHIN_S)
        return self._connection

    def close(self) -> None:
        """End the connection."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None
