"""An endpoint per agent, and the list of them."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from netra_backend.app.agents.contracts import AgentCard, AgentRequest
from netra_backend.app.agents.data_sub_agent.agent import CARD as DATA_CARD
from netra_backend.app.agents.data_sub_agent.models import AnswerDelta, AnswerDone, DataResponse
from netra_backend.app.agents.triage_sub_agent.agent import CARD as TRIAGE_CARD
from netra_backend.app.agents.triage_sub_agent.models import TriageResponse
from netra_backend.app.api.backend import CurrentBackend
from netra_backend.app.api.problems import DESCRIBABLE, ProblemBody, problem_of

PROBLEMS: dict[int | str, dict[str, object]] = {status: {"model": ProblemBody} for status in (403, 404, 502, 503, 504)}

router = APIRouter(prefix="/agents", tags=["agents"])


@router.get("")
async def list_agents() -> list[AgentCard]:
    """Every agent of this service."""
    return [TRIAGE_CARD, DATA_CARD]


@router.post("/triage", responses=PROBLEMS)
async def triage(request: AgentRequest, backend: CurrentBackend) -> TriageResponse:
    """Judge a problem report."""
    return TriageResponse.model_validate(await backend.triage.process(request.model_dump()))


@router.post("/data", responses=PROBLEMS)
async def data(request: AgentRequest, backend: CurrentBackend) -> DataResponse:
    """Answer a question about usage."""
    return DataResponse.model_validate(await backend.data.process(request.model_dump()))


@router.post("/data/stream", response_class=StreamingResponse, responses=PROBLEMS)
async def data_stream(request: AgentRequest, backend: CurrentBackend) -> StreamingResponse:
    """Answer a question about usage as server-sent events: ``delta``…, then ``done`` or ``error``.

    What goes wrong before the first event is an ordinary HTTP error; after it, an ``error`` event.
    """
    events = backend.data.stream(request.model_dump())
    first = await anext(events)
    return StreamingResponse(_server_sent(first, events), media_type="text/event-stream")


async def _server_sent(
    first: AnswerDelta | AnswerDone, rest: AsyncGenerator[AnswerDelta | AnswerDone]
) -> AsyncIterator[str]:
    yield _event(first)
    try:
        async with aclosing(rest):
            async for event in rest:
                yield _event(event)
    except DESCRIBABLE as error:
        yield f"event: error\ndata: {problem_of(error).model_dump_json()}\n\n"


def _event(event: AnswerDelta | AnswerDone) -> str:
    if isinstance(event, AnswerDelta):
        return f"event: delta\ndata: {json.dumps({'text': event.text})}\n\n"
    return f"event: done\ndata: {event.response.model_dump_json()}\n\n"
