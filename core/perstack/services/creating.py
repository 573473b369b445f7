"""The tools that `create-expert` works with: hand in a draft, try it, read what happened."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Annotated, Final, Protocol

import anyio
import anyio.to_thread
from pydantic import Field, JsonValue

from perstack.config.creator import CREATOR
from perstack.config.report import printable
from perstack.config.trust import demands_of
from perstack.config.untrusted import Demand
from perstack.domain.base import Model
from perstack.domain.expert import Expert
from perstack.domain.ids import ExpertKey
from perstack.ports.experts import ExpertEnding, OwnTool
from perstack.projection.cutting import cut
from perstack.services.creating_draft import Draft, Ground, check_draft, has_exec, without_exec
from perstack.services.expert_tools import read_arguments, schema_of

USUAL_TRIALS: Final = 3
EXEC: Final = Demand(
    "command",
    "run programs that the model chooses (exec) while a draft is tried, with your rights",
)
_FILES: Final = 20
_FILE_CHARACTERS: Final = 100_000
_NAME_BYTES: Final = 255
_RESULT_CHARACTERS: Final = 8_000
_LOG_CHARACTERS: Final = 24_000


class _DraftArguments(Model):
    toml: Annotated[str, Field(description="The whole draft: [experts.NAME] tables, nothing else")]


class _TryArguments(Model):
    expert: Annotated[str, Field(description="The Expert of the draft that gets the query")]
    query: Annotated[
        str, Field(description="What a user would ask of it", min_length=1, max_length=20_480)
    ]
    files: Annotated[
        dict[str, str],
        Field(
            default_factory=dict,
            description="Text files that the case needs, by relative path",
            max_length=_FILES,
        ),
    ]


class _LogArguments(Model):
    step: Annotated[
        str | None,
        Field(description="Only these steps, told uncut: N, >N, <=N or A-B", max_length=40),
    ] = None


@dataclass(frozen=True, slots=True)
class Trial:
    """One small case: the Experts that take part, the one that is asked, and its files."""

    number: int
    experts: Mapping[ExpertKey, Expert]
    expert: ExpertKey
    query: str
    files: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Tried:
    """How a trial ended; `files` are what lies in its folder then, with sizes in bytes."""

    ending: ExpertEnding
    text: str
    steps: int
    tokens: int
    cost_usd: float | None
    error: str | None = None
    files: tuple[tuple[str, int], ...] = ()


class Trials(Protocol):
    """Runs trials, each as a real job with its history in a folder of its own."""

    async def run(self, trial: Trial) -> Tried:
        """Run one to its end, within its limits. Cancelling stops it in bounded time.

        Raises:
            PerstackError: it could not be run at all.
        """
        ...

    async def read_log(self, number: int, step: str | None) -> str:
        """Return what happened in a trial, as `perstack log` tells it.

        Raises:
            UsageError: `step` is no choice of steps.
        """
        ...


class Consent(Protocol):
    """Asks the user; a model has no way to answer in the user's place."""

    async def allows(self, demands: tuple[Demand, ...]) -> bool:
        """Tell whether drafts that are tried may do all of this."""
        ...


class Progress(Model):
    """How far a creation is: what `--continue` needs. `trials` counts those that began.

    `tokens` and `usd` are what all of it has used. `is_done`: the Expert has finished, and what is
    left is the user's word.
    """

    name: str | None
    wish: str
    draft: str | None = None
    tried: bool = False
    trials: int = 0
    is_done: bool = False
    tokens: int = 0
    usd: float = 0.0


@dataclass(frozen=True, slots=True)
class CreatingParts:
    """What creating works with. `keep` stores the progress; `over` says which budget is used up."""

    ground: Ground
    trials: Trials
    consent: Consent
    keep: Callable[[Progress], Awaitable[None]]
    over: Callable[[], str | None]
    most_trials: int = USUAL_TRIALS


