"""What can go wrong in the backend's own terms; ``api.problems`` says which HTTP answer each becomes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar


class NetraError(Exception):
    """Base of the errors that callers are meant to tell apart; ``code`` is stable and safe to show."""

    code: ClassVar[str] = "error"


class SettingsMissing(NetraError):
    """The environment lacks variables without which the backend cannot start."""

    code = "settings_missing"

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        super().__init__(f"set {', '.join(self.names)} in the environment")


class UnknownUser(NetraError):
    """The request names a user that does not exist."""

    code = "unknown_user"

    def __init__(self, user_id: str) -> None:
        self.user_id = user_id
        super().__init__(f"there is no user {user_id!r}")


class UserSuspended(NetraError):
    """The request names a user whose account is switched off."""

    code = "user_suspended"

    def __init__(self, user_id: str) -> None:
        self.user_id = user_id
        super().__init__(f"the account of user {user_id!r} is suspended")


class LLMError(NetraError):
    """Base of what can go wrong between the backend and the model."""

    code = "llm_error"


class LLMUnavailable(LLMError):
    """The model's server could not be reached, or kept failing through all retries."""

    code = "llm_unavailable"


class LLMRateLimited(LLMUnavailable):
    """The model's server still refused with 429 after the last retry.

    ``retry_after_s`` is how long it asked us to stay away, if it said so.
    """

    code = "llm_rate_limited"

    def __init__(self, retry_after_s: float | None = None) -> None:
        self.retry_after_s = retry_after_s
        super().__init__("the language model is over its rate limit")


class LLMTimeout(LLMError):
    """The model did not answer in time."""

    code = "llm_timeout"


class LLMInterrupted(LLMError):
    """The model's stream ended before its answer was complete."""

    code = "llm_interrupted"


class LLMRejected(LLMError):
    """The model's server refused our request as such: a wrong key, an unknown model, a bad parameter."""

    code = "llm_rejected"


class AgentSwitchedOff(NetraError):
    """An operator switched this agent off."""

    code = "agent_switched_off"

    def __init__(self, agent: str) -> None:
        self.agent = agent
        super().__init__(f"the {agent} agent is switched off")
