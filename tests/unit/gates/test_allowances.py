"""Where a comment allows a rule."""

from __future__ import annotations

import textwrap
import tokenize

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realstack.gates.allowances import Allowance, allowances_of
from realstack.gates.finding import RULES, Finding

HERE = "# realstack: allow[missing-name] because it is made at import"
FILE = "# realstack: allow-file[missing-name] because it is made at import"


def finding(line: int, rule: str = "missing-name", path: str = "a.py") -> Finding:
    return Finding(path, line, RULES[rule].gate, rule, "a.b", "It is not there.")


def parsed(text: str) -> list[Allowance]:
    return allowances_of(textwrap.dedent(text).encode(), "a.py")


def allowed(text: str) -> set[int]:
    """The lines from 0 on in which the one allowance of a file covers a finding."""
    [allowance] = parsed(text)
    return {line for line in range(30) if allowance.covers(finding(line))}


def test_behind_code_it_holds_for_its_line_alone() -> None:
    assert allowed(f"import a\nfrom a import b  {HERE}\nimport c\n") == {2}


def test_alone_on_its_line_it_holds_for_the_next_line_with_code() -> None:
    assert allowed(f"import a\n{HERE}\n\n# more\n\nfrom a import b\nimport c\n") == {6}


def test_a_comment_that_nothing_follows_holds_nowhere() -> None:
    assert allowed(f"import a\n{HERE}") == set()


def test_from_within_a_block_it_holds_for_what_follows_the_block() -> None:
    assert allowed(f"if a:\n    b()\n    {HERE}\nc()\n") == {4}


@pytest.mark.parametrize("line", [1, 2, 3])
def test_behind_any_line_of_a_simple_statement_it_holds_for_the_whole_statement(line: int) -> None:
    lines = ["import c", "from a import (", "    b,", ")", "import d"]
    lines[line] += f"  {HERE}"
    assert allowed("\n".join(lines)) == {2, 3, 4}


def test_alone_within_a_simple_statement_it_holds_for_the_whole_statement() -> None:
    assert allowed(f"from a import (\n    b,\n    {HERE}\n    c,\n)\nimport d\n") == {1, 2, 3, 4, 5}


def test_above_a_statement_of_several_lines_it_holds_for_all_of_them() -> None:
    assert allowed(f'{HERE}\nx = a + \\\n    b + """\n\n"""\ny = 1\n') == {2, 3, 4, 5}


def test_behind_a_text_of_several_lines_it_is_no_comment_that_stands_alone() -> None:
    assert allowed(f'x = """\n"""  {HERE}\ny = 1\n') == {1, 2}
    assert allowed(f'if x("""\n"""  {HERE}\n):\n    y = 1\n') == {2}


def test_above_decorators_it_holds_for_them_and_the_header_but_not_the_body() -> None:
    text = f"""\
    {HERE}
    @a
    @b(
        c,
    )

    # why
    async def d(
        e: int,
    ) -> None:
        f()
    """
    assert allowed(text) == set(range(2, 11))


def test_decorators_are_known_where_a_block_begins_or_ends() -> None:
    assert allowed(f"class C:\n    {HERE}\n    @a\n    def b(self): ...\n") == {3, 4}
    assert allowed(f"class C:\n    a = 1\n    {HERE}\n@a\ndef b(): ...\n") == {4, 5}


def test_between_decorators_it_holds_from_there_to_the_header() -> None:
    assert allowed(f"@a\n{HERE}\n@b\nclass C:\n    d = 1\n") == {3, 4}


def test_decorators_of_nothing_are_allowed_nothing() -> None:
    assert allowed(f"{HERE}\n@a\n") == set()


@pytest.mark.parametrize(
    ("place", "covered"), [("above", {2, 3, 4, 5}), ("header", {1}), ("behind", {2}), ("alone", {3}), ("last", {4})]
)
def test_in_the_header_of_a_block_it_holds_for_its_line_and_above_it_for_all(place: str, covered: set[int]) -> None:
    lines = {
        "above": [HERE, "def f(", "    a: int,", "    b: int,", ") -> None:", "    c()"],
        "header": [f"def f(  {HERE}", "    a: int,", "    b: int,", ") -> None:", "    c()"],
        "behind": ["def f(", f"    a: int,  {HERE}", "    b: int,", ") -> None:", "    c()"],
        "alone": ["def f(", f"    {HERE}", "    b: int,", ") -> None:", "    c()"],
        "last": ["def f(", "    a: int,", "    b: int,", f") -> None:  {HERE}", "    c()"],
    }[place]
    assert allowed("\n".join(lines)) == covered


