"""The lists and details of the travel screen: messages, files, cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from perstack.projection.money import cost_words
from perstack_tui.ports.travel import FileChange, FileView, MessageView, MomentView
from perstack_tui.state.index import Index
from perstack_tui.state.lines import BLANK, Line, Rows, Span, line, note
from perstack_tui.state.travel import TABS, Tab, Travelling, lane, spoken
from perstack_tui.state.wording import Role, amount, clock_time, count_of
from perstack_tui.text import cell, flat, wrap

_TAB_WORDS: Final[dict[Tab, str]] = {
    "messages": "Messages",
    "files": "Workspace",
    "cost": "Cost and tokens",
}
_KINDS: Final[dict[str, Role]] = {
    "instruction": "muted",
    "user": "accent",
    "assistant": "text",
    "tool": "run",
}
_CHANGES: Final[dict[str, tuple[str, Role]]] = {
    "added": ("+", "added"),
    "removed": ("−", "removed"),
    "modified": ("~", "accent"),
}
MOST_LINES: Final = 20_000
# A text longer than this is wrapped in a thread.
LONG_TEXT: Final = 30_000


def tabs_of(state: Travelling, index: Index) -> Line:
    """Return the tabs, and what the moment is compared with."""
    spans: list[Span] = [(" ", "text")]
    for tab in TABS:
        word = _TAB_WORDS[tab]
        here = tab == state.tab
        spans.append((f"[{word}]" if here else f" {word} ", "strong" if here else "muted"))
        spans.append((" ", "text"))
    return Line(tuple(spans), ((f"{against_words(state, index)} ", "accent"),))


def against_words(state: Travelling, index: Index) -> str:
    """Return `A: writer step 9, 14:00:12 → here`, "" when nothing is compared."""
    base = state.base(index)
    if state.against == "nothing":
        return ""
    if base is None:
        return "nothing before this" if state.against == "previous" else "no A: m marks one"
    name = "A: " if state.against == "mark" else ""
    return f"{name}{spoken(index, base)} → here"


def list_lines(state: Travelling, index: Index, width: int) -> Sequence[Line]:
    """Return the left pane's lines for the open tab."""
    if state.tab == "cost":
        return _steps(state, index, width)
    if state.view is None and state.comparison is None:
        return (note("Loading…" if state.busy else "Nothing could be loaded; . tries again."),)
    if state.tab == "files":
        return _file_rows(state)
    return _message_rows(state)


def list_badge(state: Travelling) -> str:
    """Return what the left pane counts."""
    if state.tab == "messages":
        extra = state.against != "nothing"
        return ("+" if extra else "") + count_of(len(state.messages()), "message")
    if state.tab == "cost":
        return ""
    files = state.files()
    if files is None:
        return "no snapshot"
    added = sum(one.added or 0 for one in files if isinstance(one, FileChange))
    removed = sum(one.removed or 0 for one in files if isinstance(one, FileChange))
    counts = f" +{added} −{removed}" if files and state.against != "nothing" else ""
    return count_of(len(files), "file") + counts


# --- messages -------------------------------------------------------------------------------------


def _message_rows(state: Travelling) -> Sequence[Line]:
    messages = state.messages()
    heads: list[Line] = []
    if state.comparison is not None and state.against != "nothing" and state.comparison.unlike:
        lost = count_of(state.comparison.unlike, "message")
        heads.append(line((f"− {lost} only the earlier one has", "removed")))
    if not messages:
        said = "No message came between them." if state.against != "nothing" else "No messages."
        return (*heads, note(said))
    sign = "+ " if state.against != "nothing" else ""

    def make(at: int) -> Line:
        message = messages[at]
        role: Role = "fail" if message.is_error else _KINDS[message.kind]
        first = flat(message.text[:400].strip().partition("\n")[0])
        title = message.title if message.title != message.kind else ""
        text = "  ".join(part for part in (flat(title), first) if part)
        mark = "✗ " if message.is_error else ""
        return Line(
            ((sign, "added"), (cell(message.kind, 12), role), (mark + text, "text")),
            key=message.id,
        )

    return Rows([message.id for message in messages], make, heads)


def message_detail(message: MessageView, width: int) -> list[Line]:
    """Return a message in full; what it says is shown character by character."""
    role: Role = "fail" if message.is_error else _KINDS[message.kind]
    head = f"{message.kind} · error" if message.is_error else message.kind
    lines = [line((head, role), (f"  {flat(message.title)}", "muted")), BLANK]
    return lines + [
        Line(((text, "text"),), exact=True) for text in _within(wrap(message.text, width))
    ]


def _within(lines: Sequence[str]) -> Sequence[str]:
    if len(lines) <= MOST_LINES:
        return lines
    left = len(lines) - MOST_LINES
    return [*lines[:MOST_LINES], f"… {left} more lines; y copies all of it"]


# --- files ----------------------------------------------------------------------------------------


