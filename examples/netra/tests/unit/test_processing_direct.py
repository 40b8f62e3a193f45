"""The triage processor, imported and used directly."""

from __future__ import annotations

import pytest
from pydantic import ValidationError


def test_triage_processor_direct_instantiation() -> None:
    """Test that TriageProcessor can be instantiated and used."""
    from netra_backend.app.agents.triage_sub_agent.processing import TriageProcessor

    processor = TriageProcessor()
    assert processor is not None

    # Test basic method call (even with dummy data)
    result = processor.format_response({"severity": "high", "category": "performance", "summary": "test"})
    assert result is not None
    assert result == {
        "id": None,
        "severity": "high",
        "category": "performance",
        "priority": "P2",
        "summary": "test",
        "degraded": False,
        "cached": False,
    }


def test_a_verdict_without_summary_gets_the_beginning_of_the_message() -> None:
    from netra_backend.app.agents.triage_sub_agent.processing import TriageProcessor

    response = TriageProcessor().format_response({"severity": "low", "category": "data"}, message="a\n b" + "c" * 200)
    assert response["summary"].startswith("a bccc")
    assert response["summary"].endswith("…")
    assert len(response["summary"]) == 160


def test_a_verdict_that_is_none_is_not_formatted() -> None:
    from netra_backend.app.agents.triage_sub_agent.processing import TriageProcessor

    with pytest.raises(ValidationError):
        TriageProcessor().format_response({"severity": "apocalyptic", "category": "performance"})


@pytest.mark.parametrize(
    "text",
    [
        '{"severity": "high", "category": "performance", "summary": "slow"}',
        '{"severity": " HIGH ", "category": "Performance", "summary": " slow ", "mood": "grim"}',
        '```json\n{"severity": "high", "category": "performance", "summary": "slow"}\n```',
    ],
)
def test_a_verdict_is_read_from_what_models_write(text: str) -> None:
    from netra_backend.app.agents.triage_sub_agent.processing import TriageProcessor

    verdict = TriageProcessor().parse_reply(text)
    assert (verdict.severity, verdict.category, verdict.summary) == ("high", "performance", "slow")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "the reply: Invalid JSON"),
        ("Sorry, I cannot.", "the reply: Invalid JSON"),
        ('{"severity": "apocalyptic", "category": "data"}', "severity: Input should be"),
        ('{"severity": "low"}', "category: Field required"),
        ('{"severity": 3, "category": "data"}', "severity: Input should be"),
        ("[]", "the reply: Input should be an object"),
    ],
)
def test_nonsense_is_refused_with_what_is_wrong(text: str, problem: str) -> None:
    from netra_backend.app.agents.triage_sub_agent.processing import TriageProcessor, UnusableReply

    with pytest.raises(UnusableReply) as caught:
        TriageProcessor().parse_reply(text)
    assert caught.value.problem.startswith(problem)


def test_the_fallback_neither_alarms_nor_dismisses() -> None:
    from netra_backend.app.agents.triage_sub_agent.processing import TriageProcessor

    verdict = TriageProcessor().fallback("System\nis slow")
    assert verdict.model_dump() == {"severity": "medium", "category": "other", "summary": "System is slow"}
