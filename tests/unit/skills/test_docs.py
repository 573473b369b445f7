"""The page about skills says what the base tools take."""

from __future__ import annotations

from pathlib import Path

from perstack.domain.expert import BaseSkill
from perstack.skills.base.skill import OpenBaseSkill
from tests.unit.skills.support import context_for

PAGE = Path(__file__).parents[3] / "docs" / "skills.md"


def test_the_page_names_every_base_tool_and_its_arguments(tmp_path: Path) -> None:
    base = OpenBaseSkill(context_for(tmp_path), BaseSkill())
    page = PAGE.read_text()
    for spec in base.specs():
        properties = spec.input_schema.get("properties")
        required = spec.input_schema.get("required", [])
        assert isinstance(required, list)
        names = list(properties) if isinstance(properties, dict) else []
        shown = " ".join(f"`{name}`" if name in required else f"`{name}?`" for name in names)
        assert f"| `{spec.name}` | {shown} |".replace("|  |", "| |") in page
    base.close()
