"""`perstack watch`: every job of a folder, as lines, or in the cockpit that only observes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Protocol

import typer

from perstack.cli import options as o

if TYPE_CHECKING:
    from perstack.cli.listeners import Output
    from perstack.ports.history import FeedBatch, History
    from perstack.projection.views import WorkspaceView
    from perstack.projection.workspace import WorkspaceFold
    from perstack.services.following import Happening

SILENCE_S: Final = 2.0
CLOSE_S: Final = 1.0


class Teller(Protocol):
    """Makes lines of what is fed and of the view that it gives."""

    def batch(self, batch: FeedBatch) -> Iterable[str]:
        """Return the lines that the events add."""
        ...

    def view(self, view: WorkspaceView, now_ms: int) -> Iterable[str]:
        """Return the lines that the view adds."""
        ...


@dataclass(slots=True)
class Shown:
    """What happened so far, and who makes lines of it once all that was there is known.

    `inbox_seen`: what waits for a decision is known; without a database nothing can.
    """

    fold: WorkspaceFold
    teller: Teller
    inbox_seen: bool

    @property
    def is_complete(self) -> bool:
        """Whether all that was there as watching began has been read."""
        return self.inbox_seen and self.fold.view().caught_up

    def take(self, happened: Happening) -> Iterator[str]:
        """Fold what happened and yield the lines that tell it."""
        from perstack.ports.history import FeedBatch
        from perstack.ports.system import SystemClock
        from perstack.services.following import InboxSeen

        now = SystemClock().now_ms()
        match happened:
            case FeedBatch():
                self.fold.apply(happened)
                yield from self.teller.batch(happened)
            case InboxSeen():
                self.fold.apply_inbox(happened.checkpoints)
                self.inbox_seen = True
            case _:
                pass
        self.fold.tick(now)
        if self.is_complete:
            yield from self.teller.view(self.fold.view(), now)


def watch(
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object a line: all, then what changes.")
    ] = False,
    plain: Annotated[bool, typer.Option("--plain", help="Lines as things happen.")] = False,
    once: Annotated[
        bool, typer.Option("--once", help="Print how all stands now, and end.")
    ] = False,
    workspace: o.Workspace = o.HERE,
    config: o.Config = None,
) -> None:
    """Watch every job of this folder, whichever process runs it; start nothing."""
    from perstack.cli.start import has_screen, open_watching, wants_lines
    from perstack.errors import UsageError

    if as_json and plain:
        raise UsageError("--json and --plain cannot both be given")
    if not (as_json or plain or once) and (wants_lines() or has_screen()):
        raise typer.Exit(open_watching(workspace, config, observe=True))
    raise typer.Exit(_print(workspace, as_json=as_json, once=once))


def _print(workspace: Path, *, as_json: bool, once: bool) -> int:
    import anyio

    from perstack.cli.listeners import Output, speak_utf8
    from perstack.cli.looking import history_of

    if as_json:
        speak_utf8()
    output = Output()
    anyio.run(_follow, history_of(workspace), workspace, output, as_json, once)
    return 0 if output.broken is None or isinstance(output.broken, BrokenPipeError) else 5


async def _follow(
    history: History, workspace: Path, output: Output, as_json: bool, once: bool
) -> None:
    import anyio

    from perstack.projection.watch_json import WatchJson
    from perstack.projection.watch_plain import WatchPlain
    from perstack.projection.workspace import WorkspaceFold
    from perstack.runtime import open_consensus
    from perstack.services.following import Followed, following
    from perstack.wiring import has_database

    consensus = open_consensus(workspace)
    followed = Followed(history, consensus, lambda: has_database(workspace))
    shown = Shown(
        WorkspaceFold(), WatchJson() if as_json else WatchPlain(), not has_database(workspace)
    )
    try:
        async with following(followed, silence_s=SILENCE_S) as happenings:
            async for happened in happenings:
                for line in shown.take(happened):
                    output.line(line)
                if output.broken is not None or (once and shown.is_complete):
                    return
    finally:
        with anyio.move_on_after(CLOSE_S, shield=True):
            await consensus.aclose()