@pytest.mark.parametrize("before", ["", "#!/usr/bin/env python\n# -*- coding: utf-8 -*-\n\n# Ours.\n\n"])
def test_above_all_code_an_allowance_may_hold_for_the_file_and_line_0(before: str) -> None:
    assert allowed(f'{before}{FILE}\n"""Text."""\nimport a\n') == set(range(30))


@pytest.mark.parametrize("text", [f'"""Text."""\n{FILE}\n', f"import a  {FILE}\n", f"(\n{FILE}\n)\n"])
def test_below_code_or_docstring_it_holds_nowhere(text: str) -> None:
    assert allowed(text) == set()


@pytest.mark.parametrize(
    ("comment", "rules", "reason"),
    [
        ("# realstack: allow[a-b] because it is so", ("a-b",), "it is so"),
        ("#realstack:allow [ a-b ,c,, a-b ]  Because: it is so.", ("a-b", "c"), "it is so."),
        ("# noqa: E501  # realstack: allow[a] because of #12  # noqa", ("a",), "of #12"),
        ("# realstack: allow[a]", ("a",), ""),
        ("# realstack: allow[a] it is so", ("a",), ""),
        ("# realstack: allow[a] because …", ("a",), ""),
        ("# realstack: allow[a] because  # noqa: E501", ("a",), ""),
        ("# realstack: allow[a because it is so", (), ""),
        ("# realstack: allow because it is so", (), "it is so"),
    ],
)
def test_rules_and_reason_are_read(comment: str, rules: tuple[str, ...], reason: str) -> None:
    [allowance] = parsed(f"x = 1  {comment}\n")
    assert (allowance.rules, allowance.reason) == (rules, reason)


def test_one_comment_may_hold_two_allowances() -> None:
    found = parsed("x = 1  # realstack: allow[a] because b # realstack: allow[c] because d\n")
    assert [(each.rules, each.reason) for each in found] == [(("a",), "b"), (("c",), "d")]


@pytest.mark.parametrize(
    "text",
    [
        f"x = '{HERE}'\n",
        f'"""\n{HERE}\n"""\n',
        f"# such as `{HERE}`\n",
        "# realstack: allowances are comments\n",
        "# realstack: allow-line[missing-name] because of it\n",
        "# Realstack: allow[missing-name] because of it\n",
    ],
)
def test_what_is_no_comment_of_that_form_is_no_allowance(text: str) -> None:
    assert parsed(text) == []


@pytest.mark.parametrize(
    "source",
    [
        f"x = (  {HERE}\n".encode(),
        f"x = 'a  {HERE}\n".encode(),
        f"if a:\n        b\n    c  {HERE}\n".encode(),
        f"x = 'ä'  {HERE}\n".encode("latin-1"),
        f"\n\nx = 'ä'  {HERE}\n".encode("latin-1"),
        f"# coding: nonsense\nx = 1  {HERE}\n".encode(),
        f"# coding: rot13\nx = 1  {HERE}\n".encode(),
    ],
)
def test_a_file_that_cannot_be_split_into_tokens_has_no_allowance(source: bytes) -> None:
    assert allowances_of(source, "a.py") == []


@pytest.mark.parametrize(
    "source",
    [
        f"# coding: latin-1\nä = 'ä'  {HERE}, ä\n".encode("latin-1"),
        f"\ufeff\nä = 'ä'  {HERE}, ä\n".encode(),
        f"\rä = 'ä'  {HERE}, ä\r".encode(),
    ],
    ids=["declared", "mark", "carriage returns"],
)
def test_a_file_is_read_as_python_reads_it(source: bytes) -> None:
    [allowance] = allowances_of(source, "a.py")
    assert (allowance.line, allowance.lines, allowance.reason) == (2, range(2, 3), "it is made at import, ä")


PIECES = ["\n", "    ", "x", "'", '"""', "(", ")", ":", "@", "\\\n", "if ", "é", "\0", "\f", "$", HERE, FILE]


@settings(deadline=None)
@given(st.lists(st.sampled_from(PIECES)).map(lambda pieces: "".join([*pieces, HERE])))
def test_no_text_makes_it_fail(text: str) -> None:
    for allowance in allowances_of(text.encode(), "a.py"):
        assert 1 <= allowance.line <= text.count("\n") + 1


def test_a_comment_behind_a_continued_last_line_belongs_to_it() -> None:
    assert allowed(f"x = 1 \\\n{HERE}") == {1}


def test_an_allowance_covers_nothing_in_another_file() -> None:
    [allowance] = parsed(FILE)
    assert allowance.covers(finding(1))
    assert not allowance.covers(finding(1, path="b.py"))


def test_a_file_without_the_word_is_not_split_into_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenize, "generate_tokens", lambda _: pytest.fail("it was split"))
    assert parsed("import a  # realstack\n") == []
    with pytest.raises(pytest.fail.Exception):
        parsed(HERE)
