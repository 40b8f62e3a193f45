"""The Netra backend: agents that triage problem reports and answer questions about usage."""

__version__ = "0.1.0"
