"""A rule may be allowed at one place, with a reason: ``# realstack: allow[rule] because …`` in a comment there.

An allowance that gives no reason, or that nothing needs any more, is a finding itself. Pure: who calls reads the files.
"""

from __future__ import annotations

import difflib
import io
import re
import sys
import tokenize
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field

from realstack.gates.finding import RULES, SHARED, Finding

_MARK = b"realstack:"
_ALLOWS = re.compile(r"(?<!\S)#+\s*realstack:\s*allow(?P<file>-file)?(?![\w-])\s*(?:\[(?P<rules>[^]]*)\])?")
_REASON = re.compile(r"\s*because\b(?P<reason>.*)", re.IGNORECASE)
_NEXT_COMMENT = re.compile(r"\s#+\s*(?=[^\W\d])")  # another tool's, on the same line; `#12` is part of a reason
_LAYOUT = {tokenize.NL, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


@dataclass(frozen=True, slots=True)
class Allowance:
    """One comment that allows ``rules`` in ``lines`` of ``path``. ``line`` is its own, ``reason`` empty if it has none.

    ``for_file``: it says ``allow-file``, and holds for line 0 too; it has no lines where it stands too low for that.
    """

    path: str
    line: int
    rules: tuple[str, ...]
    reason: str
    lines: range
    for_file: bool = False

    def covers(self, finding: Finding) -> bool:
        """Whether it allows ``finding``. Without a reason it allows nothing; findings about allowances stay, too."""
        return (
            bool(self.reason)
            and finding.gate != SHARED
            and finding.rule in self.rules
            and finding.line in self.lines
            and finding.path == self.path
        )


def allowances_of(source: bytes, path: str) -> list[Allowance]:
    """The allowances in a file, in its order; none if it cannot be decoded or split into tokens.

    Behind code, a comment holds for its line; in a simple statement of several lines, for all of them. Alone on its
    line, it holds for the statement that follows: of a block's statement the header, with its decorators.
    """
    if _MARK not in source:
        return []
    try:
        layout = _layout(source)
    except (SyntaxError, tokenize.TokenError, ValueError, LookupError):
        return []
    return [
        _allowance(path, comment.line, match, comment.text[match.end() :], layout.lines(comment, bool(match["file"])))
        for comment in layout.comments
        for match in _ALLOWS.finditer(comment.text)
    ]


def apply(
    findings: Iterable[Finding],
    sources: Callable[[str], bytes | None],
    *,
    gates_run: Collection[str],
    paths: Iterable[str],
) -> list[Finding]:
    """The findings that no allowance covers, and those about the allowances themselves, sorted.

    ``sources`` gives what is in a file, or None if it cannot be read; it is asked once for a file. ``paths`` are the
    files that were checked: allowances elsewhere hold, but are not judged, since not all may have been found there.
    """
    found: defaultdict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        found[finding.path].append(finding)
    checked = set(paths)
    remaining: list[Finding] = []
    for path in checked | found.keys():
        source, here = sources(path), found.get(path, [])
        allowances = [] if source is None else allowances_of(source, path)
        remaining += [finding for finding in here if not any(each.covers(finding) for each in allowances)]
        if path in checked:
            remaining += [wrong for each in allowances for wrong in _judged(each, here, gates_run)]
    return sorted(remaining)


@dataclass(frozen=True, slots=True)
class _Comment:
    """``statement`` counts the one that it is in, or that follows; ``alone``: no code before it on its line."""

    line: int
    text: str
    statement: int
    inside: bool
    alone: bool


@dataclass(frozen=True, slots=True)
class _Statement:
    """A logical line, by the lines on which its tokens begin and its last one ends; of a block, it is the header."""

    lines: tuple[int, ...]
    is_decorator: bool
    opens_block: bool

    def all_lines(self) -> range:
        return range(self.lines[0], self.lines[-1] + 1)


@dataclass(frozen=True, slots=True)
class _Layout:
    statements: list[_Statement] = field(default_factory=list)
    comments: list[_Comment] = field(default_factory=list)

    def end_statement(self, code: list[tokenize.TokenInfo]) -> None:
        """Add the statement of these tokens, if there are any, and empty ``code``."""
        if code:
            lines = {*(token.start[0] for token in code), code[-1].end[0]}
            self.statements.append(_Statement(tuple(sorted(lines)), code[0].string == "@", code[-1].string == ":"))
            code.clear()

    def lines(self, comment: _Comment, for_file: bool) -> range:
        """Where ``comment`` holds."""
        if for_file:
            leads = comment.statement == 0 and not comment.inside
            return range(sys.maxsize) if leads else range(0)
        if not comment.inside:
            return self._headers(comment.statement)
        statement = self.statements[comment.statement]
        if not statement.opens_block:
            return statement.all_lines()
        line = comment.line
        if comment.alone:
            line = min((later for later in statement.lines if later > line), default=line)
        return range(line, line + 1)

    def _headers(self, index: int) -> range:
        """The lines of that statement; of decorators, up to the end of what they decorate."""
        last = index
        while last < len(self.statements) and self.statements[last].is_decorator:
            last += 1
        if last >= len(self.statements):
            return range(0)
        return range(self.statements[index].lines[0], self.statements[last].lines[-1] + 1)


def _layout(source: bytes) -> _Layout:
    """The statements and comments of a file.

    :raises SyntaxError, TokenError, ValueError, LookupError: it is no Python, or not in the encoding that it claims.
    """
    encoding, _ = tokenize.detect_encoding(io.BytesIO(source).readline)
    text = io.TextIOWrapper(io.BytesIO(source), encoding)
    layout, code = _Layout(), list[tokenize.TokenInfo]()
    for token in tokenize.generate_tokens(text.readline):
        line = token.start[0]
        if token.type == tokenize.COMMENT:
            alone = not code or code[-1].end[0] != line
            layout.comments.append(_Comment(line, token.string, len(layout.statements), bool(code), alone))
        elif token.type == tokenize.NEWLINE:
            layout.end_statement(code)
        elif token.type == tokenize.ERRORTOKEN and {"'", '"'} & set(token.string):
            raise SyntaxError("a string without an end")  # before Python 3.12 what follows it is taken for code
        elif token.type not in _LAYOUT:
            code.append(token)
    layout.end_statement(code)  # no NEWLINE is told behind a continued last line that holds a comment alone
    return layout


def _allowance(path: str, line: int, match: re.Match[str], behind: str, lines: range) -> Allowance:
    names = (name.strip() for name in (match["rules"] or "").split(","))
    reason = _REASON.match(_NEXT_COMMENT.split(behind, maxsplit=1)[0])
    words = reason["reason"].strip(" \t:,") if reason else ""
    return Allowance(
        path=path,
        line=line,
        rules=tuple(dict.fromkeys(name for name in names if name)),
        reason=words if re.search(r"\w", words) else "",
        lines=lines,
        for_file=bool(match["file"]),
    )


def _judged(allowance: Allowance, found: list[Finding], gates_run: Collection[str]) -> Iterator[Finding]:
    """What is wrong with an allowance, given all findings in its file."""
    if not allowance.rules:
        yield _unused(allowance, "", "The allowance names no rule.", "name it: `allow[rule] because …`.")
    elif not allowance.reason:
        named = ", ".join(allowance.rules)
        yield Finding(
            path=allowance.path,
            line=allowance.line,
            gate=SHARED,
            rule="allowance-without-reason",
            symbol=named,
            says=f"The allowance of {named} gives no reason, and allows nothing.",
            fix="write `because` and the reason behind the bracket, or take the allowance out.",
        )
    elif not allowance.lines and allowance.for_file:
        yield _unused(
            allowance,
            ", ".join(allowance.rules),
            "`allow-file` stands below the file's first statement, where it allows nothing.",
            "move it above the first statement and the docstring, or write `allow` at the place itself.",
        )
    else:
        used = {finding.rule for finding in found if allowance.covers(finding)}
        for rule in allowance.rules:
            if rule not in used:
                yield from _judged_rule(allowance, rule, gates_run)


def _judged_rule(allowance: Allowance, rule: str, gates_run: Collection[str]) -> Iterator[Finding]:
    """What is wrong with ``rule`` in an allowance, if it covered no finding."""
    if rule not in RULES:
        allowed = [name for name, known in RULES.items() if known.gate != SHARED]
        near = difflib.get_close_matches(rule, allowed, n=1)
        fix = f"write `{near[0]}`, or take it out." if near else "take it out."
        yield _unused(allowance, rule, f"The allowance names {rule!r}, which is no rule.", fix)
    elif RULES[rule].gate == SHARED:
        yield _unused(allowance, rule, f"The rule {rule} cannot be allowed.", "take it out.")
    elif RULES[rule].gate in gates_run:
        where = "in this file" if allowance.for_file else "at this place"
        yield _unused(allowance, rule, f"The allowance of {rule} has nothing {where} to allow.", "take it out.")


def _unused(allowance: Allowance, symbol: str, says: str, fix: str) -> Finding:
    return Finding(allowance.path, allowance.line, SHARED, "allowance-unused", symbol, says, fix)
