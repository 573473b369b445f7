"""Views for what a lively workspace may hold beside the plain ones: agents, pauses, long lanes."""

from __future__ import annotations

from dataclasses import replace

from perstack.domain.agents import Agent, AgentStatus
from perstack.domain.ids import AgentId, JobId, RunId
from perstack.domain.usage import Cost
from perstack.projection.views import JobView, PauseView, RunView, WorkspaceView
from tests.fakes.gateway import NOW, busy_view, job, points, run


def agent(name: str, *, job_name: str | None = None, status: AgentStatus = "idle") -> Agent:
    """A spawned agent; `job_name` is the conversation that its prompts go on with."""
    return Agent(
        id=AgentId(f"agent-{name}"),
        type="writer",
        name=name,
        status=status,
        origin="spawned",
        job_id=JobId(job_name) if job_name else None,
        memory_namespace="writer",
        created_at=NOW - 240_000,
        updated_at=NOW - 240_000,
    )


def siblings_job(done_for_ms: int = 60_000) -> JobView:
    """A coordinator at work whose first three delegates are done, a fourth failed."""
    names = ("one", "two", "three", "four", "five")
    states = ("done", "done", "done", "fail", "run")
    children = tuple(
        replace(
            run(name, state, parent="boss", started=200_000, ended=done_for_ms, kinds="ssc"),
            finished_at=None if state == "run" else NOW - done_for_ms,
            cost=Cost(usd=0.04),
        )
        for name, state in zip(names, states, strict=True)
    )
    boss = run("boss", "waits", doing="waiting on five", started=300_000, children=names)
    return job("job-8f3a", (boss, *children))


def paused_run() -> RunView:
    """A run that limits have paused."""
    pause = PauseView("limits", "cost above 2 USD", NOW - 30_000, by_limits=True)
    return replace(run("writer", "stop", doing="paused"), paused=pause)


def everything_view() -> WorkspaceView:
    """The busy workspace with a stalled run, siblings that are done, busy lately and long ago."""
    view = busy_view()
    first = view.jobs[0]
    lately = tuple(
        replace(
            one,
            points=points(
                str(one.run_id), "s" * (4 + at), start=NOW - 115_000, every=9_000 + at * 900
            ),
        )
        if one.expert_key in ("writer", "summarizer")
        else one
        for at, one in enumerate(first.runs)
    )
    stalled = replace(
        run(
            "tester",
            "stall",
            parent="coordinator",
            doing="pytest -x (no event 6m)",
            started=540_000,
        ),
        last_event_at=NOW - 360_000,
    )
    return replace(view, jobs=(replace(first, runs=(*lately, stalled)), *view.jobs[1:]))


def long_job(checkpoints: int, lanes: int = 20) -> JobView:
    """A job at work with many checkpoints in parallel lanes."""
    each = max(1, checkpoints // lanes)
    names = [f"worker{number}" for number in range(lanes - 1)]
    runs = [
        run(name, "run", parent="boss", started=each * 1000, kinds="s" * each, job="job-long")
        for name in names
    ]
    spread = [
        replace(one, points=points(str(one.run_id), "s" * each, start=one.started_at, every=997))
        for one in runs
    ]
    began = each * 1000 + 5_000
    boss = replace(
        run("boss", "waits", started=began, children=tuple(names), job="job-long"),
        points=points("boss", "s" * each, start=NOW - began, every=1000),
    )
    return job("job-long", (boss, *spread))


def first_run(view: WorkspaceView) -> RunId:
    """The newest job's coordinator."""
    return view.jobs[0].coordinator_run_id
