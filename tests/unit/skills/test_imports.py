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


LISTED = """
import sys, anyio
from pathlib import Path
from perstack.domain.expert import Expert, McpHttpSkill, McpStdioSkill
from perstack.domain.ids import ExpertKey, JobId, RunId
from perstack.ports.skills import RunContext, ToolSpec
from perstack.skills.opener import Skills

class Lock:
    def tools_of(self, skill_name):
        return [ToolSpec(skill_name, "search", "", {"type": "object"})]

async def main():
    near = McpStdioSkill(command="no-such-command", args=("x",))
    far = McpHttpSkill(endpoint="https://mcp.example/mcp")
    expert = Expert(
        key=ExpertKey("e"), name="e", instruction="e", skills={"near": near, "far": far}
    )
    context = RunContext(
        job_id=JobId("j"), run_id=RunId("r"), workspace=Path.cwd(), env={}, listed=Lock()
    )
    async with Skills().open(expert, context, print) as skills:
        await skills.ready()
        assert {"search", "far__search"} <= set(skills.tools)

anyio.run(main)
"""


def test_a_run_with_a_lock_pays_for_no_server_before_its_first_call() -> None:
    code = LISTED + f"print([name for name in {(*HEAVY, 'httpx2')!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
