"""Workflows over a real database and real files, their Experts played."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import anyio
import pytest
from pydantic import JsonValue

from perstack.domain.workflows import PhaseResult, WorkflowConfig, WorkflowRunId
from perstack.errors import ConflictError, NotFoundError, ProviderError, UsageError
from perstack.ports.experts import ExpertAnswer, ExpertRequest
from perstack.ports.stores import Stores
from perstack.ports.system import SystemClock, Uuids
from perstack.services.bus import Message, MessageBus
from perstack.services.handle import Handle
from perstack.services.reviews.service import ReviewLoops
from perstack.services.workflows.runner import PhaseContext, WorkflowRunner
from perstack.services.workflows.service import Workflows
from perstack.storage.database.opener import open_stores
from tests.fakes.consensus import until
from tests.fakes.crew import FakeCrew
from tests.fakes.runner import Answering, FakeRunner, key_of, make_answer, make_expert, use

pytestmark = pytest.mark.anyio

EXPERTS = ("architect", "researcher", "coder", "tester", "reviewer", "documentation", "adversarial")


class Bench:
    """A process's workflows in a workspace, with everything they told and whom they asked."""

    def __init__(self, workspace: Path, answer: Answering | None) -> None:
        self.told: list[Message] = []
        bus = MessageBus()
        bus.subscribe_all(self.told.append)
        self.handle: Handle[Stores] = Handle(
            lambda: open_stores(
                workspace / "perstack" / "perstack.db", clock=SystemClock(), ids=Uuids()
            )
        )
        clock, ids = SystemClock(), Uuids()
        self.experts = (
            None
            if answer is None
            else FakeRunner(answer, {key: make_expert(key) for key in EXPERTS})
        )
        self.runner = WorkflowRunner(self.handle, bus=bus, clock=clock, ids=ids)
        self.workflows = Workflows(
            self.runner,
            workspace=workspace,
            experts=self.experts,
            loops=None
            if self.experts is None
            else ReviewLoops(
                self.handle, runner=self.experts, crew=FakeCrew(), bus=bus, clock=clock, ids=ids
            ),
        )

    @property
    def asked(self) -> list[str]:
        return [] if self.experts is None else [key_of(one) for one in self.experts.asked]

    def events(self, kind: str) -> list[str]:
        return [message.type for message in self.told if message.type.startswith(kind)]


Make = Callable[..., Bench]


@pytest.fixture
async def make(tmp_path: Path) -> AsyncGenerator[Make]:
    made: list[Bench] = []

    def bench(answer: Answering | None = None) -> Bench:
        made.append(Bench(tmp_path, answer))
        return made[-1]

    yield bench
    for one in made:
        await one.handle.aclose()


async def done(context: PhaseContext) -> PhaseResult:
    return PhaseResult(phase="made up", success=True, artifacts={"before": len(context.results)})


CONFIG = WorkflowConfig(id="mine", name="Mine", phases=("inventory", "analysis", "sync"))


# ------------------------------------------------------------------ the runner


async def test_phases_run_in_order_and_unknown_ones_are_skipped(make: Make) -> None:
    bench = make()
    heard: list[JsonValue] = []
    bench.runner.register_phase("inventory", done)
    bench.runner.register_phase("sync", done)
    bench.runner.on("phase:complete", lambda payload: heard.append(payload["result"]))
    report = await bench.runner.run(CONFIG)
    assert [(one.phase, one.skipped) for one in report.phases] == [
        ("inventory", False),
        ("analysis", True),
        ("sync", False),
    ]
    assert report.phases[2].artifacts == {"before": 2}
    assert (report.verdict, report.verdict_by) == ("PASS", "phases")
    assert len(heard) == 3
    assert bench.events("workflow:") == ["workflow:start", "workflow:complete"]
    (stored,) = await bench.runner.list()
    assert (stored.report, stored.status) == (report, "completed")
    assert await bench.runner.resume(stored.id) == report


