"""The application put together. ``uvicorn netra_backend.app.main:app`` serves it.

Importing this module opens nothing and reads no environment variable: both happen when the server starts.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from fastapi import FastAPI

import netra_backend
from netra_backend.app.agents.data_sub_agent import DataSubAgent
from netra_backend.app.agents.triage_sub_agent import TriageSubAgent
from netra_backend.app.api import agents, health, problems
from netra_backend.app.api.backend import Backend
from netra_backend.app.cache import open_redis
from netra_backend.app.database import open_pool
from netra_backend.app.llm.chat import open_client
from netra_backend.app.settings import Settings


def create_app(settings: Settings | None = None) -> FastAPI:
    """An application for ``settings``; without them, for the environment as it is when the server starts."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_backend(settings or Settings.from_environ(os.environ)) as backend:
            app.state.backend = backend
            yield

    app = FastAPI(title="Netra", version=netra_backend.__version__, lifespan=lifespan)
    app.include_router(health.router)
    app.include_router(agents.router)
    problems.install(app)
    return app


@asynccontextmanager
async def open_backend(settings: Settings) -> AsyncIterator[Backend]:
    """Everything that requests need, open until the block ends.

    Needs no server to be up: ``/health/ready`` says when they are.
    """
    async with AsyncExitStack() as stack:
        db = await stack.enter_async_context(open_pool(settings.database_url))
        redis = open_redis(settings.redis_url)
        stack.push_async_callback(redis.aclose)
        client = await stack.enter_async_context(open_client(settings.llm))
        yield Backend(
            db=db,
            redis=redis,
            triage=TriageSubAgent(
                db=db,
                redis=redis,
                llm_config=settings.llm,
                llm_client=client,
                cache_ttl_s=settings.triage_cache_ttl_s,
            ),
            data=DataSubAgent(db=db, redis=redis, llm_config=settings.llm, llm_client=client),
        )


app = create_app()
