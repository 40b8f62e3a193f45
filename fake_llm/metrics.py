"""Metrics by OpenTelemetry's names for generative AI, in Prometheus' text format."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field

from fake_llm.journal import Entry

MAX_MODELS = 100
"""Models that are told apart; all later ones are ``other``. A client may name any."""
MAX_NAME = 100
"""Characters of a model's name that are shown."""

TOKENS = tuple(float(4**power) for power in range(14))
SECONDS = (0.001, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"

_PROVIDERS = {"gemini": "gcp.gemini"}
_OPERATIONS = {
    "gemini": "generate_content",
    "openai_embeddings": "embeddings",
    "openai_completions": "text_completion",
    "openai_moderations": "moderation",
}
_HELP = {
    "gen_ai_client_token_usage": ("Tokens of calls, input and output.", TOKENS),
    "gen_ai_server_request_duration_seconds": ("From a request to the end of its answer.", SECONDS),
    "gen_ai_server_time_to_first_token_seconds": ("From a request to the first byte of its answer.", SECONDS),
    "gen_ai_server_time_per_output_token_seconds": ("After the first, for each token of output.", SECONDS),
}

Labels = tuple[tuple[str, str], ...]


@dataclass(slots=True)
class Histogram:
    """Counts in buckets; the last is without bound."""

    bounds: tuple[float, ...]
    counts: list[int] = field(default_factory=list)
    total: float = 0.0

    def __post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)

    def observe(self, value: float) -> None:
        """Count ``value``."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class Metrics:
    """Of one server, all sessions together."""

    def __init__(self) -> None:
        self._models: set[str] = set()
        self._found: dict[str, dict[Labels, Histogram]] = {name: {} for name in _HELP}

    def record(self, entry: Entry, provider: str) -> None:
        """Count a call that is over."""
        labels = self._labels(entry, provider)
        self._observe("gen_ai_server_request_duration_seconds", labels, entry.duration_ms / 1_000)
        reply = entry.reply
        if reply is None or entry.first_byte_ms is None:
            return
        self._observe("gen_ai_server_time_to_first_token_seconds", labels, entry.first_byte_ms / 1_000)
        usage = reply.usage
        if usage is None:
            return
        for kind, count in (("input", usage.input_tokens), ("output", usage.output_tokens)):
            if count:
                self._observe("gen_ai_client_token_usage", (*labels, ("gen_ai_token_type", kind)), count)
        if usage.output_tokens > 1:
            rest_s = (entry.duration_ms - entry.first_byte_ms) / 1_000
            self._observe("gen_ai_server_time_per_output_token_seconds", labels, rest_s / (usage.output_tokens - 1))

    def text(self) -> bytes:
        """Everything, as Prometheus reads it."""
        lines: list[str] = []
        for name, by_labels in self._found.items():
            lines += [f"# HELP {name} {_HELP[name][0]}", f"# TYPE {name} histogram"]
            for labels, histogram in by_labels.items():
                lines += _lines(name, labels, histogram)
        return ("\n".join(lines) + "\n").encode()

    def _labels(self, entry: Entry, provider: str) -> Labels:
        model = entry.turn.model[:MAX_NAME] if entry.turn is not None else ""
        if model not in self._models:
            model = model if len(self._models) < MAX_MODELS else "other"
            self._models.add(model)
        labels = (
            ("gen_ai_operation_name", _OPERATIONS.get(entry.dialect, "chat")),
            ("gen_ai_provider_name", _PROVIDERS.get(provider, provider)),
            ("gen_ai_request_model", model),
        )
        error = str(entry.status) if entry.status >= 400 else "" if entry.outcome == "sent" else entry.outcome
        return (*labels, ("error_type", error)) if error else labels

    def _observe(self, name: str, labels: Labels, value: float) -> None:
        by_labels = self._found[name]
        histogram = by_labels.get(labels)
        if histogram is None:
            histogram = by_labels[labels] = Histogram(_HELP[name][1])
        histogram.observe(value)


def _lines(name: str, labels: Labels, histogram: Histogram) -> Iterable[str]:
    shown = ",".join(f'{key}="{_escaped(value)}"' for key, value in labels)
    so_far = 0
    for bound, count in zip((*histogram.bounds, None), histogram.counts, strict=True):
        so_far += count
        yield f'{name}_bucket{{{shown},le="{"+Inf" if bound is None else f"{bound:g}"}"}} {so_far}'
    yield f"{name}_sum{{{shown}}} {histogram.total:.9g}"
    yield f"{name}_count{{{shown}}} {so_far}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