async def test_agentstack_row_133_two_failures_and_a_pass_are_three_adversarial_runs(
    make: Make,
) -> None:
    bench, asked = make(), list[str]()

    async def judged(context: PhaseContext) -> PhaseResult:
        asked.append(f"adversarial {context.iteration}")
        return PhaseResult(phase="adversarial", success=len(asked) > 4)

    async def sync(context: PhaseContext) -> PhaseResult:
        asked.append(f"sync {context.iteration}")
        return PhaseResult(phase="sync", success=True)

    bench.runner.register_phase("adversarial", judged)
    bench.runner.register_phase("sync", sync)
    config = CONFIG.model_copy(update={"phases": ("adversarial", "sync"), "judge": "adversarial"})
    report = await bench.runner.run(config)
    assert asked[:5] == ["adversarial 0", "sync 1", "adversarial 1", "sync 2", "adversarial 2"]
    assert report.verdict == "PASS"


async def test_a_phase_that_raises_fails_the_run_which_is_resumed_at_that_phase(
    make: Make,
) -> None:
    bench, calls = make(), list[str]()

    async def counted(context: PhaseContext) -> PhaseResult:
        calls.append("inventory")
        return await done(context)

    async def breaks(_: PhaseContext) -> PhaseResult:
        calls.append("sync")
        if len(calls) == 2:
            raise ValueError("secret")
        return PhaseResult(phase="sync", success=True)

    bench.runner.register_phase("inventory", counted)
    bench.runner.register_phase("sync", breaks)
    with pytest.raises(ValueError, match="secret"):
        await bench.runner.run(CONFIG)
    (run,) = await bench.runner.list()
    assert (run.status, run.error) == ("failed", "ValueError")
    assert bench.events("workflow:")[-1] == "workflow:error"
    assert (await bench.runner.resume(run.id)).verdict == "PASS"
    assert calls == ["inventory", "sync", "sync"]


async def test_another_process_aborts_a_run(make: Make) -> None:
    here, there, began = make(), make(), anyio.Event()

    async def hangs(_: PhaseContext) -> PhaseResult:
        began.set()
        await anyio.sleep_forever()
        raise AssertionError

    there.runner.register_phase("inventory", hangs)
    run = await there.runner.create(CONFIG)

    async def drive() -> None:
        with pytest.raises(ConflictError, match="was aborted"):
            await there.runner.resume(run.id)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(drive)
        await began.wait()
        with pytest.raises(ConflictError, match="is driven already"):
            await here.runner.resume(run.id)
        assert (await here.runner.abort(run.id)).status == "aborted"
    with pytest.raises(ConflictError):
        await here.runner.abort(run.id)


async def test_what_cannot_be_run_is_refused(make: Make) -> None:
    bench = make()
    for values in (
        {"phases": ()},
        {"phases": ("a", "a")},
        {"phases": ("a b",)},
        {"max_iterations": 11},
        {"phases": tuple(f"p{n}" for n in range(51))},
    ):
        with pytest.raises(UsageError):
            await bench.runner.run(CONFIG.model_copy(update=values))
    with pytest.raises(NotFoundError, match="Unknown workflow: nope"):
        await bench.workflows.run("nope", {})
    with pytest.raises(NotFoundError, match="Unknown workflow: full-stack-feature"):
        await bench.workflows.run("full-stack-feature", {})
    with pytest.raises(NotFoundError, match="Workflow run not found"):
        await bench.workflows.resume(WorkflowRunId("nope"))
    for options in ({"docs": 3}, {"nope": 1}, {"maxIterations": 99}):
        with pytest.raises(UsageError, match="doc-sync's option"):
            await bench.workflows.run("doc-sync", options)
    assert await bench.workflows.list() == []


# ------------------------------------------------------------------- doc-sync


def lay_out(workspace: Path) -> Path:
    """A guide that names a file that is there and one that is not."""
    (workspace / "src" / "deep").mkdir(parents=True)
    (workspace / "src" / "deep" / "app.py").write_text("x = 1\n")
    (workspace / "docs").mkdir()
    guide = workspace / "docs" / "guide.md"
    guide.write_text("# Guide\n\nSee `deep/app.py` and `src/gone.py`.\n\n## Old\n")
    return guide


