"""Exit codes by name. Every command uses these and no others, but `run`, which passes its command's own on."""

FINE = 0
FAILED = 1
"""There are findings, or what was asked for is not so."""
COULD_NOT_RUN = 2
"""Bad input, or something that is needed is missing."""
INTERRUPTED = 130
"""Ctrl-C, as a shell reports it (128 + SIGINT)."""
