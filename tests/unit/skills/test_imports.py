from __future__ import annotations

import subprocess
import sys

HEAVY = ("mcp", "mcp_types", "jsonschema", "psutil", "sqlalchemy", "anthropic", "openai", "textual")


def test_an_expert_without_mcp_skills_never_pays_for_them() -> None:
    code = (
        "import sys, perstack.skills.opener\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
