"""The options that `run`, `start` and other commands share, each said once.

Their names stand in each command all the same: Typer reads from a signature which there are and in
which order they are shown, and the order differs.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from perstack.cli import completing as c

if TYPE_CHECKING:
    from perstack.config.typed import Overrides
    from perstack.domain.jobs import SomeLimits
    from perstack.ports.frontend import Continuation

Config = Annotated[
    str | None, typer.Option("--config", metavar="PATH", help="The perstack.toml to use, or a URL.")
]
Workspace = Annotated[
    Path, typer.Option("--workspace", metavar="DIR", help="The folder that Experts work in.")
]
Provider = Annotated[
    str | None,
    typer.Option(
        "--provider",
        metavar="NAME",
        help="The vendor, such as openai, a program, such as claude-code, or plugin:NAME.",
    ),
]
Model = Annotated[str | None, typer.Option("--model", metavar="ID", help="The vendor's model.")]
Reasoning = Annotated[
    str | None,
    typer.Option("--reasoning-budget", metavar="B", help="none, minimal, low, medium, high, or N."),
]
MaxSteps = Annotated[
    int | None, typer.Option("--max-steps", metavar="N", help="Steps a job may take (100).")
]
MaxRetries = Annotated[
    int | None, typer.Option("--max-retries", metavar="N", help="Retries of a generation (5).")
]
Timeout = Annotated[
    int | None, typer.Option("--timeout", metavar="MS", help="Limit of one generation (300000).")
]
MaxTokens = Annotated[
    int | None, typer.Option("--max-tokens", metavar="N", help="Tokens a job may use.")
]
MaxCost = Annotated[
    float | None, typer.Option("--max-cost", metavar="USD", help="What a job may cost, in USD.")
]
MaxDuration = Annotated[
    int | None, typer.Option("--max-duration", metavar="MS", help="Time a job may work.")
]
JobIdOption = Annotated[
    str | None, typer.Option("--job-id", metavar="ID", help="The id of a new job.")
]
EnvPath = Annotated[
    list[str] | None,
    typer.Option("--env-path", metavar="PATH", help="An env file, instead of the config's."),
]
RuntimeName = Annotated[
    str | None,
    typer.Option(
        "--runtime",
        metavar="NAME",
        help="perstack, docker, claude-code, gemini, codex or cursor.",
    ),
]
PassEnv = Annotated[
    list[str] | None,
    typer.Option("--env", metavar="NAME", help="A variable for the container or program."),
]
Continue = Annotated[bool, typer.Option("--continue", help="Go on with the latest job.")]
ContinueJob = Annotated[
    str | None,
    typer.Option(
        "--continue-job", metavar="ID", help="Go on with that job.", autocompletion=c.jobs
    ),
]
ResumeFrom = Annotated[
    str | None,
    typer.Option("--resume-from", metavar="ID", help="From that checkpoint of --continue-job."),
]
Answer = Annotated[
    bool,
    typer.Option(
        "-i", "--interactive-tool-call-result", help="The query answers the Expert's question."
    ),
]
Scenario = Annotated[
    str | None, typer.Option("--scenario", metavar="PATH", help="What the scripted model says.")
]
Pace = Annotated[
    float | None,
    typer.Option("--pace", metavar="X", help="The scripted model's waits: 1 as written, 0 none."),
]
TrustOption = Annotated[
    bool,
    typer.Option("--trust", help="Accept what this perstack.toml starts and connects to."),
]
YesOption = Annotated[
    bool,
    typer.Option("--yes", help="Accept what Experts of the registry start and connect to."),
]
Verbose = Annotated[
    bool, typer.Option("--verbose", help="Show builds and proxy decisions of containers.")
]
Plain = Annotated[bool, typer.Option("--plain", help="Progress lines, no screen.")]
Theme = Annotated[
    str | None, typer.Option("--theme", metavar="NAME", help="A theme of the cockpit.")
]

HERE = Path()


@dataclass(frozen=True, slots=True)
class Asked:
    """What was typed, beside the overrides."""

    workspace: Path
    config: str | Path | None
    expert: str | None
    query: str | None
    job_id: str | None = None
    continue_: bool = False
    continue_job: str | None = None
    resume_from: str | None = None
    is_answer: bool = False
    own_definitions: bool = False
    trust: bool = False
    yes: bool = False

    @property
    def goes_on(self) -> bool:
        """Whether an existing job is meant."""
        return self.continue_ or self.continue_job is not None

    def check(self) -> None:
        """Refuse what does not fit together.

        Raises:
            UsageError: `--resume-from` without a job, a workspace that is none, an id that cannot
                be one (an empty one, say, from a variable that is not set).
        """
        from perstack.domain.ids import check_path_id
        from perstack.errors import UsageError

        if self.resume_from is not None and self.continue_job is None:
            raise UsageError("--resume-from requires --continue-job")
        if not self.workspace.is_dir():
            raise UsageError(f"{self.workspace} is not a folder")
        named = {"job id": (self.job_id, self.continue_job), "checkpoint id": (self.resume_from,)}
        for kind, ids in named.items():
            for given in ids:
                if given is not None:
                    check_path_id(kind, given)

    def continuation(self, over: Overrides | None = None) -> Continuation:
        """Return what to go on with, and with which limits of `over`."""
        from perstack.domain.ids import CheckpointId, ExpertKey, JobId
        from perstack.ports.frontend import Continuation

        return Continuation(
            job_id=None if self.continue_job is None else JobId(self.continue_job),
            checkpoint_id=None if self.resume_from is None else CheckpointId(self.resume_from),
            expert_key=ExpertKey(self.expert) if self.expert else None,
            text=self.query,
            is_answer=self.is_answer,
            own_definitions=self.own_definitions,
            typed=None if over is None else _limits(over),
        )


def _limits(over: Overrides) -> SomeLimits:
    from perstack.domain.jobs import SomeLimits
    from perstack.domain.settings import BudgetSettings

    return SomeLimits(
        max_steps=over.max_steps,
        budget=BudgetSettings(
            max_tokens=over.max_tokens,
            max_cost_usd=over.max_cost_usd,
            max_duration=over.max_duration_ms,
        ),
    )


def overrides(
    *,
    provider: str | None,
    model: str | None,
    reasoning_budget: str | None,
    max_steps: int | None,
    max_retries: int | None,
    timeout: int | None,
    max_tokens: int | None,
    max_cost: float | None,
    max_duration: int | None,
    env_path: list[str] | None,
    runtime: str | None,
    env: list[str] | None,
    scenario: str | None,
    pace: float | None,
) -> Overrides:
    """Return the options that stand above the configuration file."""
    from perstack.config.typed import Overrides

    return Overrides(
        provider=provider,
        model=model,
        reasoning_budget=reasoning_budget,
        max_steps=max_steps,
        max_retries=max_retries,
        timeout_ms=timeout,
        max_tokens=max_tokens,
        max_cost_usd=max_cost,
        max_duration_ms=max_duration,
        env_paths=tuple(env_path or ()),
        runtime=runtime,
        pass_env=tuple(env or ()),
        scenario=scenario,
        pace=pace,
    )
