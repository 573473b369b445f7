"""What the cockpit knows between two paints: the view, what is selected, filters and drafts."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from perstack.domain.ids import CheckpointId, ConsensusId, ExpertKey, JobId, RunId
from perstack.projection.views import JobView, RunView, WorkspaceView
from perstack_tui.ports.gateway import DefinitionsUpdate
from perstack_tui.ports.travel import Moment
from perstack_tui.state.agents import Ranking, matches
from perstack_tui.state.filters import found_in
from perstack_tui.state.held import Held
from perstack_tui.state.inbox import Item, ItemKey, item_words, items_of, pauses_of
from perstack_tui.state.index import Index, counts_of, index_of, is_live
from perstack_tui.state.keymap import Keymap, default_keymap
from perstack_tui.state.layout import PaneName, SizeClass, Zoom
from perstack_tui.state.order import StickyOrder
from perstack_tui.state.review import Review
from perstack_tui.state.roster import AgentKey, Roster, roster_of
from perstack_tui.state.sorting import SortColumn
from perstack_tui.state.tree import DoneKey, is_open, shown_key
from perstack_tui.state.twins import Twins

if TYPE_CHECKING:
    from perstack.domain.agents import Agent

Tone = Literal["info", "good", "bad"]


@dataclass(frozen=True, slots=True)
class Notice:
    """The line above the footer; `times` it was told without anything else between."""

    text: str
    tone: Tone = "info"
    times: int = 1


def next_notice(before: Notice | None, text: str, tone: Tone) -> Notice:
    """Return what is told after `before`: the same once more, or something else."""
    again = before is not None and (before.text, before.tone) == (text, tone)
    return Notice(text, tone, before.times + 1 if before and again else 1)


def toast_seconds(tone: Tone) -> float:
    """Return how long a message is shown over a sheet, some of which it hides."""
    return 12.0 if tone == "bad" else 3.0


def notice_seconds(tone: Tone, *, roomy: bool) -> float | None:
    """Return how long a message is shown, None for until the next key.

    An error may stay where it hides nothing; where messages take the place of counts or keys, none
    does.
    """
    if tone != "bad":
        return 6.0
    return None if roomy else 12.0


@dataclass(slots=True)
class CockpitState:
    """Selection is by id, so that it outlives every update. No widget holds any of this."""

    index: Index = field(default_factory=Index)
    definitions: DefinitionsUpdate = field(default_factory=lambda: DefinitionsUpdate(path=None))
    local_jobs: frozenset[JobId] = frozenset()
    agents_on_record: tuple[Agent, ...] = ()
    host: str = ""
    row: AgentKey | DoneKey | None = None
    unfolded: set[RunId] = field(default_factory=set[RunId])
    time_axis: bool = False
    run_id: RunId | None = None
    awaited_job: JobId | None = None
    awaited_after: RunId | None = None
    point: CheckpointId | None = None
    mark_a: Moment | None = None
    expert_key: ExpertKey | None = None
    item_key: ItemKey | None = None
    item_picked: bool = False
    filters: dict[PaneName, str] = field(default_factory=dict[PaneName, str])
    marks: set[Hashable] = field(default_factory=set[Hashable])
    sort: SortColumn = "state"
    peek: bool = True
    wrap: bool = True
    show_times: bool = False
    cost_of_subtree: bool = False
    size_class: SizeClass = "desk"
    zooms: dict[SizeClass, Zoom] = field(default_factory=dict[SizeClass, Zoom])
    keymap: Keymap = field(default_factory=default_keymap)
    recalled: list[str] = field(default_factory=list[str])
    recents: list[str] = field(default_factory=list[str])
    notice: Notice | None = None
    whole: set[RunId] = field(default_factory=set[RunId])
    opened: dict[RunId, set[int]] = field(default_factory=dict[RunId, set[int]])
    follow_branches: bool = False
    folded: dict[JobId, bool] = field(default_factory=dict[JobId, bool])
    drafts: dict[Hashable, str] = field(default_factory=dict[Hashable, str])
    held: tuple[Held, ...] = ()
    reviews: dict[ConsensusId, Review] = field(default_factory=dict[ConsensusId, Review])
    items: list[Item] = field(default_factory=list[Item])
    agent_order: StickyOrder[RunId] = field(default_factory=lambda: StickyOrder[RunId]())
    item_order: StickyOrder[ItemKey] = field(default_factory=lambda: StickyOrder[ItemKey]())
    twins: Twins = field(default_factory=Twins)
    _ranking: Ranking = field(default_factory=Ranking)
    _roster: tuple[tuple[Agent, ...], Roster] = ((), Roster())

    @property
    def roster(self) -> Roster:
        """Which agent a run belongs to, and what it is called."""
        if self._roster[0] is not self.agents_on_record:
            self._roster = (self.agents_on_record, roster_of(self.agents_on_record))
        return self._roster[1]

    @property
    def agent_key(self) -> RunId | AgentKey | None:
        """The row of the watch table that is selected."""
        return self.row if isinstance(self.row, AgentKey) else self.run_id

    @property
    def needle(self) -> str:
        """What the agents are filtered by."""
        return self.filters.get("agents", "")

    @needle.setter
    def needle(self, text: str) -> None:
        self.filters["agents"] = text

    @property
    def zoom(self) -> Zoom:
        """How large the active pane is on a screen of this size."""
        return self.zooms.get(self.size_class, "normal")

    @zoom.setter
    def zoom(self, zoom: Zoom) -> None:
        self.zooms[self.size_class] = zoom

    @property
    def run(self) -> RunView | None:
        """The selected run."""
        return self.index.run(self.run_id)

    @property
    def job(self) -> JobView | None:
        """The selected run's job."""
        return self.index.job_of(self.run_id)

    @property
    def item(self) -> Item | None:
        """The selected item of the inbox."""
        return next((item for item in self.items if item.key == self.item_key), None)

    @property
    def can_start(self) -> bool:
        """Whether there is any Expert that a run could be started of."""
        return bool(self.definitions.experts or self.definitions.builtins)

    @property
    def pending(self) -> list[Item]:
        """What waits for a person."""
        return [item for item in self.items if item.key.kind != "decided"]

    @property
    def ticking(self) -> bool:
        """Whether anything on the screen changes merely because time goes on."""
        if any(item.key.kind != "decided" for item in self.items):
            return True
        return any(is_live(run) for run in self.index.runs.values())

    def take(self, view: WorkspaceView, *, hold_inbox: bool) -> None:
        """Take in a new view; what was selected stays selected."""
        was_open = self.job is not None and is_open(self.job, self.index, self.folded)
        self.index = index_of(view)
        job = self.job if was_open and view.caught_up else None
        if job is not None and not is_open(job, self.index, self.folded):
            self.folded[job.job_id] = False
        items = {item.key: item for item in (*items_of(view.inbox), *pauses_of(view))}
        keys = self.item_order.arrange(list(items), held=hold_inbox)
        self.items = [items[key] for key in keys if key.kind != "decided"]
        # Not held: the newest comes first, as it will after the next start.
        self.items += [item for key, item in items.items() if key.kind == "decided"]
        self._settle_item()
        self._settle_run()

    def select(self, run_id: RunId) -> None:
        """Select a run in every pane."""
        if run_id != self.run_id:
            self.run_id = run_id
            self.point = None
        self.row = None
        self.awaited_job = self.awaited_after = None
        mine = [item.key for item in self.pending if item.run_id == run_id]
        if mine and self.item_key not in mine:
            self.item_key = mine[0]

    def select_item(self, key: ItemKey) -> None:
        """Select an item of the inbox and the run it belongs to."""
        self.item_key, self.item_picked = key, True
        item = self.item
        if item is not None and item.run_id in self.index.runs:
            self.run_id, self.point, self.row = item.run_id, None, None

    def show_item(self) -> None:
        """Show in every pane what the selected item waits for: its list has the cursor now."""
        if self.item is not None and self.item.key.kind != "decided":
            self.select_item(self.item.key)

    def select_row(self, row: AgentKey | DoneKey) -> None:
        """Select a row that is no run's, and the run nearest to it."""
        near = row.parent if isinstance(row, DoneKey) else None
        if isinstance(row, AgentKey):
            jobs = (job for job, agent in self.roster.by_job.items() if agent.id == row.id)
            job = self.index.jobs.get(next(jobs, JobId("")))
            near = job.coordinator_run_id if job is not None else None
        if near is not None and near in self.index.runs:
            self.select(near)
        self.row = row

    def await_run(self, job_id: JobId, after: RunId | None = None) -> None:
        """Select the job's run once there is one, or the one it goes on with in place of `after`.

        With `after` nothing happens when another run was selected meanwhile.
        """
        if after is None or after == self.run_id:
            self.awaited_job, self.awaited_after = job_id, after

    def is_driven(self, job: JobView) -> bool:
        """Say whether a process works on the job; if none does, one may go on with it."""
        return job.alive or job.job_id in self.local_jobs

    def agents(self, *, held: bool) -> list[RunId]:
        """Return the watch table's order; `held` while the cursor is in it."""
        return self.agent_order.arrange(self._ranked(self.needle), held=held)

    def _ranked(self, needle: str) -> list[RunId]:
        return self._ranking.order(self.index, needle, self.sort)

    def filter_agents(self, needle: str, wanted: RunId | None) -> None:
        """Show the runs that match; select `wanted` if it is one of them, else the first."""
        self.needle = needle
        found = self._ranked(needle)
        chosen = wanted if wanted in found else next(iter(found), None)
        if chosen is not None and chosen != self.run_id:
            self.select(chosen)

    def filter_tree(self, needle: str, wanted: Hashable) -> None:
        """Show the runs that match, and those above them; select `wanted` or the first match."""
        self.filters["tree"] = needle
        found = [run_id for run_id in self.index.runs if self.matches(run_id, needle)]
        chosen = next((run_id for run_id in found if run_id == wanted), None)
        if chosen is None and found and self.run_id not in found:
            chosen = found[0]
        if chosen is not None and chosen != self.run_id:
            self.select(chosen)

    def matches(self, run_id: RunId, needle: str) -> bool:
        """Say whether a run passes a filter."""
        run = self.index.runs[run_id]
        return matches(run, self.index.jobs.get(run.job_id), needle)

    def filter_inbox(self, needle: str, wanted: Hashable) -> None:
        """Show the items that match; select `wanted` if it is one of them, else the first."""
        self.filters["inbox"] = needle
        found = [item.key for item in self.shown_items]
        chosen = next((key for key in found if key == wanted), next(iter(found), None))
        if chosen is not None and chosen != self.item_key:
            self.select_item(chosen)

    @property
    def shown_items(self) -> list[Item]:
        """The items of the inbox that its filter lets through."""
        needle = self.filters.get("inbox", "")
        return [item for item in self.items if found_in(item_words(item), needle)]

    def tree_key(self) -> RunId | AgentKey | DoneKey | None:
        """Return the row of the tree that stands for what is selected."""
        job, run = self.job, self.run
        if self.row is not None:
            return self.row
        if job is None or run is None:
            return None
        return shown_key(job, run.run_id, opened=is_open(job, self.index, self.folded))

    def fold_tree(self, *, closed: bool | None = None) -> None:
        """Close or open the selected run's job in the tree, or siblings done; None toggles."""
        job, run = self.job, self.run
        if isinstance(self.row, DoneKey):
            if not closed:
                self.unfolded.add(self.row.parent)
                self.row = None
            return
        parent = run.parent_run_id if run is not None else None
        if closed and parent is not None and parent in self.unfolded:
            self.unfolded.discard(parent)
            self.select(parent)
            return
        if job is not None:
            opened = is_open(job, self.index, self.folded)
            self.folded[job.job_id] = opened if closed is None else closed

    def counts(self) -> dict[str, int]:
        """Count what the top line tells."""
        return {**counts_of(self.index), "need": len(self.pending)}

    def is_scripted(self) -> bool:
        """Say whether the model behind what is shown is a script."""
        run = self.run
        shown = run.provider_name if run is not None else ""
        return "scripted" in (shown, self.definitions.provider_name)

    def _settle_item(self) -> None:
        known = [item.key for item in self.items]
        decided = [key for key in known if key.kind == "decided"]
        picked, self.item_picked = self.item_picked, False
        if self.item_key in known:
            # What was decided stays selected only if somebody went to it.
            self.item_picked = picked
            if picked or self.item_key not in decided:
                return
        if self.item_key is not None and self.item_key.kind in ("gate", "input"):
            now_decided = ItemKey("decided", self.item_key.id)
            if now_decided in known and not self.pending:
                self.item_key = now_decided
                return
        self.item_key = known[0] if known else None

    def _settle_run(self) -> None:
        jobs = self.index.view.jobs
        if self.awaited_job is not None and self.awaited_job in self.index.jobs:
            coordinator = self.index.jobs[self.awaited_job].coordinator_run_id
            if coordinator in self.index.runs and coordinator != self.awaited_after:
                self.select(coordinator)
        waits = self.awaited_job is not None and not self.index.view.caught_up
        if self.run_id is None and not waits and jobs and jobs[0].runs:
            coordinator = jobs[0].coordinator_run_id
            self.run_id = coordinator if coordinator in self.index.runs else jobs[0].runs[0].run_id
