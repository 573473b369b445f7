"""What the command line hands to a front end (entry-point group `perstack.frontends`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from perstack.config.find import ConfigUrl
from perstack.config.typed import Overrides
from perstack.domain.ids import CheckpointId, ExpertKey, JobId

if TYPE_CHECKING:
    from perstack.domain.jobs import SomeLimits
    from perstack.domain.orders import Raise


# Set for a cockpit whose screen is a browser: its standard streams are no terminal.
IN_BROWSER: Final = "PERSTACK_IN_BROWSER"
# "1": lines for a screen reader instead of a screen, as with `--screen-reader`.
SCREEN_READER: Final = "PERSTACK_SCREEN_READER"


@dataclass(frozen=True, slots=True)
class WebRequest:
    """Serve the cockpit to a browser on this machine; `port` 0 takes any that is free.

    `first_argv` starts the first session's cockpit, `later_argv` those after it.
    """

    title: str
    first_argv: tuple[str, ...]
    later_argv: tuple[str, ...]
    port: int = 0
    open_browser: bool = True


@dataclass(frozen=True, slots=True)
class CockpitRequest:
    """What the cockpit opens on.

    `expert_key` and `query` together start a job at once; an `expert_key` alone opens the prompt
    with it; `job_id` selects a job. With `goes_on` the job that `runtime` knows of goes on at once;
    with `answers` what it asks is opened, after a `query` what it asks next.
    With `linear` it is a conversation in lines instead of a screen.
    `observe` only watches: nothing can be started. `theme` names a palette, None for the default.
    With `web` a browser shows it, and the other fields are what it is started with again.
    `runtime` is whatever the gateway needs to open the runtime; the screen does not look into it.
    """

    workspace: Path
    expert_key: ExpertKey | None = None
    query: str | None = None
    job_id: JobId | None = None
    goes_on: bool = False
    answers: bool = False
    observe: bool = False
    theme: str | None = None
    web: WebRequest | None = None
    linear: bool = False
    runtime: object = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Continuation:
    """What to go on with: the latest job, `job_id`, or one of its checkpoints.

    `text` is what the user says, or with `is_answer` the answer to the question that waits.
    `own_definitions`: the Experts are those that the job was started with, not today's. `more` is
    what the job may use beyond what it was given, and is recorded as given by whoever runs this.
    `typed` are limits that were typed for this: they count though the job was given more before.
    """

    job_id: JobId | None = None
    checkpoint_id: CheckpointId | None = None
    expert_key: ExpertKey | None = None
    text: str | None = None
    is_answer: bool = False
    own_definitions: bool = False
    more: Raise | None = None
    typed: SomeLimits | None = None


@dataclass(frozen=True, slots=True)
class Setup:
    """What a front end opens its runtime with: where the configuration is, and what was typed.

    Without a `config_path` there is no configuration, and an empty one is used where Experts of the
    registry are run. `job_id` is the id that the first job it starts shall have. `named`: the user
    named the configuration; `trust`: the user accepts what it asks for; `yes`: and what Experts of
    the registry would do.
    """

    config_path: Path | ConfigUrl | None
    overrides: Overrides
    continuation: Continuation | None = None
    job_id: JobId | None = None
    named: bool = False
    trust: bool = False
    yes: bool = False
