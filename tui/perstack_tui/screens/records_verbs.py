"""What is asked and confirmed before something is done to a record."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from perstack_tui.deeds.items import why_not_act
from perstack_tui.ports.host import Host
from perstack_tui.ports.records import RECORD_KINDS, RecordKind, Verb
from perstack_tui.screens.ask import AskSheet
from perstack_tui.screens.confirm import Choice, ConfirmSheet
from perstack_tui.screens.records_loading import RecordsLoading
from perstack_tui.state.filters import best_of
from perstack_tui.state.lines import BLANK, Line, line
from perstack_tui.state.records import Browsing, wanted_kind
from perstack_tui.text import flat, wrap

_NAMED_LINES = 3


class Doing:
    """Does verbs: asks for their text, then for a yes where they destroy something."""

    def __init__(self, host: Host, at: Browsing, loader: RecordsLoading) -> None:
        self._host = host
        self._at = at
        self._loader = loader

    def do(self, verb: Verb) -> None:
        """Do `verb` to the selected record, or to the kind where it is one of the kind."""
        refused = why_not_act(self._host)
        if refused is not None:
            self._at.problem = refused
            return
        row = self._at.row
        of_row = row is not None and verb in row.verbs
        record_id = row.id if row is not None and of_row else None
        name = " ".join(flat(cell.text[:400]) for cell in row.cells[:3]) if row and of_row else ""
        if verb.asks is not None:
            self._ask(verb, record_id, name)
        else:
            self._confirm(verb, record_id, name, None)

    def _ask(self, verb: Verb, record_id: str | None, name: str) -> None:
        def wrong(text: str) -> str | None:
            return None if text or verb.optional else f"say {verb.asks}"

        def typed(text: str | None) -> None:
            if text is not None:
                self._confirm(verb, record_id, name, text or None)

        named = [line((text, "muted")) for text in wrap(name, 76)[:_NAMED_LINES]] if name else []
        about: list[Line] = [*named, BLANK, line((flat(verb.asks or ""), "text"))]
        sheet = AskSheet(
            self._host,
            verb.label.capitalize(),
            about,
            placeholder="may be left empty" if verb.optional else "",
            why_not=wrong,
            draft=("records", self._at.kind, record_id, verb.id),
        )
        self._host.open_sheet(sheet, typed)

    def _confirm(self, verb: Verb, record_id: str | None, name: str, text: str | None) -> None:
        act = partial(self._loader.act, record_id, verb.id, text, verb.label)
        if verb.warns is None:
            act()
            return

        def answered(key: str | None) -> None:
            if key == "y":
                act()

        body = [*([name] if name else []), verb.warns, *([f"“{text}”"] if text else [])]
        choices = [Choice("y", f"yes, {verb.label}")]
        title = verb.label.capitalize()
        sheet = ConfirmSheet(self._host, title, body, choices, "leave it")
        self._host.open_sheet(sheet, answered)


def ask_for_kind(host: Host, show: Callable[[RecordKind, str], None]) -> None:
    """Ask for another kind, and words to filter it by; `show` gets what was said."""

    def chosen(text: str | None) -> None:
        kind = wanted_kind(text or "")
        if kind is not None:
            show(kind, (text or "").partition(" ")[2].strip())

    def wrong(text: str) -> str | None:
        if wanted_kind(text) is not None:
            return None
        near = best_of(RECORD_KINDS, text.partition(" ")[0])
        return f"there are no such records{f'; did you mean {near}?' if near else ''}"

    sheet = AskSheet(
        host,
        "Go to",
        [line(("A kind of records, and words to filter them by.", "text"))],
        placeholder="memory singleton",
        why_not=wrong,
        draft="records:goto",
        acts=False,
    )
    host.open_sheet(sheet, chosen)
    sheet.offer([(kind, "") for kind in RECORD_KINDS])
