"""Starting runs and talking to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perstack.domain.ids import ExpertKey, JobId
from perstack.projection.views import JobView, RunView
from perstack_tui.deeds.at_work import is_at_work, target_of
from perstack_tui.deeds.items import open_item, why_not_act
from perstack_tui.deeds.table import Deed, Group
from perstack_tui.ports.gateway import Gateway
from perstack_tui.ports.host import Host
from perstack_tui.screens.compare import CompareSheet
from perstack_tui.screens.new_run import NewRunSheet
from perstack_tui.state.definitions import definitions_problem
from perstack_tui.state.experts import selected_expert
from perstack_tui.state.inbox import Item
from perstack_tui.state.wording import short_id
from perstack_tui.text import flat

if TYPE_CHECKING:
    from perstack_tui.screens.main import MainScreen


def open_registry(host: Host, words: str = "") -> None:
    """Show the registry of Experts."""
    from perstack_tui.screens.registry import RegistryScreen

    host.open_sheet(RegistryScreen(host, words))


class Working:
    """New runs, replies and follow-ups."""

    def __init__(self, screen: MainScreen, host: Host) -> None:
        self._screen = screen
        self._host = host
        self._follow_up_job = JobId("")
        self._told_run: RunView | None = None

    def group(self) -> Group:
        """Return the deeds."""
        return {
            "new_run": Deed(lambda: self.new_run(self._expert_here()), self._why_not_new),
            "registry": Deed(lambda: open_registry(self._host)),
            "compare_runtimes": Deed(self._compare, self._why_not_new),
            "reply": Deed(self._reply, lambda: why_not_act(self._host)),
        }

    def _why_not_new(self) -> str | None:
        definitions = self._host.state.definitions
        refused = why_not_act(self._host)
        if refused is not None or definitions.experts or definitions.builtins:
            return refused
        error = definitions_problem(definitions)
        return "no Expert is defined" + (f": {error}" if error else ": write a perstack.toml")

    def _expert_here(self) -> ExpertKey | None:
        """Return the Expert that is selected in its pane, None in any other."""
        expert = selected_expert(self._host.state) if self._screen.active == "experts" else None
        return expert.key if expert is not None else None

    def new_run(self, expert: ExpertKey | None = None) -> None:
        """Open the sheet that starts a run."""
        # One that was named needs none that is defined here: it may be the registry's.
        reason = self._why_not_new() if expert is None else why_not_act(self._host)
        if reason is not None:
            self._host.tell(reason, "bad")
        else:
            self._host.open_sheet(NewRunSheet(self._host, expert))

    def _compare(self) -> None:
        self._host.open_sheet(CompareSheet(self._host, self._expert_here()))

    def _reply(self) -> None:
        state = self._host.state
        item = state.item if self._screen.active == "inbox" else None
        if item is not None and item.key.kind in ("ask", "input"):
            open_item(self._host, item)
            return
        asked = self._question_here()
        if asked is not None:
            open_item(self._host, asked)
        elif state.job is None:
            self._host.tell("select a run first; n starts one")
        elif state.is_driven(state.job):
            self._ask_what_to_say(state.job)
        else:
            self._ask_follow_up(state.job)

    def _question_here(self) -> Item | None:
        """Return what the selected run asks, else what another run of its job does."""
        state = self._host.state
        asked = [item for item in state.pending if item.key.kind in ("ask", "input")]
        mine = [item for item in asked if item.run_id == state.run_id]
        runs = {run.run_id for run in state.job.runs} if state.job is not None else set[object]()
        return next(iter(mine + [item for item in asked if item.run_id in runs]), None)

    def _ask_what_to_say(self, job: JobView) -> None:
        run = self._host.state.run
        if run is None or not is_at_work(run):
            # What has ended reads nothing any more; its coordinator does.
            run = self._host.state.index.run(job.coordinator_run_id)
        if run is None or not is_at_work(run):
            self._host.tell("nothing of this job is at work that could read it")
            return
        self._told_run = run
        draft = self._host.state.drafts.get(("say", run.run_id), "")
        self._screen.prompt.ask("follow_up", f"say to {flat(run.expert_key)}", draft)

    def _ask_follow_up(self, job: JobView) -> None:
        self._told_run = None
        draft = self._host.state.drafts.get(("follow_up", job.job_id), "")
        self._follow_up_job = job.job_id
        label = f"follow up {short_id(job.job_id)}"
        if job.state != "done":
            label = f"go on with {short_id(job.job_id)} (text optional)"
        self._screen.prompt.ask("follow_up", label, draft)

    # --- the prompt line --------------------------------------------------------------------

    def typed(self, text: str) -> None:
        """Keep what is being typed."""
        told = self._told_run
        draft = ("follow_up", self._follow_up_job) if told is None else ("say", told.run_id)
        self._host.state.drafts[draft] = text

    def entered(self, text: str) -> bool:
        """Send; say whether there was something to send."""
        if self._told_run is not None:
            return self._say(self._told_run, text.strip())
        if not (text.strip() or self._may_go_on(self._follow_up_job)):
            return False
        self._send_follow_up(self._follow_up_job, text)
        return True

    def left(self) -> None:
        """The draft stays."""

    def _say(self, run: RunView, text: str) -> bool:
        if not text:
            return False
        state, name = self._host.state, flat(run.expert_key)

        async def say(gateway: Gateway) -> None:
            await gateway.steering.say(target_of(run), text)
            state.drafts.pop(("say", run.run_id), None)
            self._host.tell(f"{name} reads it before its next step", "good")

        self._host.command(say)
        return True

    def _may_go_on(self, job_id: JobId) -> bool:
        """Say whether the job has something left to do, so that nothing need be said."""
        job = self._host.state.index.jobs.get(job_id)
        return job is not None and job.state != "done"

    def _send_follow_up(self, job_id: JobId, text: str) -> None:
        state = self._host.state
        job = state.index.jobs.get(job_id)
        before = job.coordinator_run_id if job is not None else None

        async def send(gateway: Gateway) -> None:
            await gateway.follow_up(job_id, text.strip())
            state.drafts.pop(("follow_up", job_id), None)
            state.await_run(job_id, after=before)
            self._host.tell("sent; the job goes on", "good")

        self._host.command(send)
