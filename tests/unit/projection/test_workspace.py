from __future__ import annotations

from collections.abc import Sequence

import pytest

from perstack.domain.consensus import ConsensusCheckpoint
from perstack.domain.events import (
    Delta,
    Event,
    RequestApproval,
    ResolveApproval,
    Retry,
    RunError,
    StopRunByError,
    StopRunByExceededBudget,
    StopRunByExceededMaxSteps,
    StopRunByInteractiveTool,
    SuspendRun,
)
from perstack.domain.ids import CheckpointId, ConsensusId, ExpertKey, JobId, RunId, SubtaskId
from perstack.domain.jobs import ForkPoint, Job, JobStatus
from perstack.domain.settings import RiskLevel
from perstack.domain.steering_events import PauseRun, ResumeRun
from perstack.ports.history import FeedBatch, Presence
from perstack.projection.transcript import ENTRY_CHARACTERS, MAX_ENTRIES
from perstack.projection.views import JobView, RunView
from perstack.projection.workspace import STALL_AFTER_MS, WorkspaceFold
from tests.unit.projection.builder import (
    JOB,
    START_MS,
    Clock,
    Run,
    call,
    chain,
    in_order,
    parallel,
    usage,
)


def job_record(id_: str = JOB, *, status: JobStatus = "running", coordinator: str = "r") -> Job:
    return Job(
        id=JobId(id_),
        status=status,
        coordinator_expert_key=ExpertKey("x"),
        coordinator_run_id=RunId(coordinator),
        max_steps=100,
        started_at=START_MS,
    )


def presence(job: Job | None = None, *, alive: bool = True, heartbeat_ms: int = 1) -> Presence:
    job = job or job_record()
    return Presence(job, alive=alive, pid=4121, host="box", heartbeat_ms=heartbeat_ms)


def folded(events: Sequence[Event], *, alive: bool | None = None) -> WorkspaceFold:
    fold = WorkspaceFold()
    fold.tick(START_MS)
    if alive is not None:
        fold.apply(FeedBatch(presences=(presence(alive=alive),)))
    fold.apply(FeedBatch(events=tuple(events)))
    return fold


def only_job(fold: WorkspaceFold) -> JobView:
    (job,) = fold.view().jobs
    return job


def run_of(fold: WorkspaceFold, run_id: str = "r") -> RunView:
    return next(run for run in only_job(fold).runs if run.run_id == run_id)


def started(key: str = "x") -> Run:
    run = Run("r", key)
    run.init(query="Go")
    run.start("Go")
    return run


def asking() -> Run:
    run = started()
    first = call("t1", "askUser", question="Skip it?", choices=["yes", "no"])
    second = call("t2", "askUser", question="Sure?")
    run.tools(first, second, kinds=["interactive", "interactive"])
    ids = (first.tool_call_id, second.tool_call_id)
    run.add(StopRunByInteractiveTool(checkpoint_id=run.point("s"), pending=ids))
    return run


def at_gate() -> Run:
    run = started()
    part = call("t1", "devops", query="deploy docs to prod")
    run.tools(part, kinds=["delegate"], gated=True)
    run.add(
        RequestApproval(
            consensus_id=ConsensusId("c1"),
            risk_level="high",
            reason="risky",
            subtasks={SubtaskId("s1"): part.tool_call_id},
        )
    )
    return run


def delegating(clock: Clock | None = None) -> tuple[Run, Run]:
    parent = Run("r", "x", clock or Clock())
    child = Run("child", "y", parent.clock, step=2)
    part = call("t1", "y", query="Do it")
    parent.init()
    parent.start("Go")
    parent.tools(part, kinds=["delegate"])
    made = parent.delegate((part, child))
    child.init()
    child.start("Do it", by=parent.by(part, made))
    return parent, child


# ---------------------------------------------------------------- states


def test_run_that_is_heard_of_runs_and_thinks() -> None:
    run = run_of(folded(started().events, alive=True))
    assert (run.state, run.doing, run.status) == ("run", "thinking", "proceeding")


def test_tool_that_runs_is_named_until_it_returned() -> None:
    run = started()
    part = call("t1", "writeTextFile", path="CHANGELOG.md", text="x")
    run.tools(part)
    assert run_of(folded(run.events, alive=True)).doing == "writeTextFile CHANGELOG.md"
    run.returns(part, "{}")
    assert run_of(folded(run.events, alive=True)).doing == "thinking"


