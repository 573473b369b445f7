"""A new job from a moment of another: its past up to there, and a copy of the files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from anyio import to_thread

from perstack.domain.events import (
    AttemptCompletion,
    Body,
    CallTools,
    CompleteRun,
    Event,
    FinishAllToolCalls,
    FinishToolCall,
    RequestApproval,
    ResolveApproval,
    StartRun,
    StopRunByDelegate,
)
from perstack.domain.expert import Expert
from perstack.domain.ids import ExpertKey, JobId, RunId
from perstack.domain.jobs import ForkPoint, Job, RunSetting
from perstack.domain.messages import InstructionMessage, TextPart
from perstack.domain.server_events import RequestInput, ResolveInput
from perstack.domain.snapshots import LARGE, Manifest
from perstack.domain.steering_events import TakeDefinition
from perstack.domain.travel import ForkWish, Moment
from perstack.domain.usage import NO_COST, NO_USAGE
from perstack.engine.prompt import system_prompt
from perstack.errors import ConflictError, StorageError, UnknownExpertError, UsageError
from perstack.ports.system import Clock, Ids
from perstack.projection.event_facts import spent_by
from perstack.services.copies import copy_large
from perstack.services.travel import Recorded, TravelService

Definitions = Mapping[ExpertKey, Expert]
_SHOWN: Final = 8


class Forker:
    """Makes jobs of moments that `past` knows. They are not driven yet."""

    def __init__(self, past: TravelService, *, clock: Clock, ids: Ids) -> None:
        self._past = past
        self._clock = clock
        self._ids = ids

    async def fork(self, moment: Moment, wish: ForkWish, defined_now: Definitions) -> Job:
        """Make a new job of the moment; nothing that is there is overwritten.

        From a delegate's moment the new job is that delegate's alone. `defined_now` are today's
        Experts, which count if `wish.newest_definition` says so.

        Raises:
            NotFoundError: the moment is not recorded.
            ConflictError: the folder for the copy exists.
            UnknownExpertError: the Expert is not defined any more.
            StorageError: the files could not be copied, or the job not written.
        """
        line = await self._line(moment)
        run = line[-1].run
        key = run.setting.expert_key
        if wish.newest_definition and key not in defined_now:
            raise UnknownExpertError(key, [str(known) for known in defined_now])
        job_id = JobId(self._ids.new())
        own = await self._past.folder(moment.job_id)
        folder = await self._folder(moment, wish, own, job_id) if wish.copy_files else own
        ids = {each.run.setting.run_id: RunId(self._ids.new()) for each in line}
        settings = await self._past.history.list_runs(moment.job_id)
        begun_with = next((each.experts for each in settings if each.experts is not None), None)
        instruction = _Instruction(own, folder)
        if wish.newest_definition:
            now = self._clock.now_ms()
            instruction.text = system_prompt(
                defined_now[key], defined_now, now_ms=now, workspace=str(folder)
            )
        raised = (await self._past.history.get_job(moment.job_id)).raised
        job = self._job(job_id, line, ids, folder).model_copy(update={"raised": raised})
        async with self._past.history.create_job(job) as held:
            for number, each in enumerate(line):
                setting = self._setting(each.run.setting, job_id, ids)
                if number == 0:
                    setting = setting.model_copy(update={"experts": begun_with})
                events = [
                    event.model_copy(
                        update={
                            "job_id": job_id,
                            "run_id": setting.run_id,
                            "body": self._body(event.body, ids, instruction),
                        }
                    )
                    for event in _without_waits(each.events)
                ]
                await held.adopt_run(setting, _numbered(events))
            await to_thread.run_sync(self._copy_marks, moment, job_id)
            await held.save(job)
        return job

    # ---------------------------------------------------------------- history

    async def _line(self, moment: Moment) -> list[Recorded]:
        """Return the runs that lead to the moment, each up to where the next was forked from."""
        line: list[Recorded] = []
        at: Moment | None = moment
        while at is not None:
            found = await self._past.recorded(at)
            line.append(found)
            parent = found.run.setting.parent
            at = None
            if parent is not None:
                at = Moment(moment.job_id, parent.run_id, parent.checkpoint_id)
        return list(reversed(line))

    def _job(
        self, job_id: JobId, line: list[Recorded], ids: Mapping[RunId, RunId], folder: Path
    ) -> Job:
        last = line[-1].run.setting
        usage, cost, steps = NO_USAGE, NO_COST, 0
        for event in (event for each in line for event in each.events):
            used, usd = spent_by(event.body)
            steps = max(steps, event.step_number)
            if used != NO_USAGE:
                usage, cost = usage.plus(used), cost.plus(usd)
        now = self._clock.now_ms()
        return Job(
            id=job_id,
            status="running",
            coordinator_expert_key=last.expert_key,
            coordinator_run_id=ids[last.run_id],
            total_steps=steps,
            max_steps=last.settings.max_steps,
            usage=usage,
            cost=cost,
            workspace=str(folder) if folder != self._past.workspace else None,
            started_at=now,
            finished_at=now,
        )

    def _setting(
        self, setting: RunSetting, job_id: JobId, ids: Mapping[RunId, RunId]
    ) -> RunSetting:
        parent = setting.parent
        update = {
            "job_id": job_id,
            "run_id": ids[setting.run_id],
            "delegated_by": None,
            "agent_id": None,
            "parent": parent
            and ForkPoint(run_id=ids[parent.run_id], checkpoint_id=parent.checkpoint_id),
        }
        return setting.model_copy(update=update)

    def _body(self, body: Body, ids: Mapping[RunId, RunId], instruction: _Instruction) -> Body:
        match body:
            case StartRun():
                parent = body.parent
                update = {
                    "delegated_by": None,
                    "input_messages": tuple(
                        instruction.of(each) if isinstance(each, InstructionMessage) else each
                        for each in body.input_messages
                    ),
                    "parent": parent
                    and ForkPoint(
                        run_id=ids.get(parent.run_id, parent.run_id),
                        checkpoint_id=parent.checkpoint_id,
                    ),
                }
                return body.model_copy(update=update)
            case TakeDefinition():
                return body.model_copy(update={"instruction": instruction.of(body.instruction)})
            case StopRunByDelegate():
                # Delegations that are made anew are runs of their own.
                fresh = tuple(
                    each.model_copy(update={"run_id": RunId(self._ids.new())})
                    for each in body.delegate_to
                )
                return body.model_copy(update={"delegate_to": fresh})
            case _:
                return body

    # ---------------------------------------------------------------- files

    async def _folder(self, moment: Moment, wish: ForkWish, own: Path, job_id: JobId) -> Path:
        """Make the fork's folder, with the files as they were; where nobody knows, as they are."""
        folder = wish.workspace or own.parent / f"{own.name}-fork-{job_id[:_SHOWN]}"
        folder = folder.absolute()
        if folder.is_relative_to(own) or own.is_relative_to(folder):
            raise UsageError(f"{folder} and the folder that is forked lie one in the other")
        files = await self._past.files(moment)
        settings = (await self._past.recorded(moment)).settings

        def copy() -> None:
            manifest = files
            if manifest is None:
                manifest = self._past.snapshots.keep_now(own, settings, self._ids.new())
            _make(folder)
            wanted = {path: entry for path, entry in manifest.items() if entry.is_stored}
            done = self._past.snapshots.restore(folder, wanted, {})
            lost = (*done.kept, *done.missing)
            if lost:
                raise StorageError(
                    f"{len(lost)} files could not be copied to {folder}: {lost[0]!a}",
                    hint="what could be is there; remove the folder to try again",
                )
            _copy_large(own, folder, manifest)

        await to_thread.run_sync(copy)
        return folder

    def _copy_marks(self, moment: Moment, job_id: JobId) -> None:
        marks = self._past.snapshots.marks(moment.job_id)
        for mark in marks:
            if mark.point == moment.checkpoint_id:
                self._past.snapshots.copy_index(moment.job_id, job_id, mark.number)
                return


