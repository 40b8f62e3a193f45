"""Figures, measured side by side with peers. Each module is one command."""
