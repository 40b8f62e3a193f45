"""A bare ASGI application on the fake LLM's server: reads a request and sends fixed bytes. What any server must cost.

    python -m benchmarks.fake_llm_bare FILE

FILE is JSON: ``whole`` and ``stream``, each with ``headers`` (pairs of texts) and ``body`` (a text).
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any, cast

from fake_llm.app import App
from fake_llm.server import listen, serve


class Bare:
    """Answers a request whose body asks for a stream with one of the two answers, any other with the other."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self._whole, self._stream = (self._prepared(answers[name]) for name in ("whole", "stream"))

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request."""
        body = b""
        while True:
            event = await receive()
            body += event.get("body", b"")
            if not event.get("more_body"):
                break
        start, answer = self._stream if b'"stream": true' in body else self._whole
        await send(start)
        await send(answer)

    def warm_up(self) -> asyncio.Future[None]:
        """There is nothing to import later."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    @staticmethod
    def _prepared(answer: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer["headers"]]
        start = {"type": "http.response.start", "status": 200, "headers": headers}
        return start, {"type": "http.response.body", "body": answer["body"].encode()}


if __name__ == "__main__":
    serve(cast("App", Bare(json.loads(Path(sys.argv[1]).read_text()))), listen("127.0.0.1", 0))
