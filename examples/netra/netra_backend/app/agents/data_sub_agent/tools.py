"""The tools that the model may use: parametrised SQL over one organisation's usage.

The organisation is never an argument of a tool: it is the asking user's, whatever the model writes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from openai.types.chat import ChatCompletionToolParam
from pydantic import ValidationError

from netra_backend.app.agents.data_sub_agent.models import ToolRun, UsageByDay, UsageByFeature
from netra_backend.app.database import Database
from netra_backend.app.llm.chat import ToolRequest

USAGE_BY_DAY = """
    SELECT to_char(occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD') AS day, sum(units)::bigint AS units
    FROM usage_events
    WHERE organisation_id = $1
      AND occurred_at >= ($2::date)::timestamp AT TIME ZONE 'UTC'
      AND occurred_at < ($3::date + 1)::timestamp AT TIME ZONE 'UTC'
      AND ($4::text IS NULL OR feature = $4)
    GROUP BY day ORDER BY day
"""

USAGE_BY_FEATURE = """
    SELECT feature, sum(units)::bigint AS units, count(DISTINCT user_id) AS users
    FROM usage_events
    WHERE organisation_id = $1
      AND occurred_at >= ($2::date)::timestamp AT TIME ZONE 'UTC'
      AND occurred_at < ($3::date + 1)::timestamp AT TIME ZONE 'UTC'
    GROUP BY feature ORDER BY units DESC, feature
"""

Tool = Callable[[Database, str, str], Awaitable[list[dict[str, Any]]]]


async def usage_by_day(db: Database, organisation_id: str, arguments: str) -> list[dict[str, Any]]:
    """Units per day: ``[{"day": "2024-08-01", "units": 12}, …]``; days without usage are left out."""
    asked = UsageByDay.model_validate_json(arguments)
    rows = await db.fetch(USAGE_BY_DAY, organisation_id, asked.since, asked.until, asked.feature)
    return [dict(row) for row in rows]


async def usage_by_feature(db: Database, organisation_id: str, arguments: str) -> list[dict[str, Any]]:
    """Units and users per feature, the most used first."""
    asked = UsageByFeature.model_validate_json(arguments)
    rows = await db.fetch(USAGE_BY_FEATURE, organisation_id, asked.since, asked.until)
    return [dict(row) for row in rows]


TOOLS: dict[str, Tool] = {"usage_by_day": usage_by_day, "usage_by_feature": usage_by_feature}


async def run_tool(db: Database, organisation_id: str, request: ToolRequest) -> ToolRun:
    """Run what the model asked for; what it asked for wrongly comes back as an error that it can read."""
    tool = TOOLS.get(request.name)
    if tool is None:
        result: dict[str, Any] = {"error": f"there is no tool {request.name!r}; there are {sorted(TOOLS)}"}
        return ToolRun(request.name, request.arguments, result)
    try:
        result = {"rows": await tool(db, organisation_id, request.arguments)}
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}".strip(": ") for one in error.errors()]
        result = {"error": "; ".join(problems)}
    return ToolRun(request.name, request.arguments, result)


_DAY = {"type": "string", "description": "a day as YYYY-MM-DD, UTC"}

DECLARATIONS: list[ChatCompletionToolParam] = [
    {
        "type": "function",
        "function": {
            "name": "usage_by_day",
            "description": "Units used per day from since to until, both included, of one feature or all.",
            "strict": True,
            "parameters": {
                "type": "object",
                "properties": {"since": _DAY, "until": _DAY, "feature": {"type": ["string", "null"]}},
                "required": ["since", "until", "feature"],
                "additionalProperties": False,
            },
        },
    },
    {
        "type": "function",
        "function": {
            "name": "usage_by_feature",
            "description": "Units used and number of users per feature from since to until, both included.",
            "strict": True,
            "parameters": {
                "type": "object",
                "properties": {"since": _DAY, "until": _DAY},
                "required": ["since", "until"],
                "additionalProperties": False,
            },
        },
    },
]
