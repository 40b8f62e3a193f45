"""What a waiting person sees while an environment starts: a live list on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import sys
from types import TracebackType

from realstack.running import Event


class Progress:
    """Shows events. On a terminal as a list with a spinner; in CI and pipes nothing but the failures' own words."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._live = None
        self._lines: list[str] = []
        if not quiet and sys.stderr.isatty() and not os.environ.get("CI"):
            from rich.console import Console
            from rich.status import Status

            self._live = Status("starting …", console=Console(stderr=True))

    def __enter__(self) -> Progress:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def hear(self, event: Event) -> None:
        """Show ``event``."""
        if self._live is None:
            return
        who = f"{event.service} " if event.service else ""
        self._lines.append(f"{event.after_s:5.2f} s  {event.stage:7} {who}{event.text}")
        from rich.text import Text

        self._live.console.print(Text(self._lines[-1], style="dim"))
        self._live.update(Text(f"{event.stage} …"))
