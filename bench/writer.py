"""Writes events as busy runs do: python -m bench.writer WORKSPACE EVENTS_A_SECOND [RUNS]"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import Final

import anyio

from perstack.domain.events import (
    Body,
    CallTools,
    ContinueToNextStep,
    Delta,
    FinishToolCall,
    ResolveToolResults,
    StartGeneration,
    StartRun,
    ToolResult,
    ToolReturned,
    ToolRoute,
)
from perstack.domain.expert import BASE_SKILL, ExpertRef
from perstack.domain.ids import CheckpointId, ExpertKey, JobId, MessageId, RunId, ToolCallId
from perstack.domain.jobs import Job, RunSetting
from perstack.domain.messages import ExpertMessage, TextPart, ToolCallPart, UserMessage
from perstack.domain.settings import Settings
from perstack.domain.usage import Usage
from perstack.ports.history import RunLog
from perstack.ports.system import RandomIds, SystemClock
from perstack.runtime import open_history

RUNS: Final = 6
_TICK_S: Final = 0.02
_EXPERT: Final = ExpertKey("reader")
_TEXT: Final = "I look at the next part of the file before I go on.\n"


def new_job(
    query: str, *, runs: int = 1, expert: ExpertKey = _EXPERT
) -> tuple[Job, list[RunSetting]]:
    """Return a job that starts now, and its runs, the coordinator's first."""
    now_ms, ids = SystemClock().now_ms(), RandomIds()
    job_id, run_ids = JobId(ids.new()), [RunId(ids.new()) for _ in range(runs)]
    job = Job(
        id=job_id,
        status="running",
        coordinator_expert_key=expert,
        coordinator_run_id=run_ids[0],
        max_steps=100_000,
        started_at=now_ms,
    )
    return job, [
        RunSetting(
            job_id=job_id,
            run_id=run_id,
            expert_key=expert,
            settings=Settings(),
            query=query,
            started_at=now_ms,
        )
        for run_id in run_ids
    ]


def ended(job: Job) -> Job:
    """Return `job` as it is once it is done."""
    done: Job = job.model_copy(
        update={"status": "completed", "finished_at": SystemClock().now_ms()}
    )
    return done


def bodies(run: int) -> Iterator[Body]:
    """Yield what a run records, step by step and without end."""
    yield StartRun(
        checkpoint_id=_point(run, 1),
        status="init",
        expert=ExpertRef(key=_EXPERT, name="reader", version="1.0.0"),
        input_messages=(UserMessage(id=MessageId("u"), contents=(TextPart(text="Read it."),)),),
    )
    step = 1
    while True:
        yield from step_bodies(run, step)
        step += 1


def step_bodies(run: int, step: int, text: str = _TEXT) -> Iterator[Body]:
    """Yield what one step records; `text` is what the model says in it."""
    call = ToolCallId(f"call{run}x{step}")
    part = ToolCallPart(tool_call_id=call, tool_name="readTextFile", args={"path": f"f{step}.txt"})
    yield StartGeneration()
    yield CallTools(
        new_message=ExpertMessage(id=MessageId(f"m{step}"), contents=(TextPart(text=text), part)),
        routes=(ToolRoute(tool_call_id=call, skill_name=BASE_SKILL, kind="mcp", repeatable=True),),
        usage=Usage(input_tokens=1000, output_tokens=50, total_tokens=1050),
    )
    result = (TextPart(text=_TEXT * 8),)
    yield ToolReturned(
        result=ToolResult(id=call, skill_name=BASE_SKILL, tool_name=part.tool_name, result=result)
    )
    yield ResolveToolResults()
    yield FinishToolCall(message_id=MessageId(f"t{step}"))
    yield ContinueToNextStep(
        checkpoint_id=_point(run, step),
        next_checkpoint_id=_point(run, step + 1),
        next_step_number=step + 1,
    )


def _point(run: int, step: int) -> CheckpointId:
    return CheckpointId(f"point{run}x{step}")


async def _write(workspace: Path, rate: int, count: int) -> None:
    history = open_history(workspace)
    job, settings = new_job("Read it.", runs=count)
    async with history.create_job(job) as held:
        writing: list[tuple[RunLog, Iterator[Body]]] = []
        for number, setting in enumerate(settings):
            writing.append((await held.create_run(setting), bodies(number)))
        print("writing", flush=True)
        began = anyio.current_time()
        for written, (log, made) in enumerate(cycle(writing), start=1):
            body = next(made)
            event = log.append(body, step_number=1)
            if isinstance(body, StartGeneration):
                for kind, text in (("start", ""), ("delta", _TEXT), ("end", _TEXT)):
                    held.say(_delta(job.id, event.run_id, kind, text))
            if isinstance(body, ContinueToNextStep):
                await log.sync()
            ahead_s = written / rate - (anyio.current_time() - began)
            if ahead_s > _TICK_S:
                await anyio.sleep(ahead_s)


def _delta(job_id: JobId, run_id: RunId, kind: str, text: str) -> Delta:
    return Delta.model_validate(
        {
            "jobId": job_id,
            "runId": run_id,
            "expertKey": _EXPERT,
            "stepNumber": 1,
            "stream": "text",
            "kind": kind,
            "text": text,
        }
    )


if __name__ == "__main__":
    count = int(sys.argv[3]) if len(sys.argv) > 3 else RUNS
    anyio.run(_write, Path(sys.argv[1]), int(sys.argv[2]), count)
