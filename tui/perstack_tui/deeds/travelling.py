"""From the timeline into the past: comparing, marking, resuming, forking, restoring."""

from __future__ import annotations

from typing import Final

from perstack_tui.deeds.items import why_not_act
from perstack_tui.deeds.table import Deed, Group
from perstack_tui.ports.host import Host
from perstack_tui.ports.travel import Moment
from perstack_tui.screens.travel import TravelScreen
from perstack_tui.screens.travel_plan import PlanSheet
from perstack_tui.state.timeline import point_at
from perstack_tui.state.travel import moment_of, spoken, step_from
from perstack_tui.state.travel_plan import Going

_NONE: Final = "this run has no checkpoint yet"


def moment_here(host: Host) -> Moment | None:
    """Return the checkpoint under the timeline's cursor, else the selected run's newest."""
    run = host.state.run
    point = point_at(run, host.state.point)
    return moment_of(run, point) if run is not None and point is not None else None


class Travelling:
    """What is done from the selected run's checkpoint."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def group(self) -> Group:
        """Return the deeds."""
        return {
            "diff": Deed(self._diff, self._why_not_diff),
            "mark_moment": Deed(self._mark, self._why_not_look),
            "compare": Deed(self._compare, self._why_not_compare),
            "resume_here": Deed(lambda: self._plan("resume"), self._why_not_act),
            "fork_here": Deed(lambda: self._plan("fork"), self._why_not_act),
            "restore_files": Deed(lambda: self._plan("restore"), self._why_not_act),
        }

    def travel(self) -> bool:
        """Show the moment under the cursor; say whether there is one."""
        moment = moment_here(self._host)
        if moment is not None:
            self._host.travel_to(moment)
        return moment is not None

    def _why_not_look(self) -> str | None:
        return None if moment_here(self._host) is not None else _NONE

    def _why_not_diff(self) -> str | None:
        moment = moment_here(self._host)
        if moment is None:
            return _NONE
        first = step_from(self._host.state.index, moment, -1) is None
        return "this is the run's first checkpoint: nothing is before it" if first else None

    def _why_not_compare(self) -> str | None:
        if self._host.state.mark_a is None:
            return "no checkpoint is marked as A yet: m marks the one under the cursor"
        return self._why_not_look()

    def _why_not_act(self) -> str | None:
        return why_not_act(self._host) or self._why_not_look()

    def _diff(self) -> None:
        if (moment := moment_here(self._host)) is not None:
            self._host.open_sheet(TravelScreen(self._host, moment, "previous"))

    def _compare(self) -> None:
        if (moment := moment_here(self._host)) is not None:
            self._host.open_sheet(TravelScreen(self._host, moment, "mark"))

    def _mark(self) -> None:
        moment = moment_here(self._host)
        if moment is not None:
            self._host.state.mark_a = moment
            self._host.tell(f"A is {spoken(self._host.state.index, moment)}; c compares with it")

    def _plan(self, going: Going) -> None:
        if (moment := moment_here(self._host)) is not None:
            self._host.open_sheet(PlanSheet(self._host, going, moment))
