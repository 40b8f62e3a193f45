"""What became of an import, as a finding, where the interpreter is older than the one that looks."""

from __future__ import annotations

from pathlib import Path

from realstack.gates.imports.causes import Known, findings_of
from realstack.gates.imports.verdicts import Verdict
from realstack.gates.project import Module, Project

CART = Module("shop.cart", Path("/shop/cart.py"), "shop/cart.py")
KNOWN = Known(Project(Path("/"), (Path("/"),), (CART,)), lambda _: None)


def test_a_name_error_of_a_python_that_gives_it_no_name_is_told_by_its_words() -> None:
    verdict = Verdict(
        CART.name,
        "raised",
        type="NameError",
        kinds=("NameError", "Exception"),
        message="name 'Decimal' is not defined",
        frames=((str(CART.path), 2, "<module>", CART.name),),
    )
    (found,) = findings_of([verdict], KNOWN)
    assert (found.rule, found.line, found.symbol) == ("undefined-name", 2, "shop.cart:Decimal")
