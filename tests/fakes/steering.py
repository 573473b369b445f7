"""Steering that only remembers."""

from __future__ import annotations

from collections.abc import Callable

from perstack.domain.ids import ExpertKey, JobId
from perstack_tui.ports.steering import BudgetRaise, ModelChoice, Target


class FakeSteering:
    """Hands every command to `record`, which may refuse it."""

    def __init__(self, record: Callable[..., None]) -> None:
        self._record = record

    async def stop(self, target: Target, *, now: bool = False) -> None:
        self._record("stop", target.job_id, now)

    async def pause(self, target: Target, reason: str | None = None) -> None:
        self._record("pause", target.run_id, reason)

    async def resume(self, target: Target) -> None:
        self._record("resume", target.run_id)

    async def say(self, target: Target, text: str) -> None:
        self._record("say", target.run_id, text)

    async def retry(self, target: Target) -> None:
        self._record("retry", target.run_id)

    async def models(self, target: Target) -> list[ModelChoice]:
        return [ModelChoice("swift", "$1 in, $5 out a million"), ModelChoice("deep")]

    async def change_model(self, target: Target, model: str) -> None:
        self._record("change_model", target.run_id, model)

    async def take_definition(self, target: Target, expert_key: ExpertKey) -> str:
        self._record("take_definition", target.run_id, expert_key)
        return "1.3.0"

    async def raise_budget(self, job_id: JobId, more: BudgetRaise) -> None:
        self._record("raise_budget", job_id, more)
