"""Resuming, forking, restoring: what would happen is listed, then one deliberate key does it."""

from __future__ import annotations

from typing import Final

from textual import events
from textual.app import ComposeResult

from perstack.domain.ids import JobId
from perstack.errors import ConflictError, PerstackError
from perstack_tui.deliberate import Deliberate
from perstack_tui.ports.gateway import Gateway
from perstack_tui.ports.host import Host
from perstack_tui.ports.travel import Moment
from perstack_tui.screens.latest import Latest
from perstack_tui.screens.sheet import Sheet
from perstack_tui.screens.travel_loading import told
from perstack_tui.state.lines import Line, Span, line
from perstack_tui.state.travel import lane, place_in, point_of, spoken
from perstack_tui.state.travel_plan import KEYS, RESTS, TITLES, Going, Plan, plan_lines
from perstack_tui.state.wording import Role
from perstack_tui.text import wrap
from perstack_tui.widgets.bar import Bar
from perstack_tui.widgets.paint import Frame
from perstack_tui.widgets.pane import Pane

_HINTS: Final[dict[Going, tuple[tuple[str, str], ...]]] = {
    "resume": (("f", "files"), ("e", "message"), ("space", "overwrite"), ("esc", "leave it")),
    "fork": (("w", "workspace"), ("v", "version"), ("e", "message"), ("esc", "leave it")),
    "restore": (("space", "overwrite one"), ("*", "all"), ("esc", "leave it")),
}


def plan_of(host: Host, going: Going, moment: Moment) -> Plan:
    """Return a plan that has nothing looked up yet."""
    index = host.state.index
    run = lane(index, moment)
    later = len(run.points) - 1 - place_in(run, moment) if run is not None else 0
    plan = Plan(going, moment, spoken(index, moment), later=max(0, later))
    plan.is_delegate = run is not None and run.parent_run_id is not None
    point = point_of(index, moment)
    plan.rests = RESTS.get(point.kind, "") if point is not None else ""
    return plan


