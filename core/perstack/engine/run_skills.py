"""The skills of a run that is being driven: opened, waited for, closed and opened anew."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from perstack.engine.opening import run_context
from perstack.engine.requests import RunHost
from perstack.engine.toolset import Toolset, build_toolset
from perstack.errors import ConfigError, PerstackError, SkillError
from perstack.ports.skills import SkillSet

if TYPE_CHECKING:
    from perstack.engine.run import RunDriver


class RunSkills:
    """Those of one run. All is done in the run's own task, as their sessions want it."""

    def __init__(self, run: RunDriver, stack: AsyncExitStack) -> None:
        """Open into `stack`, which is closed by whoever gave it."""
        self._run = run
        self._stack = stack
        self._opened: SkillSet | None = None
        self._toolset: Toolset | None = None

    @property
    def toolset(self) -> Toolset:
        """The tools, once the skills are ready."""
        if self._toolset is None:
            raise SkillError(f"the skills of {self._run.expert.key} are not open")
        return self._toolset

    async def open(self) -> PerstackError | None:
        """Open what the run's Expert has; return why that failed, if it did."""
        return await self._open_into(self._stack)

    async def ready(self) -> PerstackError | None:
        """Wait for those that the run did not wait for as it began, unless a stop comes first.

        Only when none failed and no stop came there is a toolset.
        """
        if self._opened is None:
            return SkillError(f"the skills of {self._run.expert.key} are not open")
        try:
            with self._run.control.interruptible() as scope:
                await self._opened.ready()
        except SkillError as error:
            return error
        if not scope.cancel_called:
            self.offer()
        return None

    def offer(self) -> None:
        """Join the tools with delegates and questions, as the run's Expert is defined now."""
        run = self._run
        if self._opened is not None:
            self._toolset = build_toolset(
                run.expert, run.job.plan.experts, self._opened, may_ask=run.depth == 0
            )

    async def open_anew(self) -> PerstackError | None:
        """Close them all, and open what the run's Expert has now, unless a stop comes first."""
        await self._stack.aclose()
        self._opened = None
        opening = self._run.control.interruptible()
        async with AsyncExitStack() as stack:
            scope = stack.enter_context(opening)
            failure = await self._open_into(stack)
            opening.release()
            if not scope.cancel_called:
                # The scope is left after what was opened within it.
                self._stack.push_async_exit(stack.pop_all())
                return failure or await self.ready()
        self._opened = None
        return None

    async def _open_into(self, stack: AsyncExitStack) -> PerstackError | None:
        run = self._run
        opener = run.job.deps.skills
        context = run_context(run)
        try:
            self._opened = await stack.enter_async_context(
                opener.open(run.expert, context, run.notice, RunHost(run))
            )
        except (SkillError, ConfigError) as error:
            return error
        return None