def test_silence_becomes_a_stall_and_an_event_ends_it() -> None:
    run = started()
    fold = folded(run.events, alive=True)
    before = fold.view()
    fold.tick(START_MS + STALL_AFTER_MS - 1000)
    assert fold.view() is before
    fold.tick(START_MS + STALL_AFTER_MS + 1000)
    assert (run_of(fold).state, run_of(fold).doing) == ("stall", "thinking (no event 2m)")
    fold.tick(START_MS + STALL_AFTER_MS + 241_000)
    assert run_of(fold).doing == "thinking (no event 6m)"
    run.clock.now_ms = START_MS + STALL_AFTER_MS + 242_000
    fold.apply(FeedBatch(events=(run.start(None, status="proceeding"),)))
    assert run_of(fold).state == "run"


def test_speaking_counts_as_being_heard_of() -> None:
    fold = folded(started().events, alive=True)
    fold.view()
    fold.apply(FeedBatch(deltas=(delta("text", "delta", "hm"),)))
    fold.tick(START_MS + 10 * STALL_AFTER_MS)
    assert run_of(fold).state == "run"
    fold.tick(START_MS + 11 * STALL_AFTER_MS)
    assert run_of(fold).state == "stall"


def test_what_was_said_is_live_no_longer_once_its_event_came_in_the_same_batch() -> None:
    run = started()
    fold = folded(run.events, alive=True)
    called = run.tools(call("t1", "readTextFile", path="notes.txt"))
    spoken = (delta("text", "start"), delta("text", "delta", "hm"), delta("text", "end", "hm"))
    fold.apply(FeedBatch(events=tuple(run.events), deltas=spoken))
    assert called in run.events
    assert fold.live(called.run_id).text == ""
    fold.apply(FeedBatch(deltas=spoken))
    assert fold.live(called.run_id).text == ""


def test_run_without_a_process_is_lost_and_so_is_who_waits_for_it() -> None:
    parent, child = delegating()
    fold = folded(in_order(parent, child), alive=True)
    assert [run.state for run in only_job(fold).runs] == ["waits", "run"]
    assert only_job(fold).state == "run"
    fold.apply(FeedBatch(presences=(presence(alive=False),)))
    assert [run.state for run in only_job(fold).runs] == ["lost", "lost"]
    assert (only_job(fold).state, only_job(fold).alive) == ("lost", False)


def test_stalled_run_without_a_process_is_lost_not_stalled() -> None:
    fold = folded(started().events, alive=False)
    fold.tick(START_MS + 2 * STALL_AFTER_MS)
    assert run_of(fold).state == "lost"


def test_suspended_delegation_shows_stopped_runs() -> None:
    parent, child = delegating()
    child.add(SuspendRun(checkpoint_id=child.point("s"), reason="user"))
    parent.add(SuspendRun(checkpoint_id=parent.point("s"), reason="user"))
    fold = folded(in_order(parent, child), alive=False)
    assert [run.state for run in only_job(fold).runs] == ["stop", "stop"]
    assert run_of(fold).doing == "stopped by a person"


def test_a_paused_run_says_who_paused_it_and_why_until_it_goes_on() -> None:
    run = started()
    run.add(PauseRun(by="ana", reason="let me\nlook"))
    paused = run_of(folded(run.events))
    assert (paused.state, paused.doing) == ("stop", "paused by ana: let me look")
    run.add(ResumeRun(by="ana"))
    assert run_of(folded(run.events)).state == "run"
    run.add(PauseRun(by="ana"))
    run.add(SuspendRun(checkpoint_id=run.point("s"), reason="awaitingApproval"))
    nobody_waits = run_of(folded(run.events, alive=False))
    assert (nobody_waits.state, nobody_waits.doing) == ("stop", "paused by ana")


def test_a_paused_run_that_is_stopped_says_that_it_was_stopped() -> None:
    run = started()
    run.add(PauseRun(by="ana"))
    run.add(SuspendRun(checkpoint_id=run.point("s"), reason="user"))
    assert run_of(folded(run.events, alive=False)).doing == "stopped by a person"


