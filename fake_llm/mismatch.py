"""Why scenarios do not match a request: what each of their tests expected, and what it found. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from fake_llm.model import Json, Turn
from fake_llm.redaction import is_secret
from fake_llm.scenario import MISSING, JsonMatch, Match, Scenario, TextMatch, at_path

NEAREST = 3
SHOWN = 100
"""Characters of a value that are shown."""


@dataclass(frozen=True, slots=True)
class Failed:
    """A test that failed; ``found`` is None where there was nothing."""

    test: str
    expected: str
    found: Json

    def __str__(self) -> str:
        return f"{self.test} should {self.expected} and is {_shown(self.found)}"


def failed_tests(match: Match, turn: Turn, headers: Mapping[str, str]) -> list[Failed]:
    """Every test of ``match`` that fails, in the order in which they are written."""
    return [*_of_words(match, turn), *_of_form(match, turn), *_of_headers(match, headers), *_of_body(match, turn)]


def nearest(
    scenarios: Sequence[tuple[Scenario, int]], turn: Turn, headers: Mapping[str, str], state: str = ""
) -> list[str]:
    """A sentence for each of the scenarios that failed the fewest tests; beside each how often it has answered.

    ``state`` is the session's.
    """
    found: list[tuple[int, str]] = []
    for scenario, used in scenarios:
        failed = failed_tests(scenario.match, turn, headers)
        if scenario.match.states and state not in scenario.match.states:
            failed.append(Failed("state", f"be {' or '.join(scenario.match.states)}", state))
        reasons = [str(one) for one in failed]
        if scenario.answer(used) is None:
            reasons.append(f"it has answered {used} time{'s' * (used != 1)}, and does so no more")
        if reasons:
            found.append((len(reasons), f"{scenario.name}: {', '.join(reasons)}"))
    return [sentence for _, sentence in sorted(found, key=lambda one: one[0])[:NEAREST]]


def _of_words(match: Match, turn: Turn) -> Iterator[Failed]:
    for name, test, text in (
        ("user", match.user, turn.user),
        ("system", match.system, turn.system),
        ("conversation", match.conversation, turn.conversation),
    ):
        if test is not None and not test(text):
            yield Failed(name, _wanted(test), text)
    if match.tool_result is not None and not any(match.tool_result(result.text) for result in turn.tool_results):
        results = [result.text for result in turn.tool_results]
        yield Failed("tool_result", _wanted(match.tool_result), results[0] if len(results) == 1 else results or None)


def _of_form(match: Match, turn: Turn) -> Iterator[Failed]:
    if not match.has_attachments_of(turn):
        yield Failed("attachments", f"be {match.attachments}", turn.attachments)
    if match.model is not None and not fnmatchcase(turn.model, match.model):
        yield Failed("model", f"be like {match.model!r}", turn.model)
    if turn.dialect not in match.dialects and (match.dialects or turn.computed):
        yield Failed("dialect", f"be {' or '.join(match.dialects) or 'named'}", turn.dialect)
    if match.turn is not None and turn.number != match.turn:
        yield Failed("turn", f"be {match.turn}", turn.number)
    if match.stream not in (None, turn.stream):
        yield Failed("stream", f"be {match.stream}", turn.stream)
    offered = [tool.name for tool in turn.tools]
    if not set(offered).issuperset(match.tools):
        yield Failed("tools", f"have {', '.join(name for name in match.tools if name not in offered)}", offered)


def _of_headers(match: Match, headers: Mapping[str, str]) -> Iterator[Failed]:
    for name, test in match.headers.items():
        found = headers.get(name)
        if found is None or not test(found):
            shown = "(a secret)" if found is not None and is_secret(name) else found
            yield Failed(f"header {name}", _wanted(test), shown)


def _of_body(match: Match, turn: Turn) -> Iterator[Failed]:
    for test in match.json:
        if not test(turn.raw):
            found = at_path(turn.raw, test.path)
            yield Failed(f"json {test.path}", _wanted_json(test), None if found is MISSING else found)


def _wanted(test: TextMatch) -> str:
    wanted = [
        f"{verb} {_short(repr(text))}"
        for verb, text in (
            ("contain", test.contains),
            ("equal", test.equals),
            ("match", None if test.regex is None else test.regex.pattern),
        )
        if text is not None
    ]
    return " and ".join(wanted)


def _wanted_json(test: JsonMatch) -> str:
    return _wanted(test.text) if test.text is not None else f"be {_shown(test.value)}"


def _shown(value: Json) -> str:
    return "not there" if value is None else _short(repr(value))


def _short(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}… ({len(text)} characters)"
