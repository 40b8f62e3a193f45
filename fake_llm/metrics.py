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
    "gen_ai_client_token_usage": "Tokens of calls, input and output.",
    "gen_ai_server_request_duration_seconds": "From a request to the end of its answer.",
    "gen_ai_server_time_to_first_token_seconds": "From a request to the first byte of its answer.",
    "gen_ai_server_time_per_output_token_seconds": "After the first, for each token of output.",
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


class Series:
    """The histograms of the calls that have the same labels. One that has counted nothing is not shown."""

    def __init__(self, labels: Labels) -> None:
        self.duration = Histogram(SECONDS)
        self.first_token = Histogram(SECONDS)
        self.each_token = Histogram(SECONDS)
        self.input, self.output = Histogram(TOKENS), Histogram(TOKENS)
        self.shown: tuple[tuple[str, Labels, Histogram], ...] = (
            ("gen_ai_client_token_usage", (*labels, ("gen_ai_token_type", "input")), self.input),
            ("gen_ai_client_token_usage", (*labels, ("gen_ai_token_type", "output")), self.output),
            ("gen_ai_server_request_duration_seconds", labels, self.duration),
            ("gen_ai_server_time_to_first_token_seconds", labels, self.first_token),
            ("gen_ai_server_time_per_output_token_seconds", labels, self.each_token),
        )


class Metrics:
    """Of one server, all sessions together."""

    def __init__(self) -> None:
        self._models: set[str] = set()
        self._series: dict[tuple[str, str, str, str], Series] = {}

    def record(self, entry: Entry, provider: str) -> None:
        """Count a call that is over."""
        series = self._series_of(entry, provider)
        series.duration.observe(entry.duration_ms / 1_000)
        reply = entry.reply
        if reply is None or entry.first_byte_ms is None:
            return
        series.first_token.observe(entry.first_byte_ms / 1_000)
        usage = reply.usage
        if usage is None:
            return
        if usage.input_tokens:
            series.input.observe(usage.input_tokens)
        if usage.output_tokens:
            series.output.observe(usage.output_tokens)
        if usage.output_tokens > 1:
            rest_s = (entry.duration_ms - entry.first_byte_ms) / 1_000
            series.each_token.observe(rest_s / (usage.output_tokens - 1))

    def text(self) -> bytes:
        """Everything, as Prometheus reads it."""
        lines: list[str] = []
        shown = [one for series in self._series.values() for one in series.shown]
        for name, said in _HELP.items():
            lines += [f"# HELP {name} {said}", f"# TYPE {name} histogram"]
            for of, labels, histogram in shown:
                if of == name and any(histogram.counts):
                    lines += _lines(name, labels, histogram)
        return ("\n".join(lines) + "\n").encode()

    def _series_of(self, entry: Entry, provider: str) -> Series:
        model = entry.turn.model[:MAX_NAME] if entry.turn is not None else ""
        if model not in self._models:
            model = model if len(self._models) < MAX_MODELS else "other"
            self._models.add(model)
        operation = _OPERATIONS.get(entry.dialect, "chat")
        error = str(entry.status) if entry.status >= 400 else "" if entry.outcome == "sent" else entry.outcome
        key = (operation, provider, model, error)
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = Series(_labels(*key))
        return series


def _labels(operation: str, provider: str, model: str, error: str) -> Labels:
    labels = (
        ("gen_ai_operation_name", operation),
        ("gen_ai_provider_name", _PROVIDERS.get(provider, provider)),
        ("gen_ai_request_model", model),
    )
    return (*labels, ("error_type", error)) if error else labels


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