class PlanSheet(Sheet[bool]):
    """Gives True once it was done. The letter of the deed does it; enter and pasting never do."""

    def __init__(self, host: Host, going: Going, moment: Moment) -> None:
        super().__init__(host)
        self._plan = plan_of(host, going, moment)
        self._deliberate = Deliberate(host, self._refused)
        self._pane = Pane(id="travel-plan")
        self._consequence = Pane(id="plan-consequence", framed=False)
        self._consequence.can_focus = False
        self._loads = Latest(host, self.refresh_view)
        self._doing = self._editing = self._restored = False
        self._error = ""

    def compose(self) -> ComposeResult:
        """What would happen, what the key does, the keys."""
        yield self._pane
        yield self._consequence
        yield Bar(id="plan-keys")

    def on_mount(self) -> None:
        """Look up what would happen."""
        self._deliberate.restart()
        self._pane.focus()
        self._loads.want(self._look_up, self._not_found)

    def on_unmount(self) -> None:
        """Stop looking up."""
        self._loads.drop()

    async def _look_up(self, gateway: Gateway) -> None:
        plan, travel = self._plan, gateway.travel
        if plan.going == "resume":
            plan.refused = await travel.why_not_resume(plan.moment) or ""
            plan.wants = await travel.wants_text(plan.moment) or ""
        files = (await travel.look(plan.moment)).files
        plan.files = files
        if files is None:
            plan.without = "No snapshot of the files was taken at this step."
            plan.with_files = False
        elif plan.going != "fork" and not plan.refused:
            plan.plan = await travel.plan_restore(plan.moment)
            plan.selected = next(iter(plan.plan.kept), None)
            plan.also &= set(plan.plan.kept)
        plan.loaded = True

    def _not_found(self, error: PerstackError) -> None:
        self._plan.loaded, self._plan.refused = True, told(error)

    # --- painting ---------------------------------------------------------------------------

    def refresh_view(self) -> None:
        """Paint."""
        if not self.is_mounted:
            return
        plan = self._plan
        lines = plan_lines(plan, self._pane.inner_width)
        self._pane.show(lines, selected=plan.selected, frame=Frame(TITLES[plan.going]))
        self._consequence.show(self._said())
        self.query_one("#plan-keys", Bar).show(self._keys())

    def _said(self) -> list[Line]:
        """Return what the key would do, in at most two lines."""
        role: Role = "strong"
        if self._error:
            text, role = f"✗ {self._error}", "fail"
        elif self._doing:
            text, role = "● working…", "run"
        elif (refused := self._why_not()) is not None:
            text, role = f"not now: {refused}", "muted"
        else:
            text = self._plan.consequence()
        width = max(8, self._consequence.inner_width - 2)
        return [line((f" {part}", role)) for part in wrap(text, width)]

    def _keys(self) -> Line:
        going = self._plan.going
        does = ((KEYS[going], going),) if self._why_not() is None else ()
        spans: list[Span] = []
        for key, word in (*does, *_HINTS[going]):
            spans.append((f" {key}", "accent"))
            spans.append((f" {word} ", "muted"))
        return Line(tuple(spans))

    def _why_not(self) -> str | None:
        if self.host.observing:
            return "this cockpit only observes; open it without --observe to act"
        return self._plan.why_not()

    # --- keys -------------------------------------------------------------------------------

    def on_paste(self, event: events.Paste) -> None:
        """Pasting does nothing, nor do keys that come right behind it."""
        event.stop()
        self._deliberate.restart()

    def on_key(self, event: events.Key) -> None:
        """Keys of the sheet, once the keyboard was quiet."""
        event.stop()
        event.prevent_default()
        if not self._deliberate.admits() or self._doing or self._editing:
            return
        self._error = ""
        self._key(event)
        if self.is_mounted:
            self.refresh_view()

    def _key(self, event: events.Key) -> None:
        plan = self._plan
        key = event.character if event.character and event.character.isprintable() else event.key
        going = plan.going
        if event.key == "escape":
            self.dismiss(False)
        elif key == KEYS[going]:
            self._deliberate.decide(self._do)
        elif event.key == "space":
            plan.toggle()
        elif key == "*":
            plan.toggle_all()
        elif key == "f" and going == "resume" and plan.plan is not None:
            plan.with_files = not plan.with_files
        elif key == "w" and going == "fork":
            plan.here = not plan.here
        elif key == "v" and going == "fork":
            plan.newest = not plan.newest
        elif key in ("e", "i") and going != "restore":
            self._editing = True
            self.run_worker(self._edit, group="edit")
        else:
            self._move(event.key)

    def _move(self, key: str) -> None:
        pane = self._pane
        page = max(1, pane.inner_height - 1)
        by = {"j": 1, "down": 1, "k": -1, "up": -1, "pagedown": page, "pageup": -page}.get(key)
        if by is not None and pane.keys:
            chosen = pane.move(by)
            self._plan.selected = str(chosen) if chosen is not None else None
        elif by is not None:
            pane.scroll_lines(by)

    def on_pane_chosen(self, event: Pane.Chosen) -> None:
        """Take the selected file."""
        event.stop()
        self._plan.selected = str(event.key)
        self.refresh_view()

    async def _edit(self) -> None:
        try:
            given = await self.host.edit_text(self._plan.text)
        finally:
            self._editing = False
            self._deliberate.restart()
        if given is not None:
            self._plan.text = given
        self.refresh_view()

    # --- doing ------------------------------------------------------------------------------

    def _refused(self, why: str) -> None:
        self._error = why
        self.refresh_view()

    def _do(self) -> None:
        if self._is_left or self._doing or self._editing or self._why_not() is not None:
            return
        self._doing = True
        self.host.command(self._done, self._failed)

    async def _done(self, gateway: Gateway) -> None:
        plan, travel, text = self._plan, gateway.travel, self._plan.text.strip() or None
        try:
            if plan.going == "resume" and (why := await travel.why_not_resume(plan.moment)):
                # Asked again before any file is touched: a process may drive the job by now.
                raise ConflictError(why)
            if plan.restores:
                await travel.restore(plan.moment, also=sorted(plan.also))
                self._restored = True
            if plan.going == "resume":
                self._resumed(await travel.resume(plan.moment, text))
            elif plan.going == "fork":
                job = await travel.fork(plan.moment, plan.wish())
                self.host.state.await_run(job)
        finally:
            self._doing = False
        self.host.tell(f"done: {plan.consequence().partition(': ')[2]}", "good")
        self.dismiss(True)

    def _resumed(self, job_id: JobId) -> None:
        """Select what goes on; it may be another run than the one that stopped."""
        state = self.host.state
        job = state.index.jobs.get(job_id)
        if job is not None:
            state.select(job.coordinator_run_id)
        state.await_run(job_id, after=job.coordinator_run_id if job is not None else None)

    def _failed(self, error: PerstackError) -> None:
        """Say what failed and what was done before it; what would happen now is looked up anew."""
        done = "the files are as they were then, but " if self._restored else ""
        self._doing, self._restored = False, False
        self._error = done + told(error)
        self._plan.loaded = False
        self._loads.want(self._look_up, self._not_found)
        self.refresh_view()
