"""The agents. Each takes ``db``, ``redis`` and ``llm_config`` and answers ``await agent.process({...})``."""
