"""What remains of findings where some are allowed, and what is said of comments that allow nothing."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection, Mapping

import pytest

from realstack.gates.allowances import apply
from realstack.gates.finding import RULES, SHARED, Finding

HERE = "# realstack: allow[missing-name] because it is made at import"
FILE = "# realstack: allow-file[missing-name] because it is made at import"


def finding(line: int, rule: str = "missing-name", path: str = "a.py") -> Finding:
    return Finding(path, line, RULES[rule].gate, rule, "a.b", "It is not there.")


def told(
    text: str, *findings: Finding, gates_run: Collection[str] = ("imports",), paths: Collection[str] = ("a.py",)
) -> list[Finding]:
    """What remains where a.py is that text."""
    return apply(findings, {"a.py": text.encode()}.get, gates_run=gates_run, paths=paths)


@pytest.mark.parametrize("text", [f'"""Text."""\n{FILE}\n', f"import a  {FILE}\n", f"(\n{FILE}\n)\n"])
def test_below_code_or_docstring_an_allowance_for_the_file_is_told(text: str) -> None:
    kept, wrong = sorted(told(text, finding(0)), key=lambda each: each.gate, reverse=True)
    assert kept == finding(0)
    assert (wrong.rule, "below the file's first statement" in wrong.says) == ("allowance-unused", True)


def test_a_file_that_cannot_be_split_into_tokens_is_no_finding() -> None:
    assert told(f"x = (  {HERE}\n", finding(1)) == [finding(1)]


def test_only_findings_that_are_covered_go() -> None:
    text = f"from a import b  {HERE}\nfrom a import c\n"
    others = [finding(1, "missing-module"), finding(1, path="b.py"), finding(2)]
    assert told(text, finding(1), *others) == sorted(others)


def test_several_rules_are_allowed_by_one_comment() -> None:
    text = "import a  # realstack: allow[missing-name, missing-module] because it is made\n"
    assert told(text, finding(1), finding(1, "missing-module")) == []


def test_without_a_reason_nothing_is_allowed_and_that_is_a_finding() -> None:
    kept, wrong = sorted(
        told("import a  # realstack: allow[missing-name]\n", finding(1)), key=lambda each: each.gate, reverse=True
    )
    assert kept == finding(1)
    assert (wrong.path, wrong.line, wrong.gate) == ("a.py", 1, SHARED)
    assert (wrong.rule, wrong.symbol) == ("allowance-without-reason", "missing-name")


def test_an_allowance_of_what_is_not_found_is_a_finding_in_files_without_any_too() -> None:
    [wrong] = told(f"import a\n{HERE}\nimport b\n")
    assert (wrong.path, wrong.line, wrong.gate) == ("a.py", 2, SHARED)
    assert (wrong.rule, wrong.symbol) == ("allowance-unused", "missing-name")


def test_an_allowance_that_nothing_follows_is_not_needed() -> None:
    assert [wrong.says for wrong in told(HERE)] == ["The allowance of missing-name has nothing at this place to allow."]


def test_of_several_rules_those_that_are_not_needed_are_told() -> None:
    text = "import a  # realstack: allow[missing-name, missing-module] because it is made\n"
    assert [wrong.symbol for wrong in told(text, finding(1))] == ["missing-module"]


def test_two_allowances_of_one_finding_are_both_needed() -> None:
    assert told(f"{FILE}\nfrom a import b  {HERE}\n", finding(2)) == []


def test_an_allowance_of_a_gate_that_did_not_run_is_not_judged() -> None:
    assert told(f"import a  {HERE}\n", gates_run=["other"]) == []


@pytest.mark.parametrize(
    ("rule", "says", "fix"),
    [
        ("mising_name", "'mising_name', which is no rule", "write `missing-name`, or take it out."),
        ("qqqq", "'qqqq', which is no rule", "take it out."),
        ("allowance-unusd", "'allowance-unusd', which is no rule", "take it out."),
        ("allowance-unused", "allowance-unused cannot be allowed", "take it out."),
        ("", "names no rule", "name it: `allow[rule] because …`."),
    ],
)
def test_a_rule_that_is_none_or_may_not_be_allowed_is_told_whatever_ran(rule: str, says: str, fix: str) -> None:
    [wrong] = told(f"import a  # realstack: allow[{rule}] because of it\n", gates_run=[])
    assert (wrong.rule, wrong.symbol, wrong.fix) == ("allowance-unused", rule, fix)
    assert says in wrong.says


def test_findings_about_allowances_cannot_be_allowed() -> None:
    before = finding(1, "allowance-unused")
    remaining = told("import a  # realstack: allow[allowance-unused] because of it\n", before)
    assert before in remaining
    assert len(remaining) == 2


def test_in_a_file_that_was_not_checked_allowances_hold_but_are_not_judged() -> None:
    assert told(f"from a import b  {HERE}\nimport c  {HERE}\n", finding(1), paths=[]) == []


def test_findings_in_a_file_that_cannot_be_read_remain() -> None:
    assert told("", finding(0, path="gone.py"), paths=["gone.py"]) == [finding(0, path="gone.py")]


def test_each_file_is_read_once() -> None:
    reads: Counter[str] = Counter()

    def source(path: str) -> bytes:
        reads[path] += 1
        return HERE.encode()

    findings = [finding(line, path=path) for line in (1, 2) for path in ("a.py", "b.py")]
    apply(findings, source, gates_run=["imports"], paths=["b.py", "b.py", "c.py"])
    assert reads == {"a.py": 1, "b.py": 1, "c.py": 1}


def test_what_remains_is_sorted_whatever_came_first() -> None:
    sources: Mapping[str, bytes] = {f"{name}.py": f"import x\nimport y  {HERE}\n".encode() for name in "abc"}
    findings = [finding(line, path=path) for path in sources for line in (1, 3)]
    random.shuffle(findings)
    remaining = apply(findings, sources.get, gates_run=["imports"], paths=reversed(list(sources)))
    assert remaining == sorted(remaining)
    assert [(each.path, each.line) for each in remaining] == [(path, line) for path in sources for line in (1, 2, 3)]
