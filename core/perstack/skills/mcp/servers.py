"""Makes the servers of an Expert's MCP skills, checking all that can be checked beforehand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from perstack.config.commands import server_command
from perstack.config.headers import holds_secret
from perstack.domain.expert import BASE_SKILL, AnyMcpSkill, McpStdioSkill
from perstack.errors import ConfigError
from perstack.ports.skills import RunContext, SkillHost, SkillNotice
from perstack.skills.environment import for_server, required_value
from perstack.skills.mcp.addresses import Resolve
from perstack.skills.mcp.launch import Launch
from perstack.skills.mcp.limits import ServerLimits
from perstack.skills.mcp.redact import Redactor
from perstack.skills.mcp.remote import header_variables, remote_target
from perstack.skills.mcp.server import McpServer
from perstack.skills.mcp.stdio import StdioTarget

_DOWNLOADERS: Final = frozenset({"npx", "uvx", "pnpx", "bunx", "pipx", "docker", "deno"})


@dataclass(frozen=True, slots=True)
class ServerMaker:
    """What all servers of a run have in common. `cwd` is the open workspace."""

    context: RunContext
    cwd: int
    notice: Callable[[SkillNotice], None]
    host: SkillHost | None
    limits: ServerLimits
    resolve: Resolve

    def make(self, name: str, skill: AnyMcpSkill, *, from_lock: bool = True) -> McpServer:
        """Return the server of a skill, not yet started.

        With `from_lock`, it starts from the tools that a lock file lists for it.

        Raises:
            ConfigError: its command or address cannot be used, or a variable is not set.
        """
        if isinstance(skill, McpStdioSkill):
            return self._process(name, skill, from_lock=from_lock)
        for variable in skill.required_env:
            required_value(name, variable, self.context.env)
        target = remote_target(name, skill, self.context.env, self.resolve)
        secrets = self._values([*skill.required_env, *header_variables(skill)])
        secrets |= {name: value for name, value in skill.headers.items() if holds_secret(name)}
        launch = Launch(
            skill_name=name,
            skill=skill,
            transport=target.transport,
            start_s=self.limits.start_s,
            limits=self.limits,
            workspace=self.context.workspace,
            clean=Redactor(secrets).clean,
            notice=self.notice,
            host=self.host,
        )
        return self._server(launch, from_lock=from_lock)

    def _process(self, name: str, skill: McpStdioSkill, *, from_lock: bool) -> McpServer:
        command = _command(name, skill)
        downloads = command[0].rpartition("/")[2] in _DOWNLOADERS
        target = StdioTarget(
            command=command,
            env=for_server(name, skill.required_env, self.context),
            cwd=self.cwd,
        )
        launch = Launch(
            skill_name=name,
            skill=skill,
            transport=target.transport,
            start_s=self.limits.slow_start_s if downloads else self.limits.start_s,
            limits=self.limits,
            workspace=self.context.workspace,
            clean=Redactor(self._values(skill.required_env)).clean,
            notice=self.notice,
            host=self.host,
        )
        return self._server(launch, from_lock=from_lock)

    def _server(self, launch: Launch, *, from_lock: bool) -> McpServer:
        listed = self.context.listed if from_lock else None
        return McpServer(launch, listed.tools_of(launch.skill_name) if listed else None)

    def _values(self, names: tuple[str, ...] | list[str]) -> dict[str, str]:
        return {name: self.context.env.get(name, "") for name in names}


def _command(name: str, skill: McpStdioSkill) -> tuple[str, ...]:
    # A command that takes the place of the base skill may be a single word.
    if not skill.package_name and not skill.args and name != BASE_SKILL:
        raise ConfigError(f"Skill {name} has no packageName or args")
    if skill.package_name and skill.args:
        raise ConfigError(f"Skill {name} has both packageName and args")
    program, args = server_command(skill)
    return (program, *args)
