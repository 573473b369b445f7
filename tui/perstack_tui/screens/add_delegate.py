"""Adding an Expert of the registry to one of the project's own: to whom, how, what that changes."""

from __future__ import annotations

from collections.abc import Sequence

from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical

from perstack.domain.ids import ExpertKey
from perstack.domain.registry import RegistryExpert
from perstack.errors import ConflictError, PerstackError
from perstack_tui.deeds.items import why_not_act
from perstack_tui.deliberate import Deliberate
from perstack_tui.ports.gateway import ExpertSummary, Gateway
from perstack_tui.ports.host import Host
from perstack_tui.ports.registry import Draft
from perstack_tui.screens.latest import Latest
from perstack_tui.screens.registry_deeds import key_line
from perstack_tui.screens.sheet import Sheet
from perstack_tui.screens.travel_loading import told
from perstack_tui.state.draft import diff_lines
from perstack_tui.state.lines import BLANK, Line, line, note
from perstack_tui.text import cell, flat, wrap
from perstack_tui.widgets.bar import Bar
from perstack_tui.widgets.paint import Frame
from perstack_tui.widgets.pane import Pane

_AGAIN = "perstack.toml was saved meanwhile: this is what it would change now"


def why_not_add(host: Host) -> str | None:
    """Return why nothing of the registry can be added to this project now."""
    if (refused := why_not_act(host)) is not None:
        return refused
    definitions = host.state.definitions
    if definitions.path is None:
        return "there is no perstack.toml here: perstack create makes one"
    if definitions.error:
        return "perstack.toml is not valid as it is: ^r shows why"
    return None if definitions.experts else "perstack.toml defines no Expert that could delegate"


