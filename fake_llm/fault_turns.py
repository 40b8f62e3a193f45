"""Whose turn it is to misbehave: the faults that a session was switched to, or that requests ask for, counted."""

from __future__ import annotations

from collections import OrderedDict
from hashlib import blake2b

from fake_llm.model import Fault, ProtocolError

FAULT_HEADER = "x-fake-llm-fault"
MAX_IDS = 1_000
"""Ids of requests' faults that are counted; the least recently used are dropped."""


class FaultTurns:
    """One session's faults beside those of its scenarios.

    A fault with a ``rate`` strikes calls by the session's ``seed``, by where the fault stands, and by how many calls it
    was up for before: the same calls in the same order are struck in every run.
    """

    def __init__(self) -> None:
        self.seed = 0
        self.switched: Fault | None = None
        self.times: int | None = None
        self._struck: OrderedDict[str, int] = OrderedDict()
        self._up_for: dict[str, int] = {}

    def reset(self) -> None:
        """No fault is switched on, and nothing was counted. The seed stays."""
        self.switched = self.times = None
        self._struck.clear()
        self._up_for.clear()

    def switch(self, fault: Fault | None, times: int | None) -> None:
        """Give the next ``times`` calls that it strikes (None: all) this fault."""
        self.switched, self.times = fault, times
        self._up_for.pop("switch", None)

    def switched_for_this_call(self) -> Fault | None:
        """The switched fault, counted down."""
        fault = self.switched
        if fault is None or not self.strikes(fault, "switch"):
            return None
        if self.times is not None:
            self.times -= 1
            if self.times <= 0:
                self.switched = self.times = None
        return fault

    def asked_for(self, header: str) -> Fault | None:
        """The fault of a request with this header, or None where it has struck as often as it was to.

        :raises ProtocolError: the header is malformed.
        """
        from fake_llm.written_faults import read_header  # noqa: PLC0415 - pydantic, only where a request asks for it

        try:
            fault_id, fault, times = read_header(header)
        except ValueError as error:
            raise ProtocolError(f"The header {FAULT_HEADER} is malformed: {error}", code="bad_fault_header") from error
        struck = self._struck.setdefault(fault_id, 0)
        self._struck.move_to_end(fault_id)
        if len(self._struck) > MAX_IDS:
            self._up_for.pop(f"header {self._struck.popitem(last=False)[0]}", None)
        if (times is not None and struck >= times) or not self.strikes(fault, f"header {fault_id}"):
            return None
        self._struck[fault_id] = struck + 1
        return fault

    def strikes(self, fault: Fault, source: str) -> bool:
        """Whether ``fault`` strikes this call of ``source``."""
        if fault.rate >= 1:
            return True
        calls = self._up_for.get(source, 0)
        self._up_for[source] = calls + 1
        return share(f"{self.seed} {source} {calls}") < fault.rate


def share(of: str) -> float:
    """A number from 0 up to 1 that is the same for the same text, and spread evenly over texts."""
    return int.from_bytes(blake2b(of.encode(), digest_size=7).digest()) / (1 << 56)
