"""What the travel screen looks at: a moment, what it is compared with, and what is open of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from perstack.domain.ids import RunId
from perstack.projection.views import JobView, PointView, RunView
from perstack_tui.ports.travel import (
    Comparison,
    FileChange,
    FileView,
    MessageView,
    Moment,
    MomentView,
)
from perstack_tui.state.index import Index, family
from perstack_tui.state.wording import clock_time, short_id
from perstack_tui.text import flat

Tab = Literal["messages", "files", "cost"]
TABS: Final[tuple[Tab, ...]] = ("messages", "files", "cost")
Against = Literal["nothing", "previous", "mark"]


@dataclass(slots=True)
class Travelling:
    """Where in the past one is. `mark` is A, which outlives the screen.

    `message` and `path` are selected; None takes the newest message, the first file. `wide` shows
    only what is selected. `busy` and `problem` say what is loaded, and why it could not be.
    """

    moment: Moment
    tab: Tab = "messages"
    against: Against = "nothing"
    mark: Moment | None = None
    message: str | None = None
    path: str | None = None
    wide: bool = False
    view: MomentView | None = None
    comparison: Comparison | None = None
    busy: str = ""
    problem: str = ""

    def base(self, index: Index) -> Moment | None:
        """Return what the moment is compared with, None when it is looked at alone."""
        if self.against == "mark":
            return self.mark
        return step_from(index, self.moment, -1) if self.against == "previous" else None

    def messages(self) -> tuple[MessageView, ...]:
        """Return the messages that are listed: all, or those that only the later moment has."""
        if self.against != "nothing":
            return self.comparison.messages if self.comparison is not None else ()
        return self.view.messages if self.view is not None else ()

    def files(self) -> tuple[FileView | FileChange, ...] | None:
        """Return the files that are listed, None where no snapshot was taken."""
        if self.against != "nothing":
            return () if self.comparison is None else self.comparison.files
        return () if self.view is None else self.view.files

    def selected_message(self) -> MessageView | None:
        """Return the message whose text is shown."""
        messages = self.messages()
        chosen = next((one for one in messages if one.id == self.message), None)
        return chosen or (messages[-1] if messages else None)

    def selected_file(self) -> FileView | FileChange | None:
        """Return the file that is shown."""
        files = self.files() or ()
        chosen = next((one for one in files if one.path == self.path), None)
        return chosen or next(iter(files), None)


def selected_key(at: Travelling) -> str | None:
    """Return the key of the line that is selected in the list."""
    if at.tab == "cost":
        return at.moment.checkpoint_id
    if at.tab == "files":
        file = at.selected_file()
        return file.path if file is not None else None
    message = at.selected_message()
    return message.id if message is not None else None


def detail_title(at: Travelling) -> str:
    """Return what names the thing that is shown in full."""
    if at.tab == "cost":
        return "Figures"
    if at.tab == "files":
        file = at.selected_file()
        return flat(file.path) if file is not None else "File"
    message = at.selected_message()
    return flat(message.title) if message is not None else "Message"


def moment_of(run: RunView, point: PointView) -> Moment:
    """Return the checkpoint of a run."""
    return Moment(run.job_id, run.run_id, point.checkpoint_id)


def lane(index: Index, moment: Moment) -> RunView | None:
    """Return the run that the moment is of."""
    return index.run(moment.run_id)


def point_of(index: Index, moment: Moment) -> PointView | None:
    """Return the moment on its lane, None when it is not known there."""
    run = lane(index, moment)
    points = run.points if run is not None else ()
    return next((one for one in points if one.checkpoint_id == moment.checkpoint_id), None)


def place_in(run: RunView, moment: Moment) -> int:
    """Return the moment's place on its lane, from 0; -1 when it is not there."""
    for at in range(len(run.points) - 1, -1, -1):
        if run.points[at].checkpoint_id == moment.checkpoint_id:
            return at
    return -1


def step_from(index: Index, moment: Moment, by: int) -> Moment | None:
    """Return the moment `by` places along the lane; None where the lane ends before that."""
    run = lane(index, moment)
    at = place_in(run, moment) if run is not None else -1
    if run is None or at < 0 or not 0 <= at + by < len(run.points):
        return None
    return moment_of(run, run.points[at + by])


def end_of(index: Index, moment: Moment, *, last: bool) -> Moment | None:
    """Return the lane's first or newest moment."""
    run = lane(index, moment)
    if run is None or not run.points:
        return None
    return moment_of(run, run.points[-1 if last else 0])


def lanes(job: JobView) -> list[RunView]:
    """Return the runs that have checkpoints, parents before children."""
    return [run for run, _ in family(job) if run.points]


def lane_from(index: Index, moment: Moment, by: int) -> Moment | None:
    """Return the moment nearest in time on the lane `by` below (above, if negative)."""
    job = index.jobs.get(moment.job_id)
    every = lanes(job) if job is not None else []
    at = next((at for at, run in enumerate(every) if run.run_id == moment.run_id), -1)
    here = point_of(index, moment)
    if at < 0 or here is None or not 0 <= at + by < len(every):
        return None
    run = every[at + by]
    return moment_of(run, min(run.points, key=lambda one: abs(one.timestamp - here.timestamp)))


def lane_place(index: Index, moment: Moment) -> tuple[int, int]:
    """Return which lane of how many the moment is on, from 1."""
    job = index.jobs.get(moment.job_id)
    every = [run.run_id for run in lanes(job)] if job is not None else list[RunId]()
    at = every.index(moment.run_id) + 1 if moment.run_id in every else 0
    return at, len(every)


def spoken(index: Index, moment: Moment) -> str:
    """Return a moment in words: `writer step 4, 14:00:12`; its job where that is another."""
    run, point = lane(index, moment), point_of(index, moment)
    if run is None or point is None:
        return f"checkpoint {short_id(flat(moment.checkpoint_id))}"
    return f"{flat(run.expert_key)} step {point.step_number}, {clock_time(point.timestamp)}"
