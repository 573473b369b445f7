"""What a verb is, and what a call of one knows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Generic, Literal, TypeVar

from pydantic import JsonValue

from perstack.domain.base import Model
from perstack.domain.ids import ConsensusId, JobId
from perstack.domain.memory import Caller
from perstack.serving.verbs.described import texts_of

if TYPE_CHECKING:
    from perstack.coordination import Coordination
    from perstack.serving.backend import Served
    from perstack.serving.jobs import ServedJobs

Progress = Callable[[float, float | None, str | None], Awaitable[None]]
Effect = Literal["reads", "writes", "destroys"]
FailsAs = Literal["success", "found", "error"]

MOST_ID: Final = 128
"""How many characters an id, or the name of whoever does something, may have."""


class Asked(Model):
    """The base of every input. Nothing beside its fields is taken.

    What stands below a field is what clients are told of it.
    """

    @classmethod
    def __pydantic_init_subclass__(cls, **_: object) -> None:
        """Describe the fields; schemas are made later."""
        for name, text in texts_of(cls).items():
            cls.model_fields[name].description = text


class Nothing(Asked):
    """No input."""


A = TypeVar("A", bound=Asked)
R = TypeVar("R", bound=Model)


async def _untold(done: float, total: float | None, message: str | None) -> None:
    """Tell nobody."""


@dataclass(slots=True)
class Client:
    """Who is at the other end of a connection.

    `name` is how it is known in records: what it says it is, and the user that runs it. `proposed`
    are the checkpoints that it caused, `started` the jobs: it decides neither those nor these.
    """

    name: str
    proposed: set[ConsensusId] = field(default_factory=set[ConsensusId])
    started: set[JobId] = field(default_factory=set[JobId])


@dataclass(frozen=True, slots=True)
class Call:
    """One call: the services it is made with, for whom, and how its progress is told."""

    served: Served
    jobs: ServedJobs
    client: Client
    progress: Progress = _untold

    @property
    def coordination(self) -> Coordination:
        """The services."""
        return self.served.coordination

    @property
    def caller(self) -> Caller:
        """The client as memory knows it: a person, who sees everything."""
        return Caller(name=self.client.name)


@dataclass(frozen=True, slots=True)
class Verb(Generic[A, R]):
    """One verb. Its docstring-like `about` is what a model reads when it chooses among tools.

    `fails_as`: how what could not be done is told. "success": `{success: false, error, code}`;
    "found": so is what is not there: `{found: false, message, error, code}`; "error": as an error
    of the protocol's tool call. Inputs that do not fit, and what is denied, are always that.
    `emptied` is what stands beside the error of a list that could not be made. `ready` raises
    where the verb cannot be done at all; it is asked before the inputs are looked at.
    """

    name: str
    about: str
    takes: type[A]
    gives: type[R]
    do: Callable[[Call, A], Awaitable[R]]
    effect: Effect = "reads"
    fails_as: FailsAs = "error"
    repeatable: bool = False
    outside: bool = False
    emptied: Mapping[str, JsonValue] = field(default_factory=dict[str, JsonValue])
    ready: Callable[[Call], None] | None = None


AnyVerb = Verb[Asked, Model]
NOTHING: Final = Nothing()