def test_gate_holds_the_run_until_it_is_decided() -> None:
    run = at_gate()
    fold = folded(run.events, alive=True)
    shown = run_of(fold)
    assert (shown.state, shown.consensus_id) == ("gate", "c1")
    assert shown.doing == "gate: devops deploy docs to prod"
    assert only_job(fold).state == "gate"
    fold.tick(START_MS + 10 * STALL_AFTER_MS)
    assert run_of(fold).state == "gate"
    decided = ResolveApproval(
        consensus_id=ConsensusId("c1"),
        outcome="approved",
        approved=(call("t1", "devops").tool_call_id,),
        rejected=(),
        decided_by="ana",
    )
    run.clock.now_ms = START_MS + 10 * STALL_AFTER_MS
    fold.apply(FeedBatch(events=(run.add(decided),)))
    assert (run_of(fold).state, run_of(fold).consensus_id) == ("run", None)
    entry = next(entry for entry in run_of(fold).entries if entry.kind == "gate")
    assert (entry.status, entry.text) == ("ok", "s1 devops deploy docs to prod\napproved by ana")


def test_gate_whose_process_is_gone_is_a_stop_and_stays_to_be_decided() -> None:
    parent, child = delegating()
    part = call("t1", "exec", command="rm")
    child.tools(part, gated=True)
    waiting = RequestApproval(
        consensus_id=ConsensusId("c1"),
        risk_level="medium",
        reason="r",
        subtasks={SubtaskId("s1"): part.tool_call_id},
    )
    child.add(waiting)
    child.add(SuspendRun(checkpoint_id=child.point("s"), reason="awaitingApproval"))
    parent.add(SuspendRun(checkpoint_id=parent.point("s"), reason="awaitingApproval"))
    fold = folded(in_order(parent, child), alive=False)
    fold.apply_inbox([checkpoint("c1", "medium", expires_at=9)])
    assert [run.state for run in only_job(fold).runs] == ["stop", "stop"]
    assert only_job(fold).state == "stop"
    assert run_of(fold, "child").consensus_id == "c1"
    assert [one.id for one in fold.view().inbox.pending] == ["c1"]


def test_gate_whose_process_was_killed_is_lost() -> None:
    fold = folded(at_gate().events, alive=False)
    assert (run_of(fold).state, only_job(fold).state) == ("lost", "lost")


@pytest.mark.parametrize(
    ("ending", "state", "doing"),
    [
        (
            StopRunByError(
                checkpoint_id=CheckpointId("e"),
                error=RunError(name="ProviderError", message="overloaded\nvery"),
            ),
            "fail",
            "overloaded very",
        ),
        (
            StopRunByExceededMaxSteps(checkpoint_id=CheckpointId("e")),
            "limit",
            "stopped: max steps",
        ),
        (
            StopRunByExceededBudget(
                checkpoint_id=CheckpointId("e"), budget="tokens", used=12_345, allowed=10_000
            ),
            "limit",
            "stopped: budget: 12,345 of 10,000 tokens",
        ),
        (
            StopRunByExceededBudget(
                checkpoint_id=CheckpointId("e"), budget="cost", used=1.5, allowed=1
            ),
            "limit",
            "stopped: budget: $1.5000 of $1.0000",
        ),
        (
            SuspendRun(checkpoint_id=CheckpointId("e"), reason="signal"),
            "stop",
            "stopped by a signal",
        ),
    ],
)
def test_endings_have_states_of_their_own(
    ending: StopRunByError | StopRunByExceededMaxSteps | StopRunByExceededBudget | SuspendRun,
    state: str,
    doing: str,
) -> None:
    run = started()
    run.add(ending)
    shown = run_of(folded(run.events, alive=False))
    assert (shown.state, shown.doing) == (state, doing)


def test_completed_run_is_done_and_has_an_end() -> None:
    run = started()
    run.complete("All good", usage(7, 3))
    shown = run_of(folded(run.events, alive=False))
    assert (shown.state, shown.finished_at) == ("done", shown.last_event_at)
    assert shown.usage == usage(7, 3)
    assert (shown.entries[-1].kind, shown.entries[-1].text) == ("result", "All good")


def test_runs_that_wait_for_each_other_in_a_forged_history_do_no_harm() -> None:
    one, two = Run("r", "x"), Run("s", "y")
    to_two, to_one = call("t1", "y", query="a"), call("t2", "x", query="b")
    for run, part, other in ((one, to_two, two), (two, to_one, one)):
        run.start("Go")
        run.tools(part, kinds=["delegate"])
        run.delegate((part, other))
    fold = folded([*one.events, *two.events], alive=False)
    assert {run.state for run in only_job(fold).runs} == {"lost"}


# ---------------------------------------------------------------- questions and inbox


