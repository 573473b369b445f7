"""A scripted model's scenario: what each Expert says turn by turn, read from TOML.

The format is described in docs/scenarios.md.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    field_validator,
    model_validator,
)

from perstack.domain.consensus import ConsensusCheckpoint
from perstack.errors import ConfigError
from perstack.ports.model import FinishReason

_MOST_BYTES: Final = 5_000_000
_HINT: Final = "the format is described in docs/scenarios.md"


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ScriptedCall(_Table):
    """A tool call; `raw_args` stands in for `args` as the model's very text, JSON or not."""

    tool: str = Field(min_length=1)
    args: dict[str, JsonValue] = Field(default_factory=dict[str, JsonValue])
    raw_args: str | None = None


class ScriptedError(_Table):
    """A failure in place of an answer, for the first `times` attempts of each run."""

    status: int = Field(ge=100, le=599)
    message: str = "a failure from the scenario"
    retry_after_s: float | None = Field(default=None, ge=0)
    times: int = Field(default=1, ge=1)


class ScriptedUsage(_Table):
    """Tokens to report instead of an estimate; `input_tokens` includes those of the cache.

    All zero is how a vendor looks that does not count.
    """

    input_tokens: int = Field(default=0, ge=0)
    output_tokens: int = Field(default=0, ge=0)
    reasoning_tokens: int = Field(default=0, ge=0)
    cached_input_tokens: int = Field(default=0, ge=0)
    cache_write_tokens: int = Field(default=0, ge=0)


class ScriptedTurn(_Table):
    """What is said when `expert`, `turn` and `after` fit; what is left out fits everything.

    `turn` counts from 1; `after` must occur in the latest tool or user message.
    """

    expert: str | None = None
    turn: int | None = Field(default=None, ge=1)
    after: str | None = None
    reasoning: str = ""
    text: str = ""
    calls: tuple[ScriptedCall, ...] = ()
    latency_ms: int | None = Field(default=None, ge=0)
    chars_per_s: float | None = Field(default=None, ge=0)
    error: ScriptedError | None = None
    usage: ScriptedUsage | None = None
    finish: FinishReason | None = None

    @model_validator(mode="after")
    def _says_something(self) -> ScriptedTurn:
        if not (self.reasoning or self.text or self.calls or self.error or self.finish):
            raise ValueError("give at least one of reasoning, text, calls, error, finish")
        return self

    def fits(self, expert: str, turn: int, latest: str) -> bool:
        """Return whether this is what is said now."""
        return (
            self.expert in {None, expert}
            and self.turn in {None, turn}
            and (self.after is None or self.after in latest)
        )


class ScriptedAnswer(_Table):
    """A user's answer; `question` must occur in what is asked."""

    expert: str | None = None
    tool: str | None = None
    question: str | None = None
    text: str

    def fits(self, expert: str, tool: str, question: str) -> bool:
        """Return whether this is the answer."""
        return (
            self.expert in {None, expert}
            and self.tool in {None, tool}
            and (self.question is None or self.question in question)
        )


class ScriptedDecision(_Table):
    """A reviewer's decision on a consensus checkpoint.

    `agent_type` must be one of the proposed ones; `text` must occur in the reason or in what one
    of the proposed calls was given.
    """

    expert: str | None = None
    agent_type: str | None = None
    text: str | None = None
    decision: Literal["approve", "reject"]
    feedback: str | None = None

    def fits(self, checkpoint: ConsensusCheckpoint) -> bool:
        """Return whether this decides `checkpoint`."""
        tasks = checkpoint.proposed_subtasks
        texts = (checkpoint.reason, *(task.input for task in tasks))
        return (
            self.expert in {None, checkpoint.expert_key}
            and (self.agent_type is None or any(t.agent_type == self.agent_type for t in tasks))
            and (self.text is None or any(self.text in said for said in texts))
        )


class ScriptedPrice(_Table):
    """USD that a million tokens are pretended to cost."""

    input: float = Field(ge=0)
    output: float = Field(ge=0)
    cached_input: float | None = Field(default=None, ge=0)
    cache_write: float | None = Field(default=None, ge=0)


class ScriptedDefaults(_Table):
    """What turns that do not say otherwise have; all waits are multiplied by the pace."""

    latency_ms: int = Field(default=0, ge=0)
    chars_per_s: float = Field(default=0, ge=0)
    context_window: int | None = Field(default=None, gt=0)
    price: ScriptedPrice | None = None


class _File(_Table):
    defaults: ScriptedDefaults = ScriptedDefaults()
    turns: tuple[ScriptedTurn, ...]
    answers: tuple[ScriptedAnswer, ...] = ()
    decisions: tuple[ScriptedDecision, ...] = ()

    @field_validator("turns")
    @classmethod
    def _has_turns(cls, turns: tuple[ScriptedTurn, ...]) -> tuple[ScriptedTurn, ...]:
        if not turns:
            raise ValueError("give at least one turn")
        return turns


@dataclass(frozen=True, slots=True)
class Scenario:
    """A scenario as read from `path`. In each table the first entry that fits wins."""

    path: Path
    defaults: ScriptedDefaults
    turns: Sequence[ScriptedTurn]
    answers: Sequence[ScriptedAnswer] = ()
    decisions: Sequence[ScriptedDecision] = ()

    def turn_for(self, expert: str, turn: int, latest: str) -> ScriptedTurn | None:
        """Return what `expert` says at its turn number `turn`; `latest` is what it heard last."""
        return next((one for one in self.turns if one.fits(expert, turn, latest)), None)

    def answer_for(self, expert: str, tool: str, question: str) -> str | None:
        """Return the user's answer to an interactive tool call, None if the scenario has none."""
        fitting = (one.text for one in self.answers if one.fits(expert, tool, question))
        return next(fitting, None)

    def decision_for(self, checkpoint: ConsensusCheckpoint) -> ScriptedDecision | None:
        """Return how a reviewer decides, None if the scenario leaves it to somebody else."""
        return next((one for one in self.decisions if one.fits(checkpoint)), None)


def load_scenario(path: Path) -> Scenario:
    """Read and check a scenario; blocking.

    Raises:
        ConfigError: it cannot be read or holds a mistake; file and place are named.
    """
    read = _parse(path)
    try:
        file = _File.model_validate(read)
    except ValidationError as error:
        raise ConfigError(f"{path}: {_first_mistake(error)}", hint=_HINT) from error
    return Scenario(path, file.defaults, file.turns, file.answers, file.decisions)


def _parse(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
        if len(data) > _MOST_BYTES:
            raise ConfigError(f"{path}: larger than 5 MB", hint=_HINT)
        return tomllib.loads(data.decode())
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfigError(f"the scenario {path} cannot be read: {reason}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{path}: not TOML: {error}", hint=_HINT) from error


def _first_mistake(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = "".join(f"[{at}]" if isinstance(at, int) else f".{at}" for at in first["loc"])
    more = error.error_count() - 1
    return f"{place.removeprefix('.')}: {first['msg']}" + (f" (and {more} more)" if more else "")