async def test_agentstack_row_134_a_missing_file_is_medium_then_high_and_fails(
    make: Make, tmp_path: Path
) -> None:
    lay_out(tmp_path)
    report = await make().workflows.run_doc_sync("./docs", "./src")
    found = {one.phase: [finding.severity for finding in one.findings] for one in report.phases}
    assert (found["analysis"], found["adversarial"]) == (["medium"], ["high"])
    assert (report.verdict, report.confidence) == ("FAIL", "LOW")
    assert len(report.phases) == 6
    assert report.summary.documents_scanned == 1
    (finding,) = report.phases[1].findings
    assert (finding.file, finding.line) == ("docs/guide.md", 3)


async def test_a_stale_document_is_really_rewritten_and_reviewed_again(
    make: Make, tmp_path: Path
) -> None:
    guide = lay_out(tmp_path)

    async def answer(request: ExpertRequest) -> ExpertAnswer:
        if key_of(request) == "documentation":
            assert "src/gone.py" in request.query
            await anyio.Path(guide).write_text("# Guide\n\nSee `src/deep/app.py`.\n\n## New\n")
        await use(request, "submitPhase", success=True, summary="done")
        return make_answer("done")

    bench = make(answer)
    report = await bench.workflows.run_doc_sync()
    assert bench.asked == ["documentation", "reviewer"]
    assert (report.verdict, report.confidence) == ("PASS", "HIGH")
    summary = report.summary
    assert (summary.documents_updated, summary.sections_added, summary.sections_removed) == (
        1,
        1,
        1,
    )
    assert summary.findings_total == 1  # what the analysis found, before it was put right
    reviewer = bench.experts.asked[1].expert if bench.experts else ""
    assert not isinstance(reviewer, str)
    assert "writeTextFile" not in str(reviewer.skills)


async def test_an_expert_that_only_says_that_it_rewrote_is_not_believed(
    make: Make, tmp_path: Path
) -> None:
    lay_out(tmp_path)

    async def answer(request: ExpertRequest) -> ExpertAnswer:
        await use(request, "submitPhase", success=True, summary="All documents are right now.")
        return make_answer("done")

    bench = make(answer)
    report = await bench.workflows.run("doc-sync", {"maxIterations": 1})
    assert bench.asked == ["documentation", "reviewer"] * 2
    assert (report.verdict, report.summary.documents_updated) == ("FAIL", 0)


@pytest.mark.parametrize("handed_in", [True, False])
async def test_a_reviewer_decides_beside_what_code_can_check(
    make: Make, tmp_path: Path, handed_in: bool
) -> None:
    lay_out(tmp_path).write_text("# Guide\n\nSee `src/deep/app.py`.\n")

    async def answer(request: ExpertRequest) -> ExpertAnswer:
        if handed_in:
            finding: JsonValue = {"claim": "x is 1", "contradiction": "it is 2", "severity": "high"}
            await use(request, "submitPhase", success=True, summary="", findings=[finding])
        return make_answer("**VERDICT: APPROVE**")

    report = await make(answer).workflows.run("doc-sync", {"maxIterations": 0})
    assert report.verdict == "FAIL"
    said = report.phases[4].findings[0].contradiction
    assert said == ("it is 2" if handed_in else "The reviewer handed in no report")


async def test_a_proposal_changes_no_file(make: Make, tmp_path: Path) -> None:
    guide = lay_out(tmp_path)
    before = guide.read_text()

    async def answer(request: ExpertRequest) -> ExpertAnswer:
        assert "writeTextFile" not in str(request.expert)
        await use(request, "submitPhase", success=True, summary="", proposal="# New\n")
        return make_answer("done")

    report = await make(answer).workflows.run("doc-sync", {"propose": True})
    assert report.phases[2].artifacts["proposals"] == {"docs/guide.md": "# New\n"}
    assert guide.read_text() == before
    assert report.verdict == "FAIL"


async def test_links_anchors_and_fences_are_checked(make: Make, tmp_path: Path) -> None:
    lay_out(tmp_path).write_text(
        "# Guide\n[a](b.md) [b](other.md#there) [c](other.md#nope)\n"
        "[d](#guide) [e](/docs/other.md)\n```\n"
    )
    (tmp_path / "docs" / "other.md").write_text("# There\n[up](../docs/guide.md#guide)\n")
    report = await make().workflows.run_doc_sync()
    found = [(one.severity, one.contradiction) for one in report.phases[3].findings]
    assert found == [
        ("medium", "There is no file b.md"),
        ("low", "docs/other.md has no heading #nope"),
        ("low", "It is never closed"),
    ]


