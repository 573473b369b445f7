"""Starting a run: pick an Expert, say what it should do."""

from __future__ import annotations

from collections.abc import Callable, Hashable

from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Input

from perstack.domain.ids import ExpertKey
from perstack_tui.ports.gateway import ExpertSummary, Gateway
from perstack_tui.ports.host import Host
from perstack_tui.screens.asking import begin
from perstack_tui.screens.sheet import Sheet
from perstack_tui.state.lines import Line, line, note
from perstack_tui.text import cell, flat, wrap
from perstack_tui.widgets.bar import Bar
from perstack_tui.widgets.field import Field
from perstack_tui.widgets.paint import Frame
from perstack_tui.widgets.pane import Pane

DRAFT = ("new_run",)
LAST = ("last_expert",)


class NewRunSheet(Sheet[None]):
    """The field has the keyboard; up and down pick the Expert, enter starts.

    `started` is called once the run is there, by whatever would hide it.
    """

    def __init__(
        self,
        host: Host,
        expert: ExpertKey | None = None,
        started: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(host)
        self._started = started
        drafts = host.state.drafts
        self._pane = Pane(id="experts")
        self._field = Field(
            id="query", value=drafts.get(DRAFT, ""), placeholder="What should it do?"
        )
        definitions = host.state.definitions
        keys = [summary.key for summary in (*definitions.experts, *definitions.builtins)]
        wanted = expert or ExpertKey(drafts.get(LAST, ""))
        # One that was asked for by its key and is not here is the registry's.
        self._foreign = expert if expert is not None and expert not in keys else None
        self._expert = wanted if wanted in keys or self._foreign is not None else keys[0]

    def compose(self) -> ComposeResult:
        """Experts above, the field below."""
        with Vertical(id="new-run"):
            yield self._pane
            yield self._field
            yield Bar(id="new-run-keys")

    def on_mount(self) -> None:
        """Focus the field."""
        self._field.focus()
        self._field.cursor_position = len(self._field.value)
        self.query_one("#new-run-keys", Bar).show(_KEYS)

    def refresh_view(self) -> None:
        """Paint the Experts."""
        definitions = self.host.state.definitions
        width = self._pane.inner_width
        lines: list[Line] = []
        if self._foreign is not None:
            lines.extend(_foreign_lines(self._foreign, width, chosen=self._expert == self._foreign))
        for summary in definitions.experts:
            lines.extend(expert_lines(summary, width, chosen=summary.key == self._expert))
        if definitions.builtins:
            lines.append(note("┄ built in ┄"))
        for summary in definitions.builtins:
            lines.extend(expert_lines(summary, width, chosen=summary.key == self._expert))
        model = (
            "SCRIPTED MODEL" if definitions.provider_name == "scripted" else flat(definitions.model)
        )
        self._pane.show(lines, selected=self._expert, frame=Frame("New run", model))

    def on_input_changed(self, event: Input.Changed) -> None:
        """Keep the draft."""
        self.host.state.drafts[DRAFT] = event.value
        self.query_one("#new-run-keys", Bar).show(_KEYS)

    def on_key(self, event: events.Key) -> None:
        """Pick the Expert, or close."""
        if event.key in ("up", "down"):
            event.stop()
            event.prevent_default()
            self._pick(self._pane.move(-1 if event.key == "up" else 1))
        elif event.key == "escape":
            event.stop()
            self.dismiss(None)

    def on_pane_chosen(self, event: Pane.Chosen) -> None:
        """Take the picked Expert."""
        self._pick(event.key)
        self._field.focus()

    def _pick(self, key: Hashable) -> None:
        if key is not None:
            self._expert = ExpertKey(str(key))
            self.refresh_view()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Start the run, if there is something to do."""
        event.stop()
        query = event.value.strip()
        if not query:
            self.query_one("#new-run-keys", Bar).show(_NO_TASK)
            return
        expert, state = self._expert, self.host.state

        async def start(gateway: Gateway) -> None:
            job_id = await gateway.start(expert, query)
            state.drafts.pop(DRAFT, None)
            state.drafts[LAST] = expert
            state.await_run(job_id)
            self.host.tell(f"started {expert}", "good")
            if self._started is not None:
                self._started()

        self.dismiss(None)
        begin(self.host, expert, start)


_KEYS = line(
    (" ↑↓", "accent"),
    (" Expert  ", "muted"),
    ("⏎", "accent"),
    (" start  ", "muted"),
    ("esc", "accent"),
    (" close, the text is kept", "muted"),
)
_NO_TASK = line((" ✗ ", "fail"), ("say what it should do, then ⏎ starts it", "fail"))


def _foreign_lines(key: ExpertKey, width: int, *, chosen: bool) -> list[Line]:
    mark = "› " if chosen else "  "
    name = cell(key, max(8, min(60, width - 20)))
    return [line((mark, "accent"), (name, "strong"), (" from the registry", "muted"), key=key)]


def expert_lines(summary: ExpertSummary, width: int, *, chosen: bool) -> list[Line]:
    """Return an Expert as one line, that which is chosen with what it works with."""
    mark = "› " if chosen else "  "
    name = cell(summary.key, min(28, max(8, width // 3)))
    lines = [
        Line(
            ((mark, "accent"), (name, "strong"), (f" {flat(summary.description)}", "muted")),
            key=summary.key,
        )
    ]
    if chosen:
        about = (
            f"delegates to {', '.join(summary.delegates)}" if summary.delegates else "works alone"
        )
        skills = f" · skills {', '.join(summary.skills)}" if summary.skills else ""
        lines += [
            Line((("    " + text, "muted"),), key=summary.key)
            for text in wrap(about + skills, width - 4)
        ]
    return lines
