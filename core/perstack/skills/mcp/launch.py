"""How a skill's server is reached, the same each time, and what its conversation may touch."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import anyio

from perstack.domain.expert import McpSkill
from perstack.domain.server_events import SkillStderr
from perstack.errors import SkillError
from perstack.ports.skills import SkillHost, SkillNotice
from perstack.skills.mcp.limits import ServerLimits

if TYPE_CHECKING:
    from mcp.client._transport import ReadStream, WriteStream
    from mcp.shared.message import SessionMessage


@dataclass(frozen=True, slots=True)
class Streams:
    """The pair of message streams that the SDK's session takes."""

    incoming: ReadStream[SessionMessage | Exception]
    outgoing: WriteStream[SessionMessage]


class Transport(Protocol):
    """The way to a server during one life of it: one process, or one conversation over HTTP."""

    @property
    def over(self) -> anyio.Event:
        """Set once nothing can come any more; whoever sets it ends the connection."""
        ...

    @property
    def announced(self) -> tuple[str, ...]:
        """What is told of the start: a command and its arguments, without any secret."""
        ...

    def opened(self) -> AbstractAsyncContextManager[Streams]:
        """Start or reach the server; on exit end it in bounded time, shielded from cancellation.

        Raises:
            SkillError: it could not be started or reached.
        """
        ...

    def not_ready(self, why: str) -> SkillError:
        """Return the error for a server that did not get ready; to be asked once it was left."""
        ...


@dataclass(slots=True)
class Tally:
    """How often something happened, over all lives of a server."""

    count: int = 0

    def add(self) -> int:
        """Count one more; return how often it was."""
        self.count += 1
        return self.count


@dataclass(frozen=True, slots=True)
class Launch:
    """What stays the same of a skill's server from one life to the next.

    `transport` makes the way for one life. `clean` keeps secrets out of what the server says,
    `notice` is called with what happens. `host` is whom the server may ask, None for nobody.
    """

    skill_name: str
    skill: McpSkill
    transport: Callable[[Launch], Transport]
    start_s: float
    limits: ServerLimits
    workspace: Path
    clean: Callable[[str], str]
    notice: Callable[[SkillNotice], None]
    host: SkillHost | None = None
    logged: Tally = field(default_factory=Tally)

    def tell(self, message: str) -> None:
        """Let it be known what happened to the server."""
        self.notice(SkillStderr(skill_name=self.skill_name, message=self.clean(message)))
