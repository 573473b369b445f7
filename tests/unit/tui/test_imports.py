"""What the cockpit may import, and when."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("anthropic", "openai", "mcp", "sqlalchemy", "jsonschema", "watchfiles", "httpx2")


def loaded_by(statement: str) -> set[str]:
    code = f"import sys\n{statement}\nprint('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_app_loads_no_vendor_or_storage_before_its_first_paint() -> None:
    assert not loaded_by("import perstack_tui.app") & set(HEAVY)


def test_state_loads_no_toolkit() -> None:
    names = (
        "agents",
        "bars",
        "cockpit",
        "definitions",
        "grace",
        "inbox",
        "index",
        "layout",
        "order",
        "pump",
        "review",
        "stream",
        "timeline",
        "tree",
        "wording",
    )
    statement = "import " + ", ".join(f"perstack_tui.state.{name}" for name in names)
    assert "textual" not in loaded_by(statement)


def test_the_entry_point_loads_no_toolkit_until_it_is_called() -> None:
    assert "textual" not in loaded_by("import perstack_tui.cli")