class Creating:
    """One creation: its draft so far, its trials, what the user allowed. Calls wait in line."""

    def __init__(
        self, parts: CreatingParts, progress: Progress, draft: Draft | None = None
    ) -> None:
        """Begin, or go on: `draft` is what `usable_draft` made of the `progress`."""
        self.progress = progress
        self.draft = draft
        self._parts = parts
        self._line = anyio.Lock()
        self._answers: dict[Demand, bool] = {}

    @property
    def tools(self) -> tuple[OwnTool, ...]:
        """What the Expert is offered beside its own skills."""
        return (
            OwnTool(
                "draftTeam",
                "Hand in the whole draft. It is checked; every problem is listed with its line.",
                schema_of(_DraftArguments),
                self._draft_team,
            ),
            OwnTool(
                "tryExpert",
                "Run the draft on a small case, in a folder that holds the files given and nothing "
                f"else. At most {self._parts.most_trials} times in all.",
                schema_of(_TryArguments),
                self._try_expert,
            ),
            OwnTool(
                "readLog",
                "Read what happened in the latest trial, step by step.",
                schema_of(_LogArguments),
                self._read_log,
            ),
        )

    # ---------------------------------------------------------------- draftTeam

    async def _draft_team(self, arguments: Mapping[str, JsonValue]) -> str:
        given = read_arguments(_DraftArguments, arguments)
        async with self._line:
            # What edits TOML takes its time over a long text.
            draft = await anyio.to_thread.run_sync(check_draft, self._parts.ground, given.toml)
            await self._note(draft=draft.toml, tried=False)
            self.draft = draft
        said = [f"The draft is usable. It defines: {', '.join(draft.drafted)}."]
        said += [f"Remark: {remark}" for remark in draft.remarks]
        return "\n".join([*said, "Try it with tryExpert." if self._left else self._no_more])

    # ---------------------------------------------------------------- tryExpert

    async def _try_expert(self, arguments: Mapping[str, JsonValue]) -> str:
        given = read_arguments(_TryArguments, arguments)
        async with self._line:
            return await self._tried(given)

    async def _tried(self, given: _TryArguments) -> str:
        draft = self.draft
        if draft is None:
            raise ValueError("there is no draft yet: hand one in with draftTeam")
        if (over := self._parts.over()) is not None:
            raise ValueError(f"no trial is left: {over}. Finish with what you know")
        if not self._left:
            raise ValueError(self._no_more)
        team, remark = await self._allowed(draft, ExpertKey(given.expert))
        _check_files(given.files)
        # Counted beforehand: what a crash cut off was a trial as well.
        await self._note(trials=self.progress.trials + 1)
        number = self.progress.trials
        trial = Trial(number, team, ExpertKey(given.expert), given.query, given.files)
        tried = await self._parts.trials.run(trial)
        await self._note(tried=True)
        left = self._parts.most_trials - number
        lines = [remark, *_told(tried), f"Trials left: {left}. readLog tells what happened."]
        return "\n".join(line for line in lines if line)

    async def _allowed(
        self, draft: Draft, key: ExpertKey
    ) -> tuple[Mapping[ExpertKey, Expert], str]:
        """Return the team as far as the user lets it be tried, and what was taken from it.

        Raises:
            ValueError: it may not be tried like this.
        """
        team = draft.team_of(key)
        settings = self._parts.ground.config.settings
        # Also what the file's own Experts start: here it would find files that the model wrote.
        usual = set(demands_of((), settings))
        asked = tuple(one for one in demands_of(team.values(), settings) if one not in usual)
        refused = await self._refused(asked)
        if refused:
            listed = "".join(f"\n- {printable(demand.text)}" for demand in refused)
            raise ValueError(
                f"The user does not allow trials to:{listed}\n"
                "Draft it without, or finish and say that this could not be tried."
            )
        shut_in = settings.exec.sandbox != "none"
        if shut_in or not has_exec(team) or not await self._refused((EXEC,)):
            return team, ""
        return without_exec(team), "Remark: in this trial nobody had `exec`: the user said so."

    async def _refused(self, demands: tuple[Demand, ...]) -> tuple[Demand, ...]:
        """Ask about what was not asked about yet; return what of `demands` is not allowed."""
        fresh = tuple(demand for demand in demands if demand not in self._answers)
        if fresh:
            allowed = await self._parts.consent.allows(fresh)
            self._answers.update(dict.fromkeys(fresh, allowed))
        return tuple(demand for demand in demands if not self._answers[demand])

    # ---------------------------------------------------------------- readLog

    async def _read_log(self, arguments: Mapping[str, JsonValue]) -> str:
        given = read_arguments(_LogArguments, arguments)
        async with self._line:
            if not self.progress.trials:
                raise ValueError("nothing was tried yet")
            said = await self._parts.trials.read_log(self.progress.trials, given.step)
        if len(said) > _LOG_CHARACTERS:
            return f"{cut(said, _LOG_CHARACTERS)}\nIt is longer: choose steps, such as step = '1-5'"
        return said

    # ---------------------------------------------------------------- all of them

    async def finish(self) -> None:
        """Store that the Expert has finished."""
        await self._note(is_done=True)

    @property
    def _left(self) -> bool:
        return self.progress.trials < self._parts.most_trials

    @property
    def _no_more(self) -> str:
        return (
            f"All {self._parts.most_trials} trials are made: hand in the best draft, if it is not "
            "the latest, and finish"
        )

    async def _note(self, **update: str | bool | int | None) -> None:
        self.progress = self.progress.model_copy(update=update)
        await self._parts.keep(self.progress)


