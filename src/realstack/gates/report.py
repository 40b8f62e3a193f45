"""What a run of gates comes to: the value that every renderer takes. No I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from realstack.gates.finding import Finding


@dataclass(frozen=True, slots=True)
class Report:
    """The findings of all gates, sorted, and what they looked at.

    ``gates`` are those that ran, ``checked`` how many items each looked at, ``took_s`` how long each took. ``items``
    names what was looked at, by gate, as ``Finding.path`` would. A gate may be missing from the last three.
    """

    findings: tuple[Finding, ...] = ()
    gates: tuple[str, ...] = ()
    checked: Mapping[str, int] = field(default_factory=dict)
    took_s: Mapping[str, float] = field(default_factory=dict)
    items: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "findings", tuple(sorted(self.findings)))

    @property
    def every_gate(self) -> tuple[str, ...]:
        """The gates that ran in their order, then such as only a finding names."""
        return tuple(dict.fromkeys((*self.gates, *sorted(each.gate for each in self.findings))))

    def of_gate(self, gate: str) -> tuple[Finding, ...]:
        """Its findings."""
        return tuple(each for each in self.findings if each.gate == gate)


def by_rule(findings: tuple[Finding, ...]) -> dict[str, int]:
    """How many each rule has, in the order of their names; rules without findings are left out."""
    return dict(sorted(Counter(each.rule for each in findings).items()))
