"""Triage: how bad is it, what kind of problem is it, and what is it in one sentence."""

from netra_backend.app.agents.triage_sub_agent.agent import TriageSubAgent

__all__ = ["TriageSubAgent"]
