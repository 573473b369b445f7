"""What happens to a bug: it is logged and told in a sentence, and nothing else ends with it."""

from __future__ import annotations

import logging
from traceback import format_exception
from typing import TYPE_CHECKING, Final

from perstack.errors import PerstackError
from perstack.projection.inert import inert

if TYPE_CHECKING:
    from rich.console import RenderableType

    from perstack_tui.opening import Opening

_LOG: Final = logging.getLogger(__name__)


def logged(bug: BaseException, opening: Opening) -> PerstackError:
    """Write the bug to the workspace's log, without secrets; return what the user is told."""
    if not logging.getLogger().handlers:
        # Before the runtime is open; without a log it would be printed over the screen.
        opening.open_log()
    _LOG.error("the cockpit", exc_info=bug)
    return PerstackError(
        f"internal error: {type(bug).__name__}",
        hint=f"{opening.workspace}/perstack/logs/perstack.log says where; please report it",
    )


def last_words(bug: BaseException, opening: Opening, lost: str) -> RenderableType:
    """Return what is printed once a bug has ended the screen. `lost` is what went with it.

    Never what variables held: that may be a secret. With PERSTACK_DEBUG the traceback, too.
    """
    from rich.segment import Segment, Segments

    error = logged(bug, opening)
    said = f"Error: {error.message}. The cockpit ended; what ran in it keeps its checkpoints."
    lines = [said, *filter(None, (lost,)), f"Hint: {error.hint}"]
    if opening.environ.get("PERSTACK_DEBUG"):
        lines[:0] = format_exception(bug)
    return Segments([Segment(inert("\n".join(line.rstrip() for line in lines)) + "\n")])