class AddDelegateSheet(Sheet[Draft]):
    """Up and down choose the Expert, `v` whether its version stays, `y` saves what is shown.

    Gives what it saved.
    """

    def __init__(self, host: Host, expert: RegistryExpert) -> None:
        super().__init__(host)
        self._expert = expert
        self._experts = Pane(id="add-experts")
        self._diff = Pane(id="add-diff", measured=True)
        self._deliberate = Deliberate(host, self._refuse)
        self._latest = Latest(host, self._settled)
        summaries = host.state.definitions.experts
        wanted = host.state.expert_key
        known = [summary.key for summary in summaries]
        self._to = wanted if wanted is not None and wanted in known else known[0]
        self._pinned = False
        self._draft: Draft | None = None
        self._said: tuple[str, bool] = ("", False)
        self._saving = False

    @property
    def _summaries(self) -> Sequence[ExpertSummary]:
        return self.host.state.definitions.experts

    @property
    def _delegate(self) -> str:
        return self._expert.key if self._pinned else self._expert.name

    @property
    def busy(self) -> bool:
        """Whether the change is being made."""
        return self._latest.busy

    def compose(self) -> ComposeResult:
        """To whom, what changes, what was said, the keys."""
        with Vertical(id="add-delegate"):
            yield self._experts
            yield self._diff
            yield Bar(id="add-notice")
            yield Bar(id="add-keys")

    def on_mount(self) -> None:
        """Show the change for the Expert that is selected."""
        self._deliberate.restart()
        self._experts.focus()
        self._make()

    def on_unmount(self) -> None:
        """Wait for nothing any more."""
        self._latest.drop()

    # --- painting ---------------------------------------------------------------------------

    def refresh_view(self) -> None:
        """Paint what is known now."""
        if not self.is_mounted or not self.query("#add-keys"):
            return
        lines = [self._choice(summary) for summary in self._summaries]
        title = f"Add {flat(self._expert.name)} as a delegate of"
        self._experts.show(lines, selected=self._to, frame=Frame(title))
        change = [*self._change(self._diff.inner_width)]
        self._diff.show(change, frame=Frame("What changes in perstack.toml"))
        text, bad = self._said
        said = line((f" {'✗ ' if bad else ''}{flat(text)}", "fail" if bad else "stall"))
        self.query_one("#add-notice", Bar).show(said if text else line())
        other = f"{self._expert.name}: follow latest" if self._pinned else "keep this version"
        hints = [("j/k", "Expert"), ("v", flat(other))]
        if self._draft is not None and not self._saving:
            hints.append(("y", "save it"))
        self.query_one("#add-keys", Bar).show(key_line(*hints, ("esc", "change nothing")))

    def _choice(self, summary: ExpertSummary) -> Line:
        mark = "› " if summary.key == self._to else "  "
        name = cell(summary.key, 28)
        about = f" {flat(summary.description)}"
        return line((mark, "accent"), (name, "strong"), (about, "muted"), key=summary.key)

    def _change(self, width: int) -> Sequence[Line]:
        how = "this version stays" if self._pinned else "follows the tag latest"
        head = [line((text, "text")) for text in wrap(f"{self._delegate}: {how}.", width)]
        if self._draft is None:
            return [*head, BLANK, note("Reading perstack.toml…" if not self._said[1] else "")]
        draft = self._draft
        return [*head, BLANK, *diff_lines(draft.before, draft.after, width)]

    # --- keys -------------------------------------------------------------------------------

    def on_paste(self, event: events.Paste) -> None:
        """Pasting does nothing, nor do keys that come right behind it."""
        event.stop()
        self._deliberate.restart()

    def on_key(self, event: events.Key) -> None:
        """Choose, or save. Enter saves nothing."""
        event.stop()
        event.prevent_default()
        if not self._deliberate.admits():
            return
        page = max(1, self._diff.inner_height - 1)
        match event.character if event.character and event.character.isprintable() else event.key:
            case "j" | "down" | "k" | "up" as key:
                self._pick(self._experts.move(1 if key in ("j", "down") else -1))
            case "v":
                self._pinned = not self._pinned
                self._make()
            case "y":
                self._deliberate.decide(self._save)
            case "pagedown" | "pageup" | "J" | "K" as key:
                step = page if key.startswith("page") else 1
                self._diff.scroll_lines(step if key in ("pagedown", "J") else -step)
            case "escape" | "q":
                self.dismiss(None)
            case _:
                # A key that means nothing here is text that was meant for somewhere else.
                self._deliberate.restart()
        if self.is_mounted:
            self.refresh_view()

    def on_pane_chosen(self, event: Pane.Chosen) -> None:
        """Take the Expert that was clicked."""
        event.stop()
        if event.pane is self._experts:
            self._pick(event.key)

    def _pick(self, key: object) -> None:
        if isinstance(key, str) and key != self._to:
            self._to = ExpertKey(key)
            self._make()

    def _refuse(self, why: str) -> None:
        self._said = (why, True)
        self.refresh_view()

    # --- the change -------------------------------------------------------------------------

    def _make(self, said: str = "") -> None:
        """Make the change for what is chosen; until it is there nothing can be saved."""
        self._draft, self._said = None, (said, False)
        to, delegate = self._to, self._delegate

        async def make(gateway: Gateway) -> None:
            self._draft = await gateway.registry.draft(to, delegate)

        self._latest.want(make, lambda error: self._refuse(told(error)))
        self.refresh_view()

    def _settled(self) -> None:
        if self.is_mounted:
            self.refresh_view()

    def _save(self) -> None:
        draft = self._draft
        if draft is None or self._saving or self._is_left:
            return
        self._saving = True

        async def save(gateway: Gateway) -> None:
            await gateway.registry.save(draft)
            said = f"{flat(draft.expert)} delegates to {flat(draft.delegate)} now; u undoes"
            self.host.tell(said, "good")
            self.dismiss(draft)

        self.host.command(save, self._failed)
        self.refresh_view()

    def _failed(self, error: PerstackError) -> None:
        self._saving = False
        if isinstance(error, ConflictError):
            self._make(_AGAIN)
        else:
            self._refuse(told(error))
