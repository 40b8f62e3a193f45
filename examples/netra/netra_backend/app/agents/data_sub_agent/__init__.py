"""Data: answers questions about an organisation's usage from its own rows."""

from netra_backend.app.agents.data_sub_agent.agent import DataSubAgent

__all__ = ["DataSubAgent"]