async def test_nothing_outside_of_the_workspace_is_read(make: Make, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.md").write_text("# Secret\n`../x.py`\n")
    workspace = tmp_path / "work"
    (workspace / "docs").mkdir(parents=True)
    (workspace / "docs" / "link.md").symlink_to(outside / "secret.md")
    (workspace / "docs" / "folder").symlink_to(outside)
    (workspace / "docs" / "real.md").write_text("`../outside/secret.py` and `/etc/x.py`\n")
    (outside / "secret.py").write_text("")
    bench = Bench(workspace, None)
    report = await bench.workflows.run_doc_sync()
    assert report.summary.documents_scanned == 1
    assert len(report.phases[1].findings) == 2
    for options in ({"docs": "../outside"}, {"docs": "docs/folder"}, {"src": "/etc"}):
        with pytest.raises(UsageError, match="outside of the workspace"):
            await bench.workflows.run("doc-sync", options)
    await bench.handle.aclose()


async def test_folders_of_others_and_of_perstack_itself_are_left_out(
    make: Make, tmp_path: Path
) -> None:
    for folder in ("node_modules", ".git", "dist", "perstack", "core/perstack"):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / "a.md").write_text("`nope.py` and `app.py`\n")
        (tmp_path / folder / "app.py").write_text("")
    report = await make().workflows.run_doc_sync(".")
    assert [one.file for one in report.phases[1].findings] == ["core/perstack/a.md"]


async def test_only_what_is_a_document_can_be_named_as_one(make: Make, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("# a key\n")
    (tmp_path / "README.md").write_text("# Read me\n")
    bench = make()
    assert (await bench.workflows.run_doc_sync("README.md")).summary.documents_scanned == 1
    report = await bench.workflows.run_doc_sync(".env")
    assert (report.summary.documents_scanned, report.verdict) == (0, "FAIL")
    assert [one.severity for one in report.phases[0].findings] == ["high"]


async def test_documents_that_are_too_large_or_wildly_named_are_said_to_be_left_out(
    make: Make, tmp_path: Path
) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "large.md").write_bytes(b"x" * 1_000_001)
    (docs / "new\nline.md").write_text("`nope.py`\n")
    (docs / os.fsdecode(b"\xff.md")).write_text("`nope.py`\n")
    report = await make().workflows.run_doc_sync()
    assert (report.summary.documents_scanned, report.verdict) == (0, "PASS")
    left_out = [(one.severity, one.file) for one in report.phases[0].findings]
    assert left_out == [
        ("low", "docs/large.md"),
        ("low", "docs/new\nline.md"),
        ("low", "docs/?.md"),
    ]


async def test_a_folder_that_is_not_there_is_a_high_finding_and_no_pass(make: Make) -> None:
    report = await make().workflows.run_doc_sync("./nope")
    assert (report.phases[0].findings[0].severity, report.phases[0].success) == ("high", False)
    assert report.verdict == "FAIL"


# ------------------------------------------------------------- the two others

FEATURE: dict[str, JsonValue] = {
    "description": "Dark mode",
    "requirements": ["it is dark"],
    "techStack": ["textual"],
}


async def test_a_feature_goes_through_its_experts_each_knowing_what_was_done(make: Make) -> None:
    reviews = [False, True]

    async def answer(request: ExpertRequest) -> ExpertAnswer:
        key = key_of(request)
        success = reviews.pop(0) if key == "reviewer" else True
        more: dict[str, JsonValue] = {"coverage": 70} if key == "tester" else {}
        await use(request, "submitPhase", success=success, summary=f"{key} was here", **more)
        return make_answer("done")

    bench = make(answer)
    report = await bench.workflows.run("full-stack-feature", FEATURE)
    once = ["architect", "researcher", "coder", "coder", "tester", "reviewer"]
    assert bench.asked == [*once, "coder", "coder", "tester", "reviewer", "documentation"]
    assert (report.verdict, report.verdict_by) == ("PASS", "judge")
    assert bench.experts is not None
    assert "architect was here" in bench.experts.asked[2].query
    assert "A review rejected" in bench.experts.asked[6].query
    assert [one.contradiction for one in report.phases[5].findings] == ["It is 70 %"]