def test_questions_are_shown_one_after_the_other() -> None:
    run = asking()
    fold = folded(run.events, alive=False)
    shown = run_of(fold)
    assert (shown.state, shown.doing) == ("asks", "asks: Skip it?")
    assert shown.question is not None
    assert (shown.question.text, shown.question.choices) == ("Skip it?", ("yes", "no"))
    assert (shown.question.position, shown.question.of) == (1, 2)
    assert fold.view().inbox.questions == (shown.question,)
    fold.apply(FeedBatch(events=(run.returns(call("t1", "askUser"), "yes"),)))
    fold.apply(FeedBatch(events=(run.start(None, status="stoppedByInteractiveTool"),)))
    assert fold.view().inbox.questions == ()
    second = call("t2", "askUser").tool_call_id
    stop = StopRunByInteractiveTool(checkpoint_id=run.point("s"), pending=(second,))
    fold.apply(FeedBatch(events=(run.add(stop),)))
    (question,) = fold.view().inbox.questions
    assert (question.text, question.position, question.of) == ("Sure?", 2, 2)


def test_fork_of_a_question_asks_it_again() -> None:
    run = asking()
    stopped = run.events[-1].body
    assert isinstance(stopped, StopRunByInteractiveTool)
    fork = Run("f", "x", run.clock)
    fork.init()
    parent = ForkPoint(run_id=run.id, checkpoint_id=stopped.checkpoint_id)
    fork.start(None, status="stoppedByInteractiveTool", parent=parent)
    pending = stopped.pending
    fork.add(StopRunByInteractiveTool(checkpoint_id=fork.point("s"), pending=pending))
    fold = folded(in_order(run, fork), alive=False)
    shown = run_of(fold, "f")
    assert shown.forked_from == "r"
    assert shown.question is not None
    assert shown.question.text == "Skip it?"


def checkpoint(
    id_: str, risk: RiskLevel, *, expires_at: int, decided_at: int | None = None
) -> ConsensusCheckpoint:
    return ConsensusCheckpoint(
        id=ConsensusId(id_),
        job_id=JOB,
        run_id=RunId("r"),
        expert_key=ExpertKey("x"),
        task_id="r",
        reason="risky",
        proposed_subtasks=(),
        risk_level=risk,
        status="pending" if decided_at is None else "approved",
        created_at=1,
        expires_at=expires_at,
        decided_at=decided_at,
    )


def test_inbox_has_the_most_urgent_first_and_the_latest_decided_first() -> None:
    fold = WorkspaceFold()
    fold.apply_inbox(
        [
            checkpoint("low", "low", expires_at=1),
            checkpoint("high-later", "high", expires_at=9),
            checkpoint("high-soon", "high", expires_at=5),
            checkpoint("old", "low", expires_at=1, decided_at=2),
            checkpoint("new", "low", expires_at=1, decided_at=3),
        ]
    )
    inbox = fold.view().inbox
    assert [one.id for one in inbox.pending] == ["high-soon", "high-later", "low"]
    assert [one.id for one in inbox.decided] == ["new", "old"]


def test_same_inbox_again_changes_nothing() -> None:
    fold = WorkspaceFold()
    fold.apply_inbox([checkpoint("a", "low", expires_at=1)])
    before = fold.view()
    fold.apply_inbox([checkpoint("a", "low", expires_at=1)])
    assert fold.view() is before


# ---------------------------------------------------------------- what is shown


def test_parallel_delegation_is_shown_whole() -> None:
    job = only_job(folded(parallel()))
    top, a, b = job.runs
    assert [run.run_id for run in job.runs] == ["r-top", "r-a", "r-b"]
    assert top.children == ("r-a", "r-b")
    assert (a.parent_run_id, b.parent_run_id, top.parent_run_id) == ("r-top", "r-top", None)
    assert [point.kind for point in top.points] == ["delegate", "step", "done"]
    assert [point.kind for point in a.points] == ["step", "step", "done"]
    assert [point.usage.total_tokens for point in a.points] == [4114, 4270, 4347]
    assert [point.label for point in a.points] == ["readTextFile, todo", "todo", ""]
    assert (a.steps, a.step_number, top.step_number) == (3, 4, 6)
    assert [entry.kind for entry in a.entries] == [
        "query",
        "reasoning",
        "tool",
        "tool",
        "tool",
        "result",
    ]
    read = a.entries[2]
    assert (read.title, read.status) == ("readTextFile notes.txt", "ok")
    assert read.text == "line one\nline two\n"
    assert a.entries[0].title == "query from coordinator"
    assert [entry.kind for entry in top.entries][:4] == ["query", "text", "delegate", "delegate"]
    assert (top.entries[2].status, top.entries[2].text) == ("ok", "Two lines.")
    assert (top.model, top.provider_name, top.query) == ("scripted-1", "scripted", "Do the job")
    total = sum(run.usage.total_tokens for run in job.runs)
    assert job.usage.total_tokens == total
    assert job.coordinator_run_id == "r-top"


