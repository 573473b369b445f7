"""Going to what is named: `:` with its arguments, jump labels, and back to where one was."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from perstack.projection.views import RunView
from perstack_tui.deeds.table import Deed, Group
from perstack_tui.deeds.working import open_registry
from perstack_tui.ports.host import Host
from perstack_tui.ports.records import RECORD_KINDS, RecordKind
from perstack_tui.state.goto import (
    Completion,
    Going,
    Places,
    completions,
    find_job,
    find_run,
    parse,
    point_at,
)
from perstack_tui.state.jump import Spot
from perstack_tui.state.layout import PANES, PaneName
from perstack_tui.state.views import View, Views
from perstack_tui.text import flat

if TYPE_CHECKING:
    from perstack_tui.screens.main import MainScreen

MOST_RECALLED: Final = 50


class GoingAbout:
    """Goes where one says, and remembers where one was."""

    def __init__(self, screen: MainScreen, host: Host) -> None:
        self._screen = screen
        self._host = host
        self._views = Views()

    def group(self) -> Group:
        """Return the deeds."""
        return {
            "goto": Deed(self._ask),
            "jump": Deed(lambda: self._screen.keys.label(self._land)),
            "last_view": Deed(self._last, self._why_not_last),
            "history_back": Deed(lambda: self._step(-1), lambda: self._why_not_step(-1)),
            "history_forward": Deed(lambda: self._step(1), lambda: self._why_not_step(1)),
        }

    # --- the prompt -------------------------------------------------------------------------

    def _ask(self) -> None:
        past = self._host.state.recalled
        self._screen.prompt.ask("goto", "go to", "", complete=self._complete, past=tuple(past))

    def _complete(self, text: str) -> Sequence[Completion]:
        state = self._host.state
        experts = tuple(flat(summary.key) for summary in state.definitions.experts)
        return completions(text, Places(state.index, experts, self._host.theme_names))

    def typed(self, text: str) -> None:
        """Show what it may go on to."""
        self._host.request_paint(now=True)

    def entered(self, text: str) -> bool:
        """Go there; say whether the prompt may close."""
        going = parse(text) if text.strip() else None
        if going is None:
            return True
        if isinstance(going, str):
            self._screen.prompt.complain(going)
            self._host.request_paint(now=True)
            return False
        past = self._host.state.recalled
        if text in past:
            past.remove(text)
        past.append(text.strip())
        del past[:-MOST_RECALLED]
        self._screen.close_prompt()
        self.go(going)
        return False

    def left(self) -> None:
        """Nothing was asked for."""

    # --- going ------------------------------------------------------------------------------

    def go_to(self, text: str) -> None:
        """Go where `text` says, as if it had been typed behind `:`."""
        going = parse(text)
        if isinstance(going, str):
            self._host.tell(going, "bad")
        else:
            self.go(going)

    def go(self, going: Going) -> None:
        """Go there, or tell why not."""
        match going.kind:
            case "pane":
                self._to_pane(going)
            case "job":
                self._to_job(going)
            case "run":
                self._to_run(find_run(self._host.state.index, going.name), going.at)
            case "expert":
                self._to_expert(going.name)
            case "records":
                self._to_records(going)
            case "theme":
                self._theme(going.name)
            case "mouse":
                self._host.set_mouse(on=None if not going.name else going.name == "on")
            case "action":
                self._act(going)
        self.note()
        self._host.request_paint(now=True)

    def _to_pane(self, going: Going) -> None:
        pane: PaneName = next(name for name in PANES if name == going.name)
        self._screen.go_to(pane)
        if going.argument:
            self._screen.filtering.set(pane, going.argument)

    def _to_job(self, going: Going) -> None:
        job = find_job(self._host.state.index, going.name)
        if isinstance(job, str):
            self._host.tell(job, "bad")
            return
        run = self._host.state.index.run(job.coordinator_run_id)
        self._to_run(run or f"job {flat(job.job_id)} has no run yet", going.at)

    def _to_run(self, run: RunView | str, at: str) -> None:
        if isinstance(run, str):
            self._host.tell(run, "bad")
            return
        self._host.state.select(run.run_id)
        if not at:
            self._screen.go_to("tree" if self._screen.active == "timeline" else self._screen.active)
            return
        point = point_at(run, at)
        if isinstance(point, str):
            self._host.tell(point, "bad")
            return
        self._host.state.point = point.checkpoint_id
        self._screen.go_to("timeline")

    def _to_expert(self, name: str) -> None:
        keys = [summary.key for summary in self._host.state.definitions.experts]
        found = [key for key in keys if key == name] or [k for k in keys if k.startswith(name)]
        if not found:
            self._host.tell(f"no Expert {flat(name[:40])!r} is defined", "bad")
            return
        self._screen.go_to("experts")
        self._host.state.expert_key = found[0]

    def _to_records(self, going: Going) -> None:
        kind: RecordKind = next(kind for kind in RECORD_KINDS if kind == going.name)
        self._host.open_records(kind, going.argument)

    def _theme(self, name: str) -> None:
        if not name:
            self._host.choose_theme()
        else:
            self._host.set_theme(name)

    def _act(self, going: Going) -> None:
        if going.name == "svg":
            self._host.save_picture(Path(going.argument) if going.argument else None)
        elif going.name == "registry":
            open_registry(self._host, going.argument)
        else:
            self._screen.action_do(going.name)

    # --- jump labels ------------------------------------------------------------------------

    def _land(self, spot: Spot) -> None:
        if spot.key is not None:
            self._screen.select(spot.key)
        self._screen.go_to(spot.pane)
        self.note()

    # --- where one was ----------------------------------------------------------------------

    def note(self, *, moved: bool = False) -> None:
        """Remember what is looked at now; `moved`: it was only a step within a list."""
        self._views.visit(self._view(), moved=moved)

    def _view(self) -> View:
        state, pane = self._host.state, self._screen.active
        return View(pane, state.run_id, state.item_key, state.filters.get(pane, ""))

    def _why_not_last(self) -> str | None:
        return None if self._views.has_last else "you were nowhere else yet"

    def _why_not_step(self, by: int) -> str | None:
        where = "before this" if by < 0 else "after this"
        return None if self._views.can_step(by) else f"there is no view {where}"

    def _last(self) -> None:
        view = self._views.last()
        if view is not None:
            self._show(view)

    def _step(self, by: int) -> None:
        view = self._views.step(by)
        if view is not None:
            self._show(view)

    def _show(self, view: View) -> None:
        state = self._host.state
        if view.run_id is not None and view.run_id in state.index.runs:
            state.select(view.run_id)
        if view.item_key in [item.key for item in state.items]:
            state.item_key = view.item_key
        state.filters[view.pane] = view.needle
        self._screen.go_to(view.pane)
