"""Starting a comparison: an Expert, what does the task, and the task."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Final

from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Input

from perstack.domain.ids import ExpertKey
from perstack.errors import UsageError
from perstack_tui.ports.gateway import Gateway
from perstack_tui.ports.host import Host
from perstack_tui.screens.new_run import LAST, expert_lines
from perstack_tui.screens.sheet import Sheet
from perstack_tui.state.lines import BLANK, Line, line, note
from perstack_tui.text import flat, wrap
from perstack_tui.widgets.bar import Bar
from perstack_tui.widgets.field import Field
from perstack_tui.widgets.paint import Frame
from perstack_tui.widgets.pane import Pane

_TASK: Final = ("compare", "task")
_ON: Final = ("compare", "on")
_USUAL: Final = "perstack, claude-code"
_ABOUT: Final = (
    "Each contestant does the task in a copy of this folder. The first field names them: perstack, "
    "docker, claude-code, gemini, codex or cursor, each with :MODEL or without, commas between."
)


class CompareSheet(Sheet[None]):
    """Up and down pick the Expert, tab goes between the fields, enter in the last one starts."""

    def __init__(self, host: Host, expert: ExpertKey | None = None) -> None:
        super().__init__(host)
        drafts = host.state.drafts
        definitions = host.state.definitions
        keys = [summary.key for summary in (*definitions.experts, *definitions.builtins)]
        wanted = expert or ExpertKey(drafts.get(LAST, ""))
        self._expert = wanted if wanted in keys else keys[0]
        self._pane = Pane(id="compare-experts")
        self._who = Field(
            id="compare-on", value=drafts.get(_ON, _USUAL), placeholder="perstack, claude-code"
        )
        self._what = Field(
            id="compare-task", value=drafts.get(_TASK, ""), placeholder="What should each do?"
        )

    def compose(self) -> ComposeResult:
        """Experts above, the fields below."""
        with Vertical(id="compare-sheet"):
            yield self._pane
            yield self._who
            yield self._what
            yield Bar(id="compare-keys")

    def on_mount(self) -> None:
        """Begin with the contestants."""
        self._who.focus()
        for field in (self._who, self._what):
            field.cursor_position = len(field.value)
        self._say(_KEYS)

    def refresh_view(self) -> None:
        """Paint the Experts."""
        definitions = self.host.state.definitions
        width = self._pane.inner_width
        lines: list[Line] = [note(text) for text in wrap(_ABOUT, width)]
        lines.append(BLANK)
        for summary in (*definitions.experts, *definitions.builtins):
            lines.extend(expert_lines(summary, width, chosen=summary.key == self._expert))
        self._pane.show(lines, selected=self._expert, frame=Frame("Compare", flat(self._expert)))

    def _say(self, said: Line) -> None:
        self.query_one("#compare-keys", Bar).show(said)

    # --- keys -------------------------------------------------------------------------------

    def on_key(self, event: events.Key) -> None:
        """Pick the Expert, go between the fields, or close."""
        if event.key in ("up", "down"):
            self._pick(self._pane.move(-1 if event.key == "up" else 1))
        elif event.key in ("tab", "shift+tab"):
            self._other_field()
        elif event.key == "escape":
            self.dismiss(None)
        else:
            return
        event.stop()
        event.prevent_default()

    def _other_field(self) -> None:
        (self._who if self._what.has_focus else self._what).focus()

    def on_pane_chosen(self, event: Pane.Chosen) -> None:
        """Take the picked Expert."""
        event.stop()
        self._pick(event.key)
        self._who.focus()

    def _pick(self, key: Hashable) -> None:
        if key is not None:
            self._expert = ExpertKey(str(key))
            self.refresh_view()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Keep the drafts."""
        event.stop()
        drafts = self.host.state.drafts
        drafts[_ON], drafts[_TASK] = self._who.value, self._what.value
        self._say(_KEYS)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Go on to the task, or start."""
        from perstack.domain.comparisons import contestants_of

        event.stop()
        contestants = _named(self._who.value)
        query = self._what.value.strip()
        try:
            contestants_of(contestants)
        except UsageError as error:
            self._refuse(error.message.removeprefix("--on "), self._who)
            return
        if event.input is self._who:
            self._what.focus()
        elif not query:
            self._refuse("say what each of them should do", self._what)
        else:
            self._start(query, contestants)

    def _refuse(self, why: str, field: Field) -> None:
        self._say(line((" ✗ ", "fail"), (flat(why), "fail")))
        field.focus()

    def _start(self, query: str, contestants: Sequence[str]) -> None:
        expert, host = self._expert, self.host

        async def start(gateway: Gateway) -> None:
            comparison = await gateway.compare(expert, query, contestants)
            host.state.drafts.pop(_TASK, None)
            host.state.drafts[LAST] = expert
            host.tell(f"comparison {comparison} goes on by itself", "good")
            host.open_records("comparisons")

        host.command(start)
        self.dismiss(None)


def _named(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


_KEYS: Final = line(
    (" ↑↓", "accent"),
    (" Expert  ", "muted"),
    ("tab", "accent"),
    (" other field  ", "muted"),
    ("⏎", "accent"),
    (" start  ", "muted"),
    ("esc", "accent"),
    (" close, the text is kept", "muted"),
)
