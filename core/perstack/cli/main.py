"""The `perstack` program: starts what was asked for, maps errors to exit codes.

Light on purpose: what it runs is imported once interrupts and closed streams are seen to.
"""

from __future__ import annotations

import gc
import io
import os
import signal
import sys
from importlib import import_module

from perstack.errors import PerstackError, StorageError

_USAGE_EXIT = 2
_STDERR_FD = 2
# What a start makes stays. Looking for garbage after every 700 objects of it takes a tenth longer.
_OBJECTS_BETWEEN_COLLECTIONS = 50_000


def main() -> None:
    """Run `perstack`; every failure becomes one sentence, a hint and an exit code."""
    _guarded("perstack.cli.app")


def main_runtime() -> None:
    """Run `perstack-runtime`, which only runs Experts: the program inside a container."""
    _guarded("perstack.cli.runtime_app")


def main_create() -> None:
    """Run `create-expert`, which is `perstack create`."""
    _guarded("perstack.cli.create_app")


def _guarded(app_module: str) -> None:
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
    _stand_in_for_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        # A terminal of another encoding shows escapes instead of ending the program.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        _run(app_module)
    except PerstackError as error:
        _explain(error)
        sys.exit(error.exit_code)
    except SystemExit as exit_:
        sys.exit(1 if exit_.code == _USAGE_EXIT else exit_.code)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if _was_interrupted(error):
            sys.exit(130)
        # The last line of defence: a user never sees a traceback.
        if os.environ.get("PERSTACK_DEBUG"):
            raise
        sys.exit(_explain_unexpected(error))
    finally:
        _let_go_of_stdout()
        # The interpreter looks for garbage once more as it ends: a seventh of a short run's time.
        gc.freeze()


def _run(app_module: str) -> None:
    # While modules load, Ctrl-C ends the program like any other: no traceback of our imports.
    is_heard = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if is_heard:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    app = import_module(app_module).app

    if is_heard:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    app()


def _stand_in_for_closed_streams() -> None:
    """Open the null device for what was closed (`>&-`), or the next file opened takes its place."""
    fd = os.open(os.devnull, os.O_RDWR)
    while fd <= _STDERR_FD:
        fd = os.dup(fd)
    os.close(fd)
    sys.stdin = sys.stdin or open(os.devnull)  # noqa: SIM115, PTH123  for good
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115, PTH123  for good
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115, PTH123  for good


def _let_go_of_stdout() -> OSError | None:
    """Flush standard output; what fails would fail once more, aloud, as the interpreter ends."""
    try:
        sys.stdout.flush()
    except OSError as error:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
        return error
    return None


def _was_interrupted(error: BaseException | None) -> bool:
    """Tell whether Ctrl-C is behind it: where it strikes a class being made, Python rewraps it."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__
    return error is not None


def _explain_unexpected(error: Exception) -> int:
    unwritten = _let_go_of_stdout()
    if isinstance(error, OSError) and unwritten is not None:
        sys.stderr.write(f"Error: standard output cannot be written: {unwritten.strerror}\n")
        return StorageError.exit_code
    sys.stderr.write(f"Error: internal error: {type(error).__name__}\n")
    sys.stderr.write("Hint: perstack --debug ... shows where; please report it\n")
    return 1


def _explain(error: PerstackError) -> None:
    from perstack.projection.inert import inert

    if os.environ.get("PERSTACK_DEBUG"):
        raise error
    sys.stderr.write(f"Error: {inert(error.message)}\n")
    if error.hint:
        sys.stderr.write(f"Hint: {inert(error.hint)}\n")
