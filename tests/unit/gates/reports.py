"""Reports that the renderers are tried with."""

from __future__ import annotations

from dataclasses import replace

from realstack.gates.finding import Finding
from realstack.gates.report import Report

PLAIN = Finding(
    path="src/shop/orders.py",
    line=12,
    gate="imports",
    rule="missing-name",
    symbol="shop.orders.Total",
    says="`shop.money` has no name `Total`.",
    fix="Import what it has, or define it there.",
)
SECOND = replace(PLAIN, line=40, symbol="shop.orders.Tax", says="`shop.money` has no name `Tax`.", fix="")
WHOLE_FILE = replace(PLAIN, path="src/shop/cart.py", line=0, rule="syntax-error", symbol="shop.cart", says="No Python.")
REPORT = Report(
    findings=(SECOND, PLAIN, WHOLE_FILE),
    gates=("imports", "routes"),
    checked={"imports": 412, "routes": 7},
    took_s={"imports": 1.234, "routes": 0.5},
)

MARKUP = "[bold]no[/bold] [/] [link=http://there]here[/link] :boom: {0} [a](http://there)"
XML = "<a b='c'> & \"d\" ]]> <!-- é"
CONTROL = "\x1b[31mred\x00\x08\x7f\x9b \u202eback\u2066 \ufffe \udc80"
LINES = "one\ntwo\r\n::error::three\rfour%0A, five: 100% 🙂\tsix"
LONG = "word " * 2000 + "w" * 5000
PATHS = (
    "src/a b,c:d%20.py",
    "src/größe/日本 🙂.py",
    "src/[bold]/<x>&'\".py",
    "src/\x1b[2J\n::error::x.py",
    "src/\udc80.py",
)
SAYS = (MARKUP, XML, CONTROL, LINES, LONG)
HOSTILE = Report(
    findings=tuple(replace(PLAIN, path=path, says=says, fix=says) for path in PATHS for says in SAYS),
    gates=("imports",),
    checked={"imports": len(PATHS)},
)


def of(*findings: Finding) -> Report:
    """One gate's report."""
    return Report(findings, gates=("imports",))
