"""Every rule has its page, and every page its rule."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from realstack.gates.finding import RULES, SHARED, Rule

PAGES = Path(__file__).parents[3] / "docs" / "rules"


def test_each_rule_has_a_page_and_each_page_a_rule() -> None:
    assert {page.stem for page in PAGES.glob("*.md")} == set(RULES)


@pytest.mark.parametrize("name", RULES)
def test_a_page_has_its_rules_name_a_bad_and_a_good_example(name: str) -> None:
    text = (PAGES / f"{name}.md").read_text(encoding="utf-8")
    assert re.match(rf"# {name}\n\w.+\n\n## Bad\n(?s:.+)\n## Good\n.", text)


@pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: rule.name)
def test_a_rule_is_of_a_gate_or_of_all(rule: Rule) -> None:
    assert rule.gate in {"imports", SHARED}