def test_checkpoint_lists_the_files_that_its_step_wrote() -> None:
    run = started()
    good = call("t1", "writeTextFile", path="a.txt", text="x")
    bad = call("t2", "writeTextFile", path="b.txt", text="x")
    moved = call("t3", "moveFile", source="c", destination="d")
    run.tools(good, bad, moved)
    run.returns(good, "{}")
    run.returns(bad, "Error", is_error=True)
    run.returns(moved, "{}")
    run.close_batch()
    run.next_step()
    run.complete("Done")
    shown = run_of(folded(run.events))
    assert shown.points[0].files == ("a.txt", "c", "d")
    assert shown.points[0].label == "writeTextFile, moveFile"
    assert shown.points[1].files == ()


def test_suspension_marks_the_checkpoint_it_names_again() -> None:
    run = started()
    part = call("t1", "exec", command="ls")
    run.tools(part, spent=usage(5, 2))
    run.returns(part, "{}")
    run.close_batch()
    made = run.next_step()
    run.add(Retry(reason="529", attempt=1, delay_ms=0, usage=usage(1, 0)))
    run.add(SuspendRun(checkpoint_id=made, reason="user"))
    (point,) = run_of(folded(run.events)).points
    assert (point.checkpoint_id, point.kind, point.step_number) == (made, "stop", 1)
    assert point.usage == usage(6, 2)


def test_retry_and_failure_are_in_the_transcript() -> None:
    run = started()
    run.add(Retry(reason="Error: 529", attempt=1, delay_ms=5, usage=usage(0, 0)))
    assert run_of(folded(run.events)).doing == "retry 1: Error: 529"
    error = RunError(name="ProviderError", message="gave up")
    run.add(StopRunByError(checkpoint_id=run.point("e"), error=error))
    shown = run_of(folded(run.events))
    assert [(entry.kind, entry.text) for entry in shown.entries[1:]] == [
        ("retry", "Error: 529"),
        ("error", "gave up"),
    ]
    assert shown.error == error


def test_completion_that_is_refused_is_noted() -> None:
    run = started()
    done = call("t1", "attemptCompletion")
    run.tools(done)
    run.returns(done, '{"remainingTodos":[{"id":0,"title":"a","completed":false}]}')
    shown = run_of(folded(run.events))
    assert (shown.entries[-1].kind, shown.entries[-1].title) == ("note", "not done: todos remain")


def test_hostile_text_is_bounded_and_otherwise_left_alone() -> None:
    run = started()
    part = call("t1", "exec", command="\x1b[2J" + "y" * 1_000_000)
    run.tools(part, text="z" * 1_000_000)
    run.returns(part, "w" * 1_000_000)
    entries = run_of(folded(run.events)).entries
    assert all(len(entry.text) <= ENTRY_CHARACTERS for entry in entries)
    assert all(len(entry.title) <= 200 for entry in entries)
    assert entries[-1].title.startswith("exec \x1b[2J")
    assert entries[-1].text.endswith("(cut)")


def test_long_transcript_keeps_its_last_entries_and_counts_those_before_them() -> None:
    run = started()
    fold = folded(run.events)
    for number in range(MAX_ENTRIES + 100):
        part = call(f"t{number}", "exec", command=str(number))
        first = len(run.events)
        run.tools(part)
        run.returns(part, '{"output":"ok"}')
        fold.apply(FeedBatch(events=tuple(run.events[first:])))
    shown = run_of(fold)
    assert len(shown.entries) <= MAX_ENTRIES
    assert shown.earlier + len(shown.entries) == MAX_ENTRIES + 101
    assert all(entry.status == "ok" for entry in shown.entries)
    assert shown.entries[0].title == f"exec {shown.earlier - 1}"
    assert shown.entries[-1].title == f"exec {MAX_ENTRIES + 99}"


# ---------------------------------------------------------------- cost and tolerance


