"""The fixtures' services without fixtures: for a test that takes no arguments, or for a script."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from realstack import handles
from realstack.handles.database import Database
from realstack.handles.llm import FakeLLM, LLMConfig
from realstack.handles.redis import RedisDatabase
from realstack.model import FAKE_LLM
from realstack.services.fake_llm import DEFAULT_SESSION

if TYPE_CHECKING:
    from realstack.handles.session import Session


@asynccontextmanager
async def get_test_db() -> AsyncIterator[Database]:
    """A database at the known state, as an asyncpg pool.

    Inside a pytest test it is that test's database: the same one at every call and in the ``real_db``
    fixture, ended with the test. Elsewhere it is a fresh one that ends with the block.

    :raises RealstackError: the environment cannot be had; the sentence says why and what to do.
    """
    session = await asyncio.to_thread(handles.current)
    if handles.in_test():
        yield await asyncio.to_thread(session.test.database)
        return
    database = await asyncio.to_thread(session.lend_database)
    try:
        yield database
    finally:
        await asyncio.to_thread(database.shut)
        await asyncio.to_thread(session.take_back_database, database)


@asynccontextmanager
async def get_test_redis() -> AsyncIterator[RedisDatabase]:
    """A logical Redis database at its seed. Inside a pytest test it is that test's, as with :func:`get_test_db`.

    :raises RealstackError: the environment cannot be had.
    """
    session = await asyncio.to_thread(handles.current)
    if handles.in_test():
        redis = await asyncio.to_thread(session.test.redis)
        try:
            yield redis
        finally:
            await redis.aclose(close_connection_pool=True)
        return
    redis = await asyncio.to_thread(session.lend_redis)
    try:
        yield redis
    finally:
        await redis.aclose(close_connection_pool=True)
        await asyncio.to_thread(session.take_back_redis, redis)


def get_test_llm_config(dialect: str = "openai") -> LLMConfig:
    """How a client of that provider's SDK reaches the fake LLM: inside a pytest test, that test's session of it.

    ``dialect`` is ``openai``, ``anthropic`` or ``gemini``. May block while the environment starts.

    :raises RealstackError: the environment cannot be had.
    """
    return _llm(handles.current()).config(dialect)


def _llm(session: Session) -> FakeLLM:
    if handles.in_test():
        return session.test.llm()
    return FakeLLM(session.environment.endpoint(FAKE_LLM), DEFAULT_SESSION)
