"""What can be copied of a moment: its id, its texts, and what does the same in a shell."""

from __future__ import annotations

from dataclasses import dataclass
from shlex import quote

from perstack_tui.state.travel import Travelling


@dataclass(frozen=True, slots=True)
class CopyChoice:
    """A key, what it copies in words, and the text."""

    key: str
    what: str
    text: str


def choices_for(at: Travelling) -> tuple[CopyChoice, ...]:
    """Return what can be copied now."""
    checkpoint = quote(at.moment.checkpoint_id)
    found = [
        CopyChoice("i", "checkpoint id", at.moment.checkpoint_id),
        CopyChoice("r", "restore command", f"perstack restore {checkpoint}"),
        CopyChoice("f", "fork command", f"perstack fork {checkpoint}"),
    ]
    compared = at.comparison if at.against != "nothing" else None
    if compared is not None:
        before, after = quote(compared.before.checkpoint_id), quote(compared.after.checkpoint_id)
        found.append(CopyChoice("d", "diff command", f"perstack diff {before} {after}"))
    message = at.selected_message()
    if at.tab == "messages" and message is not None:
        found.append(CopyChoice("m", "message", message.text))
    file = at.selected_file()
    if at.tab == "files" and file is not None:
        found.append(CopyChoice("p", "path", file.path))
    return tuple(found)
