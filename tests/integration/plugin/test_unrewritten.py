"""pytest rewrites the tests, and not realstack."""

from __future__ import annotations

from tests.integration.plugin.conftest import Project


def test_realstacks_modules_are_imported_as_they_are(project: Project) -> None:
    project.write(
        "test_loaders.py",
        """
import sys

def loader(name):
    return type(sys.modules[name].__spec__.loader).__name__

def test_loaders():
    import realstack.handles.per_loop
    ours = [name for name in sys.modules if name.startswith("realstack.handles")]
    assert {loader(name) for name in ours} == {"SourceFileLoader"}, ours
    assert loader(__name__) == "AssertionRewritingHook"
""",
    )
    project.run().assert_outcomes(passed=1)
