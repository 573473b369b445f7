"""Changing runs at work: done again, another model, the new definition, a larger budget."""

from __future__ import annotations

from functools import partial
from typing import Final

from perstack.projection.views import JobView
from perstack_tui.deeds.at_work import (
    is_coordinator,
    order,
    selected,
    target_of,
    why_not_at_work,
)
from perstack_tui.deeds.items import why_not_act
from perstack_tui.deeds.table import Deed, Group
from perstack_tui.ports.gateway import Gateway
from perstack_tui.ports.host import Host
from perstack_tui.ports.steering import BudgetRaise
from perstack_tui.screens.ask import AskSheet
from perstack_tui.screens.confirm import Choice, ConfirmSheet
from perstack_tui.state.budget import HINT, raise_words, read_raise, used_lines, why_not_raise
from perstack_tui.state.definition_words import has_newest
from perstack_tui.state.lines import note
from perstack_tui.state.wording import short_id
from perstack_tui.text import flat

_LONGEST_NAME: Final = 200


def _versions(before: str, after: str) -> str:
    return f"still {flat(after)}" if before == after else f"{flat(before)} → {flat(after)}"


class Changing:
    """What is changed of the selected run, and of its job."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def group(self) -> Group:
        """Return the deeds."""
        return {
            "retry": Deed(self._retry, self._why_not_retry),
            "model": Deed(self._model, lambda: why_not_at_work(self._host)),
            "take": Deed(self._take, self._why_not_take),
            "budget": Deed(self._budget, self._why_not_budget),
        }

    # --- doing again ------------------------------------------------------------------------

    def _why_not_retry(self) -> str | None:
        if (refused := why_not_act(self._host)) is not None:
            return refused
        if (found := selected(self._host)) is None:
            return "select a run that failed"
        run, job = found
        driven = self._host.state.is_driven(job)
        if run.state in ("done", "run", "waits", "stall", "gate") and driven:
            return f"{flat(run.expert_key)} has not failed"
        if run.state == "done":
            return "it is done; i follows up"
        if run.state == "asks":
            return "it waits for an answer; i gives it"
        if not driven and not is_coordinator(self._host.state, run):
            return "the run that delegated it is not at work; i goes on with the job"
        return None

    def _retry(self) -> None:
        if (found := selected(self._host)) is None:
            return
        run, job = found
        name = flat(run.expert_key)
        if not is_coordinator(self._host.state, run):
            order(self._host, lambda s: s.retry(target_of(run)), f"{name} is to be done again")
            return

        async def again(gateway: Gateway) -> None:
            await gateway.follow_up(job.job_id, "")
            self._host.state.await_run(job.job_id, after=run.run_id)
            self._host.tell(f"{name} goes on from its last checkpoint", "good")

        self._host.command(again)

    # --- another model ----------------------------------------------------------------------

    def _model(self) -> None:
        if (found := selected(self._host)) is None:
            return
        run, _ = found
        name = flat(run.expert_key)
        sheet = AskSheet(
            self._host,
            f"Another model for {name}",
            (
                note(f" It generates with {flat(run.model)} ({flat(run.provider_name)})."),
                note(" Another of the same takes over from its next step on."),
            ),
            placeholder="a model's name",
            why_not=_why_no_model,
            draft=("model", run.run_id),
        )

        async def offer(gateway: Gateway) -> None:
            known = await gateway.steering.models(target_of(run))
            sheet.offer([(one.name, one.note) for one in known if one.name != run.model])

        def chosen(model: str | None) -> None:
            if model is not None:
                told = f"{name} generates with {flat(model)} from its next step on"
                order(self._host, lambda s: s.change_model(target_of(run), model), told)

        self._host.open_sheet(sheet, chosen)
        self._host.command(offer)

    # --- the new definition -----------------------------------------------------------------

    def _why_not_take(self) -> str | None:
        if (refused := why_not_at_work(self._host)) is not None or (
            run := self._host.state.run
        ) is None:
            return refused
        known = [one.key for one in self._host.state.definitions.experts]
        if run.expert_key not in known:
            return f"perstack.toml defines no {flat(run.expert_key)} now"
        if has_newest(self._host.state, run):
            return f"{flat(run.expert_key)} has not changed in perstack.toml since this run began"
        return None

    def _take(self) -> None:
        if (found := selected(self._host)) is None:
            return
        run, _ = found
        key, name = run.expert_key, flat(run.expert_key)
        now = next(one for one in self._host.state.definitions.experts if one.key == key)
        lines = [
            f"From its next step on {name} goes by its definition as it is saved now:",
            f"  {_versions(run.expert_version, now.version)}: instruction, skills, delegates.",
            "Skills that differ are closed and started anew. Travel back to undo it.",
        ]
        sheet = ConfirmSheet(
            self._host,
            f"Take the definition of {name} as it is now?",
            lines,
            (Choice("t", "take it"),),
            "keep the old one",
        )

        async def take(gateway: Gateway) -> None:
            version = await gateway.steering.take_definition(target_of(run), key)
            self._host.tell(f"{name} uses {flat(version)} from its next step on", "good")

        def answered(choice: str | None) -> None:
            if choice is not None:
                self._host.command(take)

        self._host.open_sheet(sheet, answered)

    # --- more to use ------------------------------------------------------------------------

    def _why_not_budget(self) -> str | None:
        state, job = self._host.state, self._host.state.job
        if (refused := why_not_act(self._host)) is not None:
            return refused
        if job is None:
            return "select a job first"
        if state.is_driven(job) or job.state == "limit":
            return None
        return "this job is not at work, and no limit stopped it"

    def _budget(self) -> None:
        if (job := self._host.state.job) is None:
            return
        at_limit = not self._host.state.is_driven(job)
        goes_on = " It ended at a limit; with more it goes on, in this process."
        sheet = AskSheet(
            self._host,
            f"More for job {short_id(job.job_id)}",
            (*used_lines(job), *((note(goes_on),) if at_limit else ())),
            placeholder=HINT,
            why_not=why_not_raise,
            draft=("budget", job.job_id),
        )
        self._host.open_sheet(sheet, partial(self._raised, job, at_limit=at_limit))

    def _raised(self, job: JobView, text: str | None, *, at_limit: bool) -> None:
        more = None if text is None else read_raise(text)
        if not isinstance(more, BudgetRaise):
            return

        async def allow(gateway: Gateway) -> None:
            await gateway.steering.raise_budget(job.job_id, more)
            goes_on = "; the job goes on" if at_limit else ""
            if at_limit:
                self._host.state.await_run(job.job_id, after=job.coordinator_run_id)
            self._host.tell(f"{raise_words(more)} more{goes_on}", "good")

        self._host.command(allow)


def _why_no_model(text: str) -> str | None:
    if not text:
        return "name a model"
    return "that name is too long" if len(text) > _LONGEST_NAME else None