async def test_a_feature_without_a_description_is_not_begun(make: Make) -> None:
    def answer(_: ExpertRequest) -> ExpertAnswer:
        return make_answer("done")

    bench = make(answer)
    report = await bench.workflows.run("full_stack_feature_pipeline", {})
    assert (report.verdict, bench.asked) == ("FAIL", [])
    assert [one.severity for one in report.phases[0].findings] == ["high", "medium"]
    with pytest.raises(UsageError, match="no phase 'nope'"):
        await bench.workflows.run("full-stack-feature", {"phases": ["nope"]})


async def test_a_feature_whose_expert_fails_goes_on_there_in_another_process(make: Make) -> None:
    broken = True

    async def answer(request: ExpertRequest) -> ExpertAnswer:
        if key_of(request) == "tester" and broken:
            return make_answer(ending="failed", error="no vendor")
        await use(request, "submitPhase", success=True, summary="done")
        return make_answer("done")

    first, second = make(answer), make(answer)
    with pytest.raises(ProviderError, match="tester failed: no vendor"):
        await first.workflows.run("full-stack-feature", FEATURE)
    (run,) = await second.workflows.list()
    broken = False
    assert (await second.workflows.resume(run.id)).verdict == "PASS"
    assert second.asked == ["tester", "reviewer", "documentation"]


async def test_a_review_that_hands_in_nothing_is_none(make: Make) -> None:
    def answer(request: ExpertRequest) -> ExpertAnswer:
        return make_answer(f"{key_of(request)} is done. success: true")

    phases: list[JsonValue] = ["backend", "review"]
    options: dict[str, JsonValue] = {**FEATURE, "phases": phases, "maxIterations": 0}
    report = await make(answer).workflows.run("full-stack-feature", options)
    assert [one.success for one in report.phases] == [True, False]
    assert report.verdict == "FAIL"


@pytest.mark.parametrize("verdict", ["APPROVE", "REJECT"])
async def test_an_adversarial_review_is_a_review_loop(make: Make, verdict: str) -> None:
    async def answer(request: ExpertRequest) -> ExpertAnswer:
        if key_of(request) == "coder":
            await use(request, "submitCode", code="x = 1")
        else:
            await use(request, "submitVerdict", verdict=verdict, summary="looked")
        return make_answer("done")

    bench = make(answer)
    report = await bench.workflows.run("adversarial-review", {"task": "x", "maxIterations": 2})
    assert report.verdict == ("PASS" if verdict == "APPROVE" else "FAIL")
    assert report.phases[0].artifacts["finalCode"] == "x = 1"
    assert len(report.phases[0].findings) == (0 if verdict == "APPROVE" else 1)
    assert "loop:complete" in bench.events("loop:")


async def test_an_adversarial_review_that_failed_is_begun_again(make: Make) -> None:
    async def answer(request: ExpertRequest) -> ExpertAnswer:
        if len(bench.asked) == 1:
            return make_answer(ending="failed", error="no vendor")
        if key_of(request) == "coder":
            return make_answer("x = 1")
        await use(request, "submitVerdict", verdict="APPROVE")
        return make_answer("done")

    bench = make(answer)
    run = await bench.workflows.create("adversarial-review", {"task": "x"})
    with pytest.raises(ProviderError, match="no vendor"):
        await bench.workflows.resume(run.id)
    report = await bench.workflows.resume(run.id)
    assert (report.verdict, report.phases[0].artifacts["loopId"]) == ("PASS", f"{run.id}-2")


async def test_an_adversarial_review_goes_on_with_its_loop(make: Make) -> None:
    async def answer(request: ExpertRequest) -> ExpertAnswer:
        if key_of(request) == "coder":
            return make_answer("x = 1")
        if len(bench.asked) == 2:
            await anyio.sleep_forever()
        await use(request, "submitVerdict", verdict="APPROVE")
        return make_answer("done")

    bench = make(answer)
    run = await bench.workflows.create("adversarial-review", {"task": "x"})
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.workflows.resume, run.id)
        await until(lambda: len(bench.asked) == 2)
        tasks.cancel_scope.cancel()
    assert (await bench.workflows.resume(run.id)).verdict == "PASS"
    assert bench.asked == ["coder", "adversarial", "adversarial"]
