"""What the main screen's actions do."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from perstack.domain.ids import ExpertKey, JobId, RunId
from perstack.projection.views import JobView
from perstack_tui.gateway import Gateway
from perstack_tui.screens.answer import AnswerSheet
from perstack_tui.screens.confirm import Choice, ConfirmSheet
from perstack_tui.screens.form import FormSheet
from perstack_tui.screens.help import HelpSheet
from perstack_tui.screens.new_run import NewRunSheet
from perstack_tui.screens.port import Host
from perstack_tui.screens.review import ReviewSheet
from perstack_tui.state.definitions import definitions_problem
from perstack_tui.state.inbox import Item
from perstack_tui.state.index import has_ended
from perstack_tui.state.layout import PaneName
from perstack_tui.state.wording import short_id
from perstack_tui.text import flat
from perstack_tui.widgets.prompt import Purpose

if TYPE_CHECKING:
    from perstack_tui.screens.main import MainScreen


class Work:
    """One method an action; `do` finds it by the action's id."""

    def __init__(self, screen: MainScreen, host: Host) -> None:
        self._screen = screen
        self._host = host
        self._follow_up_job = JobId("")
        self._before_filter: RunId | None = None
        self._table: dict[str, Callable[[], None]] = {
            "next_pane": lambda: screen.step_pane(1),
            "previous_pane": lambda: screen.step_pane(-1),
            "down": lambda: self._move(1),
            "up": lambda: self._move(-1),
            "page_down": lambda: self._page(1),
            "page_up": lambda: self._page(-1),
            "first": lambda: self._end(last=False),
            "last": lambda: self._end(last=True),
            "left": lambda: self._sideways(-1),
            "right": lambda: self._sideways(1),
            "open": self._open,
            "back": self._back,
            "new_run": self.new_run,
            "reply": self._reply,
            "stop": self._stop,
            "approve": self._review,
            "reject": self._review,
            "follow": self._follow,
            "filter": self._filter,
            "theme": host.next_theme,
            "help": self._help,
            "quit": host.ask_to_quit,
        }

    def do(self, name: str) -> None:
        """Do the action `name`."""
        if name.startswith("pane_"):
            self._go(name.removeprefix("pane_"))
        else:
            self._table[name]()

    @property
    def _pane(self):
        return self._screen.panes[self._screen.active]

    def _go(self, name: str) -> None:
        for pane in self._screen.panes:
            if pane == name:
                self._screen.go_to(pane)

    def _move(self, by: int) -> None:
        self._screen.select(self._pane.move(by))

    def _end(self, *, last: bool) -> None:
        self._screen.select(self._pane.move_to_end(last=last))

    def _page(self, direction: int) -> None:
        pane = self._pane
        step = max(1, pane.inner_height - 1)
        if pane.keys:
            self._move(direction * step)
        else:
            pane.scroll_lines(direction * step)

    def _sideways(self, by: int) -> None:
        if self._screen.active == "timeline":
            self._screen.move_point(by)
        elif self._screen.active == "tree":
            self._host.state.fold_tree(closed=by < 0)

    def _open(self) -> None:
        state, active = self._host.state, self._screen.active
        if active == "inbox":
            if state.item is not None:
                self._open_item(state.item)
        elif active == "tree" and state.job is not None and len(state.job.runs) > 1:
            if state.tree_key() == state.job.coordinator_run_id:
                state.fold_tree()
            else:
                self._screen.go_to("stream")
        elif active != "stream":
            self._screen.go_to("stream")
        elif state.run_id is not None:
            state.whole ^= {state.run_id}

    def _open_item(self, item: Item) -> None:
        if item.question is not None:
            self._host.open_sheet(AnswerSheet(self._host, item.question))
        elif item.gate is not None and item.key.kind == "input":
            self._host.open_sheet(FormSheet(self._host, item.gate))
        elif item.gate is not None:
            self._host.open_sheet(ReviewSheet(self._host, item.gate))

    def _back(self) -> None:
        state = self._host.state
        if state.needle:
            state.needle = ""
        elif state.point is not None:
            state.point = None

    # --- starting, answering, stopping ------------------------------------------------------

    def new_run(self, expert: ExpertKey | None = None) -> None:
        """Open the sheet that starts a run."""
        if self._refused():
            return
        if not self._host.state.definitions.experts:
            error = definitions_problem(self._host.state.definitions)
            self._host.tell(
                "no Expert is defined" + (f": {error}" if error else ": write a perstack.toml"),
                "bad",
            )
            return
        self._host.open_sheet(NewRunSheet(self._host, expert))

    def _reply(self) -> None:
        state = self._host.state
        if self._refused():
            return
        item = state.item if self._screen.active == "inbox" else None
        if item is not None and item.key.kind in ("ask", "input"):
            self._open_item(item)
            return
        asked = self._question_here()
        if asked is not None:
            self._open_item(asked)
        elif state.job is None:
            self._host.tell("select a run first; n starts one")
        elif state.is_driven(state.job):
            self._host.tell("this job is still at work; x stops it, then i follows up")
        else:
            self._ask_follow_up(state.job)

    def _question_here(self) -> Item | None:
        """Return what the selected run asks, else what another run of its job does."""
        state = self._host.state
        asked = [item for item in state.pending if item.key.kind in ("ask", "input")]
        mine = [item for item in asked if item.run_id == state.run_id]
        runs = {run.run_id for run in state.job.runs} if state.job is not None else set[RunId]()
        return next(iter(mine + [item for item in asked if item.run_id in runs]), None)

    def _ask_follow_up(self, job: JobView) -> None:
        draft = self._host.state.drafts.get(("follow_up", job.job_id), "")
        self._follow_up_job = job.job_id
        label = f"follow up {short_id(job.job_id)}"
        if job.state != "done":
            label = f"go on with {short_id(job.job_id)} (text optional)"
        self._screen.prompt.ask("follow_up", label, draft)

    def _stop(self) -> None:
        state, job = self._host.state, self._host.state.job
        if job is None:
            self._host.tell("nothing is running here to stop")
        elif not state.is_driven(job):
            ended = "this job has ended; i follows up"
            self._host.tell(ended if has_ended(job) else "nothing runs it; i goes on with it")
        elif job.job_id not in state.local_jobs:
            there = f"runs in process {job.pid}: ctrl+c there, or kill {job.pid}"
            self._host.tell(there, "bad")
        else:
            self._ask_to_stop(job)

    def _ask_to_stop(self, job: JobView) -> None:
        names = [
            flat(run.expert_key)
            for run in job.runs
            if run.state in ("run", "waits", "gate", "stall")
        ]
        lines = [
            f"Job {short_id(job.job_id)}: what stops with it:",
            "  " + (", ".join(names) or flat(job.expert_key)),
            "",
            "Its checkpoints stay; i goes on with it later.",
        ]
        choices = (Choice("s", "stop at the next step"), Choice("n", "stop now"))
        sheet = ConfirmSheet(self._host, "Stop this job?", lines, choices, "keep running")
        self._host.open_sheet(sheet, lambda key: self._stopped(job.job_id, key))

    def _stopped(self, job_id: JobId, key: str | None) -> None:
        if key is None:
            return
        now = key == "n"

        async def stop(gateway: Gateway) -> None:
            await gateway.stop(job_id, now=now)
            self._host.tell("stopping" if now else "stops at its next step")

        self._host.command(stop)

    def _review(self) -> None:
        state = self._host.state
        item = state.item
        if self._refused():
            return
        if item is None or item.key.kind != "gate":
            gates = [waiting for waiting in state.pending if waiting.key.kind == "gate"]
            mine = [waiting for waiting in gates if waiting.run_id == state.run_id]
            item = (mine or gates or [None])[0]
        if item is None:
            self._host.tell("nothing waits for approval")
            return
        state.select_item(item.key)
        self._open_item(item)

    def _refused(self) -> bool:
        if self._host.observing:
            self._host.tell("this cockpit only observes; open it without --observe to act", "bad")
        return self._host.observing

    # --- looking ----------------------------------------------------------------------------

    def _follow(self) -> None:
        pane = self._screen.panes["stream"]
        pane.following = not pane.following
        if pane.following:
            pane.scroll_lines(len(pane.lines))

    def _filter(self) -> None:
        if not self._screen.panes["agents"].display:
            self._screen.go_to("agents")
        self._before_filter = self._host.state.run_id
        self._screen.prompt.ask("filter", "filter agents", self._host.state.needle)

    def _help(self) -> None:
        self._host.open_sheet(HelpSheet(self._host))

    # --- the prompt line --------------------------------------------------------------------

    def typed(self, purpose: Purpose, text: str) -> None:
        """Act on what is being typed."""
        if purpose == "filter":
            self._host.state.filter_agents(text, self._before_filter)
            self._host.request_paint(now=True)
        else:
            self._host.state.drafts[("follow_up", self._follow_up_job)] = text

    def entered(self, purpose: Purpose, text: str) -> None:
        """Act on enter."""
        if purpose == "filter":
            self._close_prompt("agents")
        elif text.strip() or self._may_go_on(self._follow_up_job):
            self._send_follow_up(self._follow_up_job, text)
            self._close_prompt(self._screen.active)

    def _may_go_on(self, job_id: JobId) -> bool:
        """Say whether the job has something left to do, so that nothing need be said."""
        job = self._host.state.index.jobs.get(job_id)
        return job is not None and job.state != "done"

    def left(self, purpose: Purpose) -> None:
        """Act on escape: a filter goes, a draft stays."""
        if purpose == "filter":
            self._host.state.filter_agents("", self._before_filter)
        self._close_prompt(self._screen.active)

    def _close_prompt(self, pane: PaneName) -> None:
        self._screen.prompt.leave()
        self._screen.go_to(pane)

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
