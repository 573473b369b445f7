"""The built-in workflows by name: start, resume, abort and look at them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import JsonValue

from perstack.domain.ids import SessionId
from perstack.domain.workflows import (
    WorkflowConfig,
    WorkflowReport,
    WorkflowRun,
    WorkflowRunId,
)
from perstack.errors import ConflictError, NotFoundError
from perstack.ports.experts import ExpertRunner
from perstack.services.reviews.service import ReviewLoops
from perstack.services.workflows import adversarial, doc_sync, feature
from perstack.services.workflows.options import read_options
from perstack.services.workflows.runner import PhaseExecutor, WorkflowRunner

Options = Mapping[str, JsonValue]
MOST_RUNS: Final = 1_000


@dataclass(frozen=True, slots=True)
class WorkflowInfo:
    """A workflow that can be started, and whether it needs a model."""

    id: str
    name: str
    needs_model: bool


_BUILT_IN: Final = (
    WorkflowInfo(doc_sync.WORKFLOW, "Documentation truth sync with adversarial review", False),
    WorkflowInfo(feature.WORKFLOW, "Full-stack feature pipeline", True),
    WorkflowInfo(adversarial.WORKFLOW, "Adversarial review", True),
)


# What upstream's code calls them.
_ALIASES: Final = {
    "documentation_truth_sync_with_adversarial_review": doc_sync.WORKFLOW,
    "full_stack_feature_pipeline": feature.WORKFLOW,
}


def built_ins() -> Sequence[WorkflowInfo]:
    """Return the built-in workflows, whether they can be run here or not."""
    return _BUILT_IN


def built_in(workflow: str) -> WorkflowInfo:
    """Return the built-in workflow of that id or upstream's name.

    Raises:
        NotFoundError: there is none.
    """
    wanted = _ALIASES.get(workflow, workflow)
    found = next((one for one in _BUILT_IN if one.id == wanted), None)
    if found is None:
        raise _unknown(workflow, [one.id for one in _BUILT_IN])
    return found


class Workflows:
    """What front ends call. `experts` and `loops` None: there is no model, only `doc-sync` works.

    `runner` is where programs register workflows of their own.
    """

    def __init__(
        self,
        runner: WorkflowRunner,
        *,
        workspace: Path,
        experts: ExpertRunner | None,
        loops: ReviewLoops | None,
    ) -> None:
        self.runner = runner
        self._makers: dict[str, Callable[[Options], WorkflowConfig]] = {
            doc_sync.WORKFLOW: _doc_sync_config if experts is not None else _doc_check_config
        }
        self._register(doc_sync.WORKFLOW, doc_sync.DocSync(workspace, experts).executors)
        if experts is not None:
            self._makers[feature.WORKFLOW] = _feature_config
            self._register(feature.WORKFLOW, feature.Feature(experts).executors)
        if loops is not None:
            self._makers[adversarial.WORKFLOW] = _adversarial_config
            self._register(adversarial.WORKFLOW, adversarial.Adversarial(loops).executors)

    def available(self) -> Sequence[WorkflowInfo]:
        """Return the workflows that can be started here."""
        return [one for one in _BUILT_IN if one.id in self._makers]

    async def create(
        self, workflow: str, options: Options, *, session_id: SessionId | None = None
    ) -> WorkflowRun:
        """Write a run of a built-in workflow; `resume` drives it.

        Raises:
            NotFoundError: there is no such workflow here.
            UsageError: an option cannot be used.
        """
        make = self._makers.get(_ALIASES.get(workflow, workflow))
        if make is None:
            raise _unknown(workflow, self._makers)
        return await self.runner.create(make(options), session_id=session_id)

    async def run(
        self, workflow: str, options: Options, *, session_id: SessionId | None = None
    ) -> WorkflowReport:
        """Do a built-in workflow to its report.

        Raises:
            NotFoundError, UsageError: as `create`.
            PerstackError: as `WorkflowRunner.resume`.
        """
        run = await self.create(workflow, options, session_id=session_id)
        return await self.runner.resume(run.id)

    async def start(self, workflow: str, options: Options) -> JsonValue:
        """As `run`, for hooks: the report as JSON."""
        report: JsonValue = (await self.run(workflow, options)).model_dump(mode="json")
        return report

    async def run_doc_sync(self, docs: str = "./docs", src: str = ".") -> WorkflowReport:
        """Bring the documents below `docs` in line with the sources below `src`."""
        return await self.run(doc_sync.WORKFLOW, {"docs": docs, "src": src})

    async def resume(self, run_id: WorkflowRunId) -> WorkflowReport:
        """Drive a run on to its report.

        Raises:
            NotFoundError: there is no such run, or its workflow needs a model and there is none.
            PerstackError: as `WorkflowRunner.resume`.
        """
        run = await self.runner.get(run_id)
        built_in = [one.id for one in _BUILT_IN]
        if run.config.id in built_in and run.config.id not in self._makers:
            raise NotFoundError(f"the workflow {run.config.id} cannot be run without a model")
        return await self.runner.resume(run_id)

    async def abort(self, run_id: WorkflowRunId) -> WorkflowRun:
        """End a run; see `WorkflowRunner.abort`."""
        return await self.runner.abort(run_id)

    async def abort_all(self) -> Sequence[WorkflowRun]:
        """End every run that is not at its end (of the newest 1,000); return those."""
        ended: list[WorkflowRun] = []
        for run in await self.runner.list(limit=MOST_RUNS):
            if run.status == "running":
                with suppress(ConflictError):
                    ended.append(await self.runner.abort(run.id))
        return ended

    async def get(self, run_id: WorkflowRunId) -> WorkflowRun:
        """Return a run; see `WorkflowRunner.get`."""
        return await self.runner.get(run_id)

    async def list(self, *, limit: int = 100) -> Sequence[WorkflowRun]:
        """Return runs, newest first."""
        return await self.runner.list(limit=limit)

    def _register(self, workflow: str, executors: Mapping[str, PhaseExecutor]) -> None:
        for phase, executor in executors.items():
            self.runner.register_phase(phase, executor, workflow=workflow)


def _unknown(workflow: str, available: Iterable[str]) -> NotFoundError:
    hint = f"available: {', '.join(available)}"
    return NotFoundError(f"Unknown workflow: {workflow[:100]}", hint=hint)


def _doc_sync_config(options: Options) -> WorkflowConfig:
    return doc_sync.make_config(read_options(doc_sync.DocSyncOptions, doc_sync.WORKFLOW, options))


def _doc_check_config(options: Options) -> WorkflowConfig:
    return _doc_sync_config({**options, "noModel": True})


def _feature_config(options: Options) -> WorkflowConfig:
    return feature.make_config(read_options(feature.FeatureOptions, feature.WORKFLOW, options))


def _adversarial_config(options: Options) -> WorkflowConfig:
    return adversarial.make_config(
        read_options(adversarial.AdversarialOptions, adversarial.WORKFLOW, options)
    )
