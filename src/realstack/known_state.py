"""The known state of a run's services, and what is lent at it for as long as an environment is up."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from realstack import registry
from realstack.config import Settings
from realstack.model import FAKE_LLM, POSTGRES, REDIS, Endpoint
from realstack.running import Environment
from realstack.services.fake_llm_files import ScenarioFile, hand_over, read_scenario_files, renew_default_session

if TYPE_CHECKING:
    from realstack.state.template import Template

IN_PLACE = ("reset", "transaction", "readonly")
"""The modes of isolation whose template can be reset in place."""


def scenario_files(settings: Settings) -> tuple[ScenarioFile, ...]:
    """What every session of the fake LLM starts with: the settings' files, or those of the compose file's x-realstack.

    The latter's paths start at the compose file.

    :raises SettingsError: a file is not there, or cannot be read.
    """
    paths = settings.scenarios
    if not paths:
        given = next((spec.extra.get("scenarios") for spec in settings.specs if spec.kind == FAKE_LLM), None) or ()
        listed: Sequence[object] = given if isinstance(given, list | tuple) else (given,)
        paths = tuple(settings.compose.path.parent / str(path) for path in listed)
    return read_scenario_files(paths, settings.root)


async def known_template(settings: Settings, endpoint: Endpoint) -> tuple[Template, str]:
    """The template of the settings' mode of isolation, and why ``reset`` gives clones on this server, if it does.

    Modes that a marker asks for make theirs when asked.
    """
    from realstack.state.template import prepare_template, why_not_in_place

    only_clones = await why_not_in_place(endpoint) or ""
    in_place = settings.isolation in IN_PLACE and not (settings.isolation == "reset" and only_clones)
    return await prepare_template(endpoint, settings.postgres, in_place=in_place), only_clones


@asynccontextmanager
async def standing(environment: Environment) -> AsyncIterator[dict[str, Endpoint]]:
    """What is lent for as long as the environment is up."""
    from realstack.state.clones import Databases
    from realstack.state.redis_leases import STANDING
    from realstack.state.redis_state import RedisState

    lent: dict[str, Endpoint] = {}
    async with AsyncExitStack() as stack:
        run_id = environment.run.run_id
        if environment.template is not None:
            databases = Databases(environment.endpoint(POSTGRES), environment.template, "up", run_id)
            stack.push_async_callback(databases.close)
            lent[POSTGRES] = await databases.lend()
        if REDIS in environment.endpoints:
            redis = RedisState(environment.endpoint(REDIS), environment.settings.redis, STANDING, run_id)
            stack.push_async_callback(redis.close)
            lent[REDIS] = await redis.lend()
        yield lent


async def reset_standing(settings: Settings, record: registry.Record) -> None:
    """Bring what an environment lends while it is up back to the known state of ``settings``, from any process.

    :raises RealstackError: a service does not answer, or the known state cannot be built.
    """
    from realstack.state.clones import restore
    from realstack.state.redis_state import restore_redis

    if POSTGRES in record.standing:
        template, _ = await known_template(settings, record.endpoints[POSTGRES])
        await restore(record.standing[POSTGRES], template)
    if REDIS in record.standing:
        await restore_redis(record.standing[REDIS], settings.redis)
    for name, endpoint in record.endpoints.items():
        if endpoint.kind == FAKE_LLM and record.choices[name].value != "external":
            await hand_over(endpoint, scenario_files(settings))
            await renew_default_session(endpoint)