class _Instruction:
    """What the conversation begins with in the fork: as before, of another folder, or anew."""

    def __init__(self, before: Path, folder: Path) -> None:
        self._before = f"\nWorkspace: {before}\n"
        self._after = f"\nWorkspace: {folder}\n"
        self.text: str | None = None

    def of(self, message: InstructionMessage) -> InstructionMessage:
        said = "\n".join(part.text for part in message.contents)
        text = self.text or said.replace(self._before, self._after, 1)
        return message.model_copy(update={"contents": (TextPart(text=text),)})


def _without_waits(events: tuple[Event, ...]) -> Iterator[Event]:
    """Yield the events without what people were asked, and decided, of calls that are still open.

    A decision is of one run: the fork asks for its own. What has been made keeps its results.
    """
    # Stopping and going on again leaves a response's calls open: only these begin or end them.
    turns = (CallTools, FinishToolCall, FinishAllToolCalls, AttemptCompletion, CompleteRun)
    waits = (RequestApproval, ResolveApproval, RequestInput, ResolveInput)
    last = max((at for at, event in enumerate(events) if isinstance(event.body, turns)), default=-1)
    for at, event in enumerate(events):
        if at < last or not isinstance(event.body, waits):
            yield event


def _numbered(events: list[Event]) -> list[Event]:
    return [event.model_copy(update={"seq": seq}) for seq, event in enumerate(events)]


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True)
    except FileExistsError as error:
        if not folder.is_dir() or any(folder.iterdir()):
            raise ConflictError(f"{folder} exists", hint="name another folder") from error
    except OSError as error:
        raise StorageError(f"cannot create {folder}: {error.strerror}") from error


def _copy_large(own: Path, folder: Path, manifest: Manifest) -> None:
    """Copy what is too large to be stored, where it seems to be as it was."""
    for path, entry in manifest.items():
        if entry.why == LARGE and entry.kind == "file":
            copy_large(own, folder, path, entry)
