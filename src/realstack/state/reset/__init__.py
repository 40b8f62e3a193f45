"""Reset in place: what a test wrote is undone inside its database, while the application stays connected."""

from realstack.state.reset.in_place import EndedSession, InPlace, ResetReport
from realstack.state.reset.install import cannot_install, install

__all__ = ["EndedSession", "InPlace", "ResetReport", "cannot_install", "install"]