def test_what_did_not_change_is_the_same_object() -> None:
    parent, child = delegating()
    fold = folded(in_order(parent, child), alive=True)
    other = Run("other", "z", Clock(START_MS + 5), job=JobId("job2"))
    other.start("Else")
    fold.apply(FeedBatch(events=tuple(other.events)))
    before = fold.view()
    assert fold.view() is before
    part = call("t9", "exec", command="ls")
    first = len(child.events)
    child.tools(part)
    fold.apply(FeedBatch(events=tuple(child.events[first:])))
    assert fold.dirty() == {child.id}
    after = fold.view()
    assert fold.dirty() == frozenset()
    by_id = {job.job_id: job for job in after.jobs}
    old = {job.job_id: job for job in before.jobs}
    assert by_id[JobId("job2")] is old[JobId("job2")]
    assert by_id[JOB] is not old[JOB]
    assert by_id[JOB].runs[0] is old[JOB].runs[0]
    assert by_id[JOB].runs[1].entries[0] is old[JOB].runs[1].entries[0]
    assert after.inbox is before.inbox


def test_heartbeats_alone_change_nothing() -> None:
    fold = folded(started().events, alive=True)
    before = fold.view()
    fold.apply(FeedBatch(presences=(presence(heartbeat_ms=99_999),)))
    assert fold.view() is before


def test_events_seen_before_change_nothing() -> None:
    events = chain()
    fold = folded(events)
    before = fold.view()
    fold.apply(FeedBatch(events=tuple(events)))
    assert fold.view() == before


def test_deltas_and_damage_of_unknown_runs_do_no_harm() -> None:
    fold = WorkspaceFold()
    fold.apply(FeedBatch(deltas=(delta("text", "delta", "x"),), damaged=((RunId("r"), "torn"),)))
    assert fold.view().jobs == ()
    assert fold.live(RunId("r")).text == ""
    fold.apply(FeedBatch(events=tuple(started().events)))
    assert only_job(fold).damage == ("r: torn",)


def test_events_in_the_middle_of_an_unknown_run_are_shown() -> None:
    events = [event for event in parallel() if event.run_id == "r-a"][8:]
    (run,) = only_job(folded(events)).runs
    assert (run.state, run.expert_key) == ("done", "worker-a")


def test_job_without_runs_is_shown_by_its_record() -> None:
    fold = WorkspaceFold()
    record = job_record(status="stoppedByMaxSteps")
    fold.apply(FeedBatch(presences=(presence(record, alive=False),), caught_up=True))
    view = fold.view()
    assert (view.jobs[0].state, view.jobs[0].runs, view.caught_up) == ("limit", (), True)


def test_newest_job_comes_first() -> None:
    fold = WorkspaceFold()
    for number in range(3):
        run = Run(f"r{number}", "x", Clock(START_MS + number * 1000), job=JobId(f"job{number}"))
        run.start("Go")
        fold.apply(FeedBatch(events=tuple(run.events)))
    assert [job.job_id for job in fold.view().jobs] == ["job2", "job1", "job0"]


# ---------------------------------------------------------------- live text


def delta(stream: str, kind: str, text: str = "") -> Delta:
    return Delta.model_validate(
        {
            "jobId": JOB,
            "runId": "r",
            "expertKey": "x",
            "stepNumber": 1,
            "stream": stream,
            "kind": kind,
            "text": text,
        }
    )


def test_live_text_grows_and_goes_when_it_became_an_event() -> None:
    run = started()
    fold = folded(run.events, alive=True)
    fold.apply(FeedBatch(deltas=(delta("reasoning", "start"), delta("reasoning", "delta", "hm "))))
    fold.apply(FeedBatch(deltas=(delta("reasoning", "delta", "so"), delta("text", "delta", "Yes"))))
    live = fold.live(run.id)
    assert (live.reasoning, live.text) == ("hm so", "Yes")
    assert fold.dirty() >= {run.id}
    assert run_of(fold).doing == "answering"
    run.tools(call("t1", "exec", command="ls"), text="Yes")
    fold.apply(FeedBatch(events=tuple(run.events)))
    assert fold.live(run.id).text == ""


def test_live_text_is_bounded_to_its_end() -> None:
    fold = folded(started().events)
    fold.apply(FeedBatch(deltas=tuple(delta("text", "delta", "ab" * 5000) for _ in range(10))))
    fold.apply(FeedBatch(deltas=(delta("text", "delta", "end"),)))
    text = fold.live(RunId("r")).text
    assert len(text) == ENTRY_CHARACTERS
    assert text.endswith("abend")
