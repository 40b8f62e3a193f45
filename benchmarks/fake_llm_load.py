"""The client of the fake LLM's benchmark, in a process of its own: bare sockets, so that its own cost is small.

    python -m benchmarks.fake_llm_load flood  PORT KEY --seconds S | --requests N  [--stream] [--mixed]
    python -m benchmarks.fake_llm_load paced  PORT KEY --streams N --delay S --within S

Prints one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import time
from functools import partial
from typing import Any, cast

PATH = "/v1/chat/completions"
MODEL = "gpt-5"
END = b"0\r\n\r\n"
PIECES = [f"word{place:07d} " for place in range(47)]
"""The reply: with the chunks before and after it and the end mark a stream of 50 events, and a body of about 1 KB."""
TEXT = "".join(PIECES).strip()


def request(key: str, *, stream: bool, prompt: str = TEXT) -> bytes:
    """A chat completion request with its head."""
    asked: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": prompt}]}
    body = json.dumps({**asked, "stream": True} if stream else asked).encode()
    head = (
        f"POST {PATH} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {key}\r\naccept: application/json\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def answer(reader: asyncio.StreamReader) -> tuple[int, bytes, bytes]:
    """One response of a connection that is kept: status, head and body, a chunked one as it is on the wire."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        (int(line.partition(b":")[2]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")),
        None,
    )
    body = await (reader.readexactly(length) if length is not None else reader.readuntil(b"\r\n" + END))
    return int(head[9:12]), head, body


class Flood:
    """Requests one after the other on a few connections."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.sent = self.failed = 0
        self.ends = time.perf_counter() + options.seconds if options.seconds else float("inf")
        self.most = options.requests or float("inf")

    async def run(self) -> dict[str, Any]:
        """Until the time is over, or as many were sent."""
        began = time.perf_counter()
        await asyncio.gather(*(self._connection() for _ in range(self.options.connections)))
        took = time.perf_counter() - began
        return {"requests": self.sent, "failed": self.failed, "seconds": took}

    async def _connection(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.options.port, limit=1 << 20)
        while time.perf_counter() < self.ends and self.sent < self.most:
            self.sent += 1
            writer.write(self._next())
            status, _, _ = await answer(reader)
            self.failed += status != 200
        writer.close()

    def _next(self) -> bytes:
        """No two are the same; ``mixed``: every other is a stream."""
        stream = self.sent % 2 == 0 if self.options.mixed else self.options.stream
        return request(self.options.key, stream=stream, prompt=f"{self.sent} {TEXT}")


class Paced(asyncio.Protocol):
    """One stream: when each of its events came, and whether it came to its end."""

    def __init__(self, key: str, over: asyncio.Future[None]) -> None:
        self.key, self.over = key, over
        self.times: list[float] = []
        self.whole = False
        self._last = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask."""
        self.transport = cast("asyncio.Transport", transport)
        self.transport.write(request(self.key, stream=True))

    def data_received(self, data: bytes) -> None:
        """Note the time of each event that came."""
        self.times += [time.perf_counter()] * data.count(b"data: ")
        self._last = (self._last + data)[-30:]
        if self._last.endswith(END):
            self.whole = b"[DONE]" in self._last
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over, well or not."""
        if not self.over.done():
            self.over.set_result(None)


async def paced(options: argparse.Namespace) -> dict[str, Any]:
    """Begin ``streams`` streams within ``within`` seconds, and wait for all of them."""
    loop = asyncio.get_running_loop()
    found: list[Paced] = []
    began = loop.time()
    for place in range(options.streams):
        await asyncio.sleep(began + place * options.within / options.streams - loop.time())
        new = partial(Paced, options.key, loop.create_future())
        _, one = await loop.create_connection(new, "127.0.0.1", options.port)
        found.append(one)
    begun = loop.time() - began
    await asyncio.wait([one.over for one in found], timeout=60)
    gaps = [after - before for one in found for before, after in zip(one.times, one.times[1:], strict=False)]
    errors = sorted(abs(gap - options.delay) for gap in gaps) or [float("nan")]
    return {
        "begun_in_s": begun,
        "whole": sum(one.whole for one in found),
        "events": sum(len(one.times) for one in found),
        "lasted_s": sum(one.times[-1] - one.times[0] for one in found if one.times) / len(found),
        "p50_ms": 1_000 * errors[len(errors) // 2],
        "p99_ms": 1_000 * errors[int(len(errors) * 0.99)],
        "worst_ms": 1_000 * errors[-1],
    }


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["flood", "paced"])
    parser.add_argument("port", type=int)
    parser.add_argument("key")
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--requests", type=int)
    parser.add_argument("--stream", action="store_true")
    parser.add_argument("--mixed", action="store_true")
    parser.add_argument("--streams", type=int, default=1_000)
    parser.add_argument("--delay", type=float, default=0.1)
    parser.add_argument("--within", type=float, default=1.0)
    options = parser.parse_args()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    work = paced(options) if options.what == "paced" else Flood(options).run()
    try:
        import uvloop
    except ImportError:
        print(json.dumps(asyncio.run(work)))
    else:
        print(json.dumps(uvloop.run(work)))


if __name__ == "__main__":
    main()
