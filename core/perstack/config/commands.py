"""How a skill's server is started."""

from __future__ import annotations

from perstack.domain.expert import McpStdioSkill

_YES = ("-y", "--yes")


def server_command(skill: McpStdioSkill) -> tuple[str, list[str]]:
    """Return the program and its arguments; `npx` is told not to ask before it installs."""
    args = [skill.package_name] if skill.package_name else list(skill.args)
    if skill.command == "npx" and not any(arg in _YES for arg in args):
        args.insert(0, "-y")
    return skill.command, args
