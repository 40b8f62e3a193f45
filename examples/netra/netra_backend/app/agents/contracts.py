"""What every agent is asked, and how an agent presents itself."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class AgentContext(BaseModel):
    """On whose behalf an agent works."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    user_id: str = Field(min_length=1, max_length=200)


class AgentRequest(BaseModel):
    """One request to one agent: a message in plain words, and who sent it."""

    model_config = ConfigDict(frozen=True, str_strip_whitespace=True)

    message: str = Field(min_length=1, max_length=8000)
    context: AgentContext


class AgentCard(BaseModel):
    """An agent as ``GET /agents`` lists it."""

    name: str
    description: str
    path: str
