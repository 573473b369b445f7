"""Writing `perstack.lock`, and knowing tools from it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import anyio.to_thread

from perstack.config.find import name_of
from perstack.config.load import LoadedConfig
from perstack.config.lock_pins import write_tools
from perstack.config.lockfile import INSTALL, LockedTool, lock_path, lock_text, read_lock
from perstack.domain.expert import BASE_SKILL, Expert, McpSkill
from perstack.domain.ids import ExpertKey, JobId, RunId, ToolCallId
from perstack.errors import ConfigError, SkillError, UsageError
from perstack.ports.skills import (
    Elicitation,
    ElicitationAnswer,
    ListedTools,
    RunContext,
    Sampling,
    SamplingAnswer,
    SkillNotice,
    SkillOpener,
    ToolSpec,
)
from perstack.ports.system import Clock, Ids


@dataclass(frozen=True, slots=True)
class FoundLock:
    """What the lock file beside a configuration gives: tools by Expert, or why it gives none.

    `fetched` are the tools of Experts of the registry, by the integrity of their definitions.
    """

    listed: Mapping[ExpertKey, ListedTools] = field(default_factory=dict[ExpertKey, ListedTools])
    fetched: Mapping[str, ListedTools] = field(default_factory=dict[str, ListedTools])
    warning: str | None = None


class _Listed(ListedTools):
    """One Expert's tools in a lock file."""

    def __init__(self, tools: Sequence[LockedTool]) -> None:
        self._by_skill: dict[str, list[ToolSpec]] = {}
        for tool in tools:
            spec = ToolSpec(tool.skill_name, tool.name, tool.description, tool.input_schema)
            self._by_skill.setdefault(tool.skill_name, []).append(spec)

    def tools_of(self, skill_name: str) -> Sequence[ToolSpec] | None:
        """Return the skill's tools; the base skill's are known without a lock."""
        return None if skill_name == BASE_SKILL else self._by_skill.get(skill_name)


def find_lock(config: LoadedConfig) -> FoundLock:
    """Read the lock beside `config`; one that was not made from these very bytes gives nothing.

    Blocks on the disk.
    """
    path = lock_path(config)
    if path is None:
        return FoundLock()
    try:
        lock = read_lock(path)
    except ConfigError as error:
        return FoundLock(warning=f"{error.message}: run {INSTALL}")
    if lock is None or not lock.is_of_tools:
        return FoundLock()
    if lock.config_name != config.path.name:
        return FoundLock(warning=f"{name_of(path)} is not of {name_of(config.path)}: run {INSTALL}")
    if lock.text_hash != config.text_hash:
        return FoundLock(warning=f"{name_of(path)} is stale: run {INSTALL}")
    of = lock.integrity
    return FoundLock(
        {key: _Listed(tools) for key, tools in lock.tools.items() if key not in of},
        {of[key]: _Listed(tools) for key, tools in lock.tools.items() if key in of},
    )


@dataclass(frozen=True, slots=True)
class Installer:
    """Asks every skill for its tools and writes them down. `say` is given lines for the user."""

    skills: SkillOpener
    clock: Clock
    ids: Ids
    redact: Callable[[str], str]
    say: Callable[[str], None]

    async def install(
        self, config: LoadedConfig, *, workspace: Path, env: Mapping[str, str]
    ) -> Path:
        """Start each Expert's skills, list their tools, write the lock; return where it is.

        Raises:
            SkillError: a skill could not be started; no lock is written then.
            ConfigError: a variable is not set, or a tool that is to be gated does not exist.
            UsageError: the configuration is not on this disk.
            StorageError: the lock cannot be written.
        """
        path = lock_path(config)
        if path is None:
            raise UsageError(
                "a remote configuration has no lock file", hint="save it as a file to lock it"
            )
        self.say("Resolving experts...")
        self.say(f"Found {len(config.experts)} expert(s)")
        found: dict[ExpertKey, list[LockedTool]] = {}
        for key, expert in config.experts.items():
            self.say(f"Collecting tool definitions for {key}...")
            context = self._context(config, workspace, env)
            found[key] = await self._collect(expert, context)
            self.say(f"  Found {len(found[key])} tool(s)")
        text = lock_text(config, found, now_ms=self.clock.now_ms(), redact=self.redact)
        await anyio.to_thread.run_sync(write_tools, path, text)
        self.say(f"Generated {path}")
        return path

    def _context(self, config: LoadedConfig, workspace: Path, env: Mapping[str, str]) -> RunContext:
        return RunContext(
            job_id=JobId(self.ids.new()),
            run_id=RunId(self.ids.new()),
            workspace=workspace,
            env=env,
            base_skill_command=config.settings.base_skill_command,
        )

    async def _collect(self, expert: Expert, context: RunContext) -> list[LockedTool]:
        opened = self.skills.open(_with_all_tools(expert), context, _unheard, _Declining())
        async with opened as skills:
            await skills.ready()
            specs = tuple(skills.tools.values())
        found = [_locked(spec) for spec in specs if _is_needed(expert, spec)]
        for tool in found:
            self._refuse_secrets(tool)
        return found

    def _refuse_secrets(self, tool: LockedTool) -> None:
        said = json.dumps([tool.description, tool.input_schema], ensure_ascii=False)
        if self.redact(said) != said:
            raise SkillError(
                f"Skill {tool.skill_name} puts a secret into the definition of its tool "
                f"{tool.name}, which the lock file would hold",
                hint=f"drop the tool: omit = [{json.dumps(tool.name)}]",
            )


class _Declining:
    """A run's part, as servers see it that offer some tools only to who answers their requests."""

    def output(self, tool_call_id: ToolCallId, text: str) -> None:
        """Nothing is called here that could print."""

    async def elicit(self, asked: Elicitation) -> ElicitationAnswer:
        """Decline: nobody is asked."""
        del asked
        return ElicitationAnswer("decline")

    async def sample(self, asked: Sampling) -> SamplingAnswer:
        """Refuse: no model is there."""
        del asked
        return SamplingAnswer(refused="no run is being made")


def _with_all_tools(expert: Expert) -> Expert:
    """Return the Expert with what its servers offer, whatever it takes of that."""
    everything = {"pick": (), "omit": (), "lazy_init": False}
    skills = {
        name: skill.model_copy(update=everything) if isinstance(skill, McpSkill) else skill
        for name, skill in expert.skills.items()
    }
    return expert.model_copy(update={"skills": skills})


def _is_needed(expert: Expert, spec: ToolSpec) -> bool:
    """Tell whether the Expert has the tool, or names it: those to be gated must be known."""
    skill = expert.skills.get(spec.skill_name)
    if not isinstance(skill, McpSkill):
        return True
    name = spec.own_name or spec.name
    return skill.offers(name) or name in skill.require_approval


def _locked(spec: ToolSpec) -> LockedTool:
    name = spec.own_name or spec.name
    return LockedTool(spec.skill_name, name, spec.description, spec.input_schema)


def _unheard(_notice: SkillNotice) -> None:
    """Of a start that failed, the error says what the server said last."""
