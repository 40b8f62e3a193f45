"""What Redis does for the agents: answers kept for a while, and switches that operators may flip.

Redis is an aid, not a source of truth: when it is away, nothing is cached, every switch is on, and the
agents go on working. Each such loss is logged.
"""

from __future__ import annotations

import hashlib
import json
import logging
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

log = logging.getLogger(__name__)

FLAGS_KEY = "netra:flags"
"""A hash: the name of a feature -> ``on`` or ``off``."""


def open_redis(url: str) -> Redis:
    """A client that connects at first use; whoever opens it closes it (``aclose``).

    It tries a command twice, for a connection that the server dropped while idle, and not ten times as
    redis-py would: requests do not wait for an aid.
    """
    return Redis.from_url(url, socket_connect_timeout=2, socket_timeout=5, retry=Retry(NoBackoff(), 1))


async def feature_enabled(redis: Redis, name: str) -> bool:
    """Whether the switch ``name`` is on; a switch that nobody set is on."""
    try:
        value = await redis.hget(FLAGS_KEY, name)
    except RedisError as error:
        log.warning("flag %s could not be read, taken as on: %s", name, error)
        return True
    return value not in (b"off", "off")


class AnswerCache:
    """JSON answers by what they answer, each forgotten ``ttl_s`` seconds after it was put."""

    def __init__(self, redis: Redis, *, prefix: str, ttl_s: int) -> None:
        self._redis = redis
        self._prefix = prefix
        self._ttl_s = ttl_s

    def key(self, user_id: str, *parts: str) -> str:
        """The Redis key of an answer for one user: readable up to the user, hashed after it."""
        digest = hashlib.sha256("\x00".join(parts).encode()).hexdigest()
        return f"{self._prefix}:{user_id}:{digest}"

    async def get(self, key: str) -> dict[str, Any] | None:
        """The answer under ``key``, or None if there is none that can be read."""
        try:
            raw = await self._redis.get(key)
        except RedisError as error:
            log.warning("cache not read: %s", error)
            return None
        if raw is None:
            return None
        try:
            answer = json.loads(raw)
        except ValueError:
            log.warning("cache entry %s is not JSON, ignored", key)
            return None
        return answer if isinstance(answer, dict) else None

    async def put(self, key: str, answer: dict[str, Any]) -> None:
        """Keep ``answer`` under ``key`` for the cache's time to live."""
        try:
            await self._redis.set(key, json.dumps(answer), ex=self._ttl_s)
        except RedisError as error:
            log.warning("answer not cached: %s", error)