def _file_rows(state: Travelling) -> Sequence[Line]:
    files = state.files()
    if files is None:
        return (
            note("No snapshot of the files was taken here:"),
            note("this step changed none, or [snapshots] is off."),
        )
    if not files:
        same = state.against != "nothing"
        return (note("No file changed between them." if same else "The workspace was empty."),)
    return Rows([one.path for one in files], lambda at: _file_row(files[at]))


def _file_row(file: FileView | FileChange) -> Line:
    if isinstance(file, FileView):
        right = amount(file.size) + " B" if file.digest else flat(file.why or "?")
        right = right if file.is_stored else f"not stored: {right}"
        role: Role = "text" if file.is_stored else "muted"
        return Line(((f"  {flat(file.path)}", role),), ((f" {right}", "muted"),), file.path)
    sign, role = _CHANGES[file.change]
    counts = f" +{file.added} −{file.removed or 0}" if file.added is not None else " binary"
    mark: tuple[Span, ...] = (("! ", "need"),) if file.on_disk else ()
    words: tuple[Span, ...] = (("  changed on disk since", "need"),) if file.on_disk else ()
    named: Span = (flat(file.path), "text")
    return Line(((f"{sign} ", role), *mark, named, *words), ((counts, "muted"),), file.path)


def text_detail(text: str, width: int) -> list[Line]:
    """Return a file's text. Takes time in proportion to its length."""
    return [Line(((one, "text"),), exact=True) for one in _within(wrap(text, width))]


def diff_detail(lines: Sequence[str], width: int) -> list[Line]:
    """Return a unified diff, coloured by its marks; lines that are too wide go on below."""
    if not lines:
        return [note("The file is the same in both.")]
    found: list[Line] = []
    for text in lines[:MOST_LINES]:
        role = _diff_role(text)
        first, *more = wrap(text, width) or ("",)
        found.append(Line(((first, role),), exact=True, key=None))
        found.extend(Line(((f"  {part}", role),), exact=True) for part in more)
    if len(lines) > MOST_LINES:
        found.append(note(f"… {len(lines) - MOST_LINES} more lines"))
    return found


def _diff_role(text: str) -> Role:
    if text.startswith(("+++", "---")):
        return "muted"
    marks: dict[str, Role] = {"+": "added", "-": "removed", "@": "accent"}
    return marks.get(text[:1], "text")


def hunk_from(lines: Sequence[Line], top: int, by: int) -> int | None:
    """Return the line of the next hunk below (or above) `top`, None when there is none."""
    heads = [at for at, one in enumerate(lines) if one.left and one.left[0][0].startswith("@@")]
    if by > 0:
        return next((at for at in heads if at > top), None)
    return next((at for at in reversed(heads) if at < top), None)


# --- cost -----------------------------------------------------------------------------------------


def _steps(state: Travelling, index: Index, width: int) -> Sequence[Line]:
    run = lane(index, state.moment)
    if run is None:
        return (note("This run is gone from the history."),)
    points = run.points
    head = Line(((cell("STEP", 6) + "WHAT", "muted"),), (("TOKENS     COST", "muted"),))

    def make(at: int) -> Line:
        point = points[at]
        used = cell(amount(point.usage.total_tokens), 6, "right")
        cost = cell(
            cost_words(point.cost) if point.cost.usd or point.cost.partial else "", 9, "right"
        )
        what = flat(point.label or point.kind)
        return Line(
            ((cell(str(point.step_number), 6), "muted"), (what, "text")),
            ((f"{used}{cost}", "text"),),
            point.checkpoint_id,
        )

    return Rows([point.checkpoint_id for point in points], make, (head,))


def cost_detail(state: Travelling) -> list[Line]:
    """Return the figures of the moment and, of two, their difference."""
    view = state.view
    if view is None:
        return [note("Loading…" if state.busy else "Nothing is known of this step.")]
    rows = _figures(view)
    lines = [line((cell(name, 18), "muted"), (text, "text")) for name, text in rows]
    if state.comparison is not None and state.against != "nothing":
        tokens, usd = state.comparison.tokens, state.comparison.usd
        lines += [
            BLANK,
            line(("since the moment compared with", "accent")),
            line((cell("tokens", 18), "muted"), (f"{tokens:+,}", "text")),
            line(
                (cell("cost", 18), "muted"), (f"{'-' if usd < 0 else '+'}${abs(usd):.4f}", "text")
            ),
        ]
    return lines


def _figures(view: MomentView) -> list[tuple[str, str]]:
    usage = view.usage
    return [
        ("at", clock_time(view.timestamp)),
        ("step", str(view.step_number)),
        ("tokens so far", f"{usage.total_tokens:,}"),
        ("  read", f"{usage.input_tokens:,}"),
        ("  of it cached", f"{usage.cached_input_tokens:,}"),
        ("  written", f"{usage.output_tokens:,}"),
        ("  of it reasoning", f"{usage.reasoning_tokens:,}"),
        ("cost so far", cost_words(view.cost) if view.cost.usd or view.cost.partial else "$0"),
        ("context", f"{view.context:.0%}" if view.context is not None else "not known"),
    ]
