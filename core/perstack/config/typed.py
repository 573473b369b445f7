"""Options as typed on the command line. Light: front ends make them before they load anything."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """Options as typed; None means not given. `reasoning_budget` is a word or digits.

    `pass_env` names variables for a container or another agent's program.
    """

    model: str | None = None
    provider: str | None = None
    reasoning_budget: str | None = None
    max_steps: int | None = None
    max_retries: int | None = None
    timeout_ms: int | None = None
    max_tokens: int | None = None
    max_cost_usd: float | None = None
    max_duration_ms: int | None = None
    env_paths: tuple[str, ...] = ()
    runtime: str | None = None
    pass_env: tuple[str, ...] = ()
    pace: float | None = None
    scenario: str | None = None

    def as_arguments(self) -> list[str]:
        """Return the options as another perstack process would be given them."""
        single = (
            ("--model", self.model),
            ("--provider", self.provider),
            ("--reasoning-budget", self.reasoning_budget),
            ("--max-steps", self.max_steps),
            ("--max-retries", self.max_retries),
            ("--timeout", self.timeout_ms),
            ("--max-tokens", self.max_tokens),
            ("--max-cost", self.max_cost_usd),
            ("--max-duration", self.max_duration_ms),
            ("--runtime", self.runtime),
            ("--pace", self.pace),
            ("--scenario", self.scenario),
        )
        given = [(name, str(value)) for name, value in single if value is not None]
        given += [("--env-path", path) for path in self.env_paths]
        given += [("--env", name) for name in self.pass_env]
        return [word for pair in given for word in pair]