def usable_draft(ground: Ground, progress: Progress) -> Draft | None:
    """Return the draft so far; None where there is none, or it does not fit any more."""
    try:
        return None if progress.draft is None else check_draft(ground, progress.draft)
    except ValueError:
        return None


def query_of(ground: Ground, wish: str, definition: str) -> str:
    """Return what the creating Expert is asked; `definition` is that of one to be improved."""
    said: list[str] = []
    if ground.improves:
        said += [
            f"Improve the Expert `{ground.name}`. What is to become better:\n\n{wish}",
            f"Its definition, with those that it delegates to, as it is now:\n\n{definition}",
            "Hand in whole tables, also of what stays. To try it as it is, hand that in first.",
        ]
    elif ground.name is not None:
        said.append(f"Create the Expert `{ground.name}`. What it is to do:\n\n{wish}")
    else:
        said.append(f"Create an Expert; choose its name. What it is to do:\n\n{wish}")
    others = [
        f"- {key}: {expert.description or 'no description'}"
        for key, expert in ground.config.experts.items()
        if key not in ground.replaceable and key != CREATOR
    ]
    if others:
        listed = "\n".join(others[:50])
        said.append(f"These are there already and can be delegated to:\n{listed}")
    return "\n\n".join(said)


def _check_files(files: Mapping[str, str]) -> None:
    """Refuse files that would not lie in the trial's folder, or are too large.

    Raises:
        ValueError: says which and why.
    """
    if len(files) > _FILES:
        raise ValueError(f"at most {_FILES} files, not {len(files)}")
    for name, text in files.items():
        path, why = PurePosixPath(name), None
        above = {str(folder) for folder in path.parents}
        if not name or path.is_absolute() or ".." in path.parts or "\0" in name:
            why = "its path has to be relative and without '..'"
        elif len(name) > 255 or not name.isprintable() or path == PurePosixPath():
            why = "its path has to be an ordinary one of at most 255 characters"
        elif path.parts[0] in ("perstack", ".git"):
            why = f"{path.parts[0]}/ is not for the files of a case"
        elif any(len(part.encode()) > _NAME_BYTES for part in path.parts):
            why = f"a part of its path has more than {_NAME_BYTES} bytes"
        elif above & {str(PurePosixPath(other)) for other in files} - {"."}:
            why = "another file stands where it needs a folder"
        elif len(text) > _FILE_CHARACTERS:
            why = f"it has more than {_FILE_CHARACTERS:,} characters"
        if why is not None:
            raise ValueError(f"the file {name[:80]!a} cannot be given: {why}")


def _told(tried: Tried) -> Iterator[str]:
    cost = "" if tried.cost_usd is None else f", {tried.cost_usd:.4f} USD"
    yield f"Ended: {tried.ending} after {tried.steps} steps, {tried.tokens:,} tokens{cost}."
    if tried.error:
        yield f"Why: {cut(tried.error, _RESULT_CHARACTERS)}"
    if tried.text:
        yield f"Its result:\n{cut(tried.text, _RESULT_CHARACTERS)}"
    if tried.files:
        listed = ", ".join(f"{printable(name)} ({size:,} bytes)" for name, size in tried.files)
        yield f"Files in its folder afterwards: {listed}"
