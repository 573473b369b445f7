"""What the verbs of `perstack agent` share: options, their project, the way to the tables."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from perstack.cli import completing as c

if TYPE_CHECKING:
    from pydantic import BaseModel

    from perstack.domain.ids import AgentId
    from perstack.project import Project
    from perstack.services.agents import AgentService

T = TypeVar("T")

Id = Annotated[
    str | None,
    typer.Option("-i", "--id", metavar="ID", help="The agent's id.", autocompletion=c.agent_ids),
]
Name = Annotated[
    str | None,
    typer.Option(
        "-n",
        "--name",
        metavar="NAME",
        help="The agent's name.",
        autocompletion=c.agent_names,
    ),
]
Type = Annotated[
    str,
    typer.Option(
        "-t",
        "--type",
        metavar="TYPE",
        help="What it is: agent types lists them.",
        autocompletion=c.experts,
    ),
]
NewName = Annotated[
    str | None, typer.Option("-n", "--name", metavar="NAME", help="The name it gets.")
]
Session = Annotated[
    str | None,
    typer.Option(
        "-s",
        "--session",
        metavar="ID",
        help="The session it belongs to.",
        autocompletion=c.sessions,
    ),
]
ShowPrompt = Annotated[
    bool, typer.Option("--show-prompt", help="Print the instruction that it has.")
]
Reason = Annotated[str | None, typer.Option("--reason", metavar="TEXT", help="Why.")]
Now = Annotated[bool, typer.Option("--now", help="Wait for no tool that runs.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@dataclass(frozen=True, slots=True)
class Place:
    """Where the agents are, and the configuration that was named."""

    workspace: Path
    config: str | None = None
    trust: bool = False
    yes: bool = False

    def check(self) -> None:
        """Refuse a workspace that is none.

        Raises:
            UsageError: there is no such folder.
        """
        from perstack.errors import UsageError

        if not self.workspace.is_dir():
            raise UsageError(
                f"there is no folder {str(self.workspace)!a}", hint="check --workspace"
            )

    def project(self, *, or_empty: bool = False) -> Project:
        """Return the project, all of which its user has accepted; `or_empty`, if there is none.

        Raises:
            ConfigError: there is none, or it cannot be used.
        """
        from perstack.cli.listeners import say
        from perstack.project import open_project

        self.check()
        project = open_project(self.workspace, self.config, trust=self.trust, or_empty=or_empty)
        project.admit(project.config.experts)
        for warning in project.warnings:
            say(f"Warning: {warning}")
        return project

    def named_project(self) -> Project | None:
        """Return the project if the configuration was named: the tables say all that is needed.

        Raises:
            ConfigError: it cannot be used.
        """
        self.check()
        return self.project() if self.config is not None or self.trust else None

    def usable_project(self) -> Project | None:
        """Return the project, or None: a mistake in it must keep nobody from stopping an agent.

        Raises:
            ConfigError: it was named, and cannot be used.
        """
        from perstack.cli.listeners import say
        from perstack.config.find import find_config
        from perstack.config.untrusted import UntrustedError
        from perstack.errors import ConfigError

        self.check()
        if self.config is None and find_config(self.workspace) is None:
            return None
        try:
            return self.project()
        except ConfigError as error:
            if self.config is not None:
                raise
            if isinstance(error, UntrustedError):
                say("Warning: perstack.toml is left out, since nobody has accepted it (--trust)")
            else:
                say(f"Warning: perstack.toml is left out: {error.message}")
            return None


@dataclass(frozen=True, slots=True)
class Named:
    """The agent that is meant; the id counts where both are given."""

    id: AgentId | None
    name: str | None

    @classmethod
    def of(cls, agent_id: str | None, name: str | None) -> Named:
        """Return what was typed.

        Raises:
            UsageError: nothing was.
        """
        from perstack.domain.ids import AgentId
        from perstack.errors import UsageError

        if not agent_id and not name:
            raise UsageError("Either id or name is required", hint="-i ID or -n NAME")
        return cls(AgentId(agent_id) if agent_id else None, name)

    def refuse_empty(self, workspace: Path) -> None:
        """Raise if nothing was ever written there: looking for an agent makes no database.

        Raises:
            NotFoundError: nothing was.
        """
        from perstack.errors import NotFoundError
        from perstack.wiring import has_database

        if not has_database(workspace):
            raise NotFoundError(
                "Agent not found", hint="no agent ever was in this folder; check --workspace"
            )


def with_agents(
    workspace: Path,
    project: Project | None,
    ask: Callable[[AgentService], Awaitable[T]],
    *,
    plugins: bool = False,
) -> T:
    """Return what `ask` does with the verbs of agents."""
    import anyio

    from perstack.cli.looking import say_what_is_logged

    async def run() -> T:
        async with _opened(workspace.absolute(), project, plugins=plugins) as agents:
            return await ask(agents)

    say_what_is_logged()
    return anyio.run(run)


def _opened(
    workspace: Path, project: Project | None, *, plugins: bool
) -> AbstractAsyncContextManager[AgentService]:
    from perstack.agent_wiring import open_agents
    from perstack.engine.groups import unwrapped

    @asynccontextmanager
    async def opened() -> AsyncGenerator[AgentService]:
        with unwrapped():
            async with open_agents(workspace, project, plugins=plugins) as agents:
                yield agents

    return opened()


def json_of(view: BaseModel) -> str:
    """Return a view as JSON; in ASCII, so that nothing in it can act on a terminal."""
    shown = view.model_dump(mode="json", by_alias=True, exclude_none=True)
    return json.dumps(shown, ensure_ascii=True, indent=2)
