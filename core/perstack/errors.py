"""The error tree: everything this program raises on purpose.

PerstackError(message, *, hint)     `code` is stable, `exit_code` is what the program ends with
├─ UsageError                       1   what was asked cannot be done as asked
│  ├─ AnswerWantedError                 a question waits for its answer
│  ├─ UnfitError                        a call's arguments do not have the shape that is taken
│  └─ ConfigError                       perstack.toml or the environment is wrong
│     └─ UnknownExpertError
├─ NotFoundError                    4   no such job, run, checkpoint or consensus checkpoint
├─ ConflictError                    4   somebody was first, or holds the lock
│  ├─ NotAskedError                     an answer to what asked nothing
│  └─ WrongStateError                   what is there does not lead there from its state
├─ DeniedError                      4   not allowed
│  └─ NotSignedInError                  a server does not know who asks
├─ LimitError                       6   steps, tokens, time
├─ ProviderError                    1   the model vendor failed; `retryable`, `retry_after_s`
├─ RegistryError                    1   the registry of Experts said what cannot be used
│  ├─ RegistryUnreachableError          nobody answers there, or not in time
│  └─ RegistryRefusedError              it refuses; `status`, `reason`
│     └─ RegistryMissingError           it knows no such Expert
├─ SkillError                       1   a tool server failed to start, crashed or timed out
├─ ProgramError                     1   another agent's program, or a container, failed
│  └─ SessionLostError                  it does not know its own session any more
└─ StorageError                     5   corrupt record, schema too new, disk full

Stopped, waiting, a failed tool and a failed delegate are outcomes (events), not errors.
"""

from __future__ import annotations

from perstack.core_types import CORE_TYPE_NAMES


class PerstackError(Exception):
    """An error with one sentence for the user and, where there is one, the next thing to type."""

    code = "perstack"
    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(PerstackError):
    """What was asked cannot be done as asked."""

    code = "usage"


class AnswerWantedError(UsageError):
    """A question waits for its answer, and something else was given."""


class UnfitError(UsageError):
    """A call's arguments do not have the shape that is taken."""


class ConfigError(UsageError):
    """`perstack.toml` or the environment holds something that cannot be used."""

    code = "config"


class UnknownExpertError(ConfigError):
    """No Expert has that name."""

    code = "config.unknown_expert"

    def __init__(self, name: str, known: list[str]) -> None:
        from difflib import get_close_matches

        built_in = [each for each in CORE_TYPE_NAMES if each not in known]
        close = get_close_matches(name[:256], [*known, *built_in], n=1, cutoff=0.7)
        guess = f"did you mean {close[0]}? " if close else ""
        more = f"; built in: {', '.join(built_in)}" if built_in else ""
        super().__init__(
            f"Expert {name[:256]!r} not found",
            hint=f"{guess}perstack.toml defines: {', '.join(sorted(known)) or 'none'}{more}",
        )


class NotFoundError(PerstackError):
    """No job, run, checkpoint or consensus checkpoint has that id."""

    code = "not_found"
    exit_code = 4


class ConflictError(PerstackError):
    """Somebody else was first, or holds what was asked for."""

    code = "conflict"
    exit_code = 4


class NotAskedError(ConflictError):
    """An answer was given to what asked nothing, or has its answer already."""


class WrongStateError(ConflictError):
    """The state that something is in does not lead to the one that was asked for."""

    code = "conflict.state"


class DeniedError(PerstackError):
    """The caller may not do this."""

    code = "denied"
    exit_code = 4


class NotSignedInError(DeniedError):
    """A server does not know who asks, or no longer believes it."""

    code = "denied.not_signed_in"


class LimitError(PerstackError):
    """A limit the user set was reached."""

    code = "limit"
    exit_code = 6


class ProviderError(PerstackError):
    """The model vendor refused, failed or answered with something unusable.

    `status` is the HTTP status where there was one. `retry_after_s` is the wait in seconds that
    the vendor asked for.
    """

    code = "provider"

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        retryable: bool = False,
        retry_after_s: float | None = None,
        status: int | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.retryable = retryable
        self.retry_after_s = retry_after_s
        self.status = status


class RegistryError(PerstackError):
    """The registry of Experts answered with what cannot be used, or is not what was promised.

    `asked` is the key that it is about where the user named that, rather than an Expert's delegate.
    """

    code = "registry"
    asked: str | None = None


class RegistryUnreachableError(RegistryError):
    """Nobody answers where the registry should be, or not in time."""

    code = "registry.unreachable"


class RegistryRefusedError(RegistryError):
    """The registry refuses. `status` is the HTTP status, `reason` what it says, as data."""

    code = "registry.refused"

    def __init__(
        self, message: str, *, hint: str | None = None, status: int, reason: str = ""
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.reason = reason


class RegistryMissingError(RegistryRefusedError):
    """The registry knows no such Expert, version or tag."""

    code = "registry.not_found"


class SkillError(PerstackError):
    """A tool server failed to start, crashed, timed out or broke the protocol."""

    code = "skill"


class ProgramError(PerstackError):
    """A program that was to run an Expert is missing, failed, or said what nobody understands."""

    code = "program"


class SessionLostError(ProgramError):
    """The program does not know the session of its own any more that it was to go on with."""


class StorageError(PerstackError):
    """The history or the database cannot be read or written."""

    code = "storage"
    exit_code = 5


class CorruptRecordError(StorageError):
    """A stored record does not hold what was written."""

    code = "storage.corrupt"


class ClosedError(StorageError):
    """The database was closed meanwhile; once opened again it can be asked."""

    code = "storage.closed"


class LockedError(StorageError):
    """Another process holds the database; asking again may help."""

    code = "storage.locked"
