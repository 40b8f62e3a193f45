"""Text of the project, made fit to be shown: what a format cannot carry is written as an escape."""

from __future__ import annotations

import re

LONE_SURROGATES = re.compile(r"[\ud800-\udfff]")
"""What stands in a path for bytes that are no UTF-8. No encoding takes them."""


def escaped(text: str, unfit: re.Pattern[str]) -> str:
    """``text`` with each character that is ``unfit`` written as a Python string would, such as ``\\x1b``."""
    return unfit.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)
