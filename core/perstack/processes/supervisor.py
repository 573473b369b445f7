"""Runs one command and outlives it just long enough to end everything that the command started.

Started by path as `python -I -S supervisor.py LIFELINE CWD GRACE_MS COMMAND ARG...`, so it uses the
standard library only and nothing of ours. LIFELINE is one end of a socket pair, CWD a directory
that was opened beforehand (so that nobody can swap it for a link in between).

The lifeline tells both sides what they must know: its closing tells us that the program that
started us wants us to end, or is dead, however it died; what we write to it ("exited 0",
"signaled 9", "failed No such file or directory") is how the command ended. We close it by ending,
and we end only when no process that the command started is left: on Linux we are their reaper,
so that they stay our descendants even if they start a session of their own.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time

_SET_PDEATHSIG = 1
_SET_CHILD_SUBREAPER = 36
_KILL_FOR_S = 1.5
_POLL_S = 0.01
_WATCHED = (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


def main(argv: list[str]) -> int:
    """Run the command and return 0 once nothing of it is left."""
    lifeline, cwd, grace_ms = (int(word) for word in argv[:3])
    woken = _wake_on_signals()
    _prctl(_SET_CHILD_SUBREAPER)
    os.set_inheritable(lifeline, False)
    os.fchdir(cwd)
    os.close(cwd)
    child = _start(argv[3:], lifeline)
    if child is None:
        return 0
    _let_go_of_stdio()
    _watch(child, lifeline, woken, grace_ms / 1000)
    return 0


def _wake_on_signals() -> int:
    """Return a descriptor that becomes readable when a child ends or we are asked to end."""
    readable, writable = os.pipe()
    os.set_blocking(readable, False)
    os.set_blocking(writable, False)
    signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
    for number in _WATCHED:
        signal.signal(number, _note)
    return readable


_asked_to_end = False


def _note(number: int, _frame: object) -> None:
    global _asked_to_end
    if number != signal.SIGCHLD:
        _asked_to_end = True


def _prctl(option: int, value: int = 1) -> None:
    """Do what only Linux has; elsewhere the command's process group is all we can end."""
    if not sys.platform.startswith("linux"):
        return
    import ctypes

    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _start(command: list[str], lifeline: int) -> int | None:
    """Start the command in a session of its own; report and return None when that fails."""
    broken, report = os.pipe()
    child = os.fork()
    if child == 0:
        _become(command, report)
    os.close(report)
    with open(broken, "rb") as pipe:  # noqa: PTH123  a descriptor, not a path
        why = pipe.read()
    if not why:
        return child
    os.waitpid(child, 0)
    _say(lifeline, b"failed " + why)
    return None


def _become(command: list[str], report: int) -> None:
    try:
        os.setsid()
        _prctl(_SET_PDEATHSIG, signal.SIGKILL)
        for number in (*_WATCHED, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        os.execvp(command[0], command)  # noqa: S606  no shell is the point
    except OSError as error:
        os.write(report, (error.strerror or "unknown error").encode())
    finally:
        os._exit(127)


def _let_go_of_stdio() -> None:
    """Keep no end of the command's pipes open, so that both sides see them close."""
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    os.close(null)


def _watch(child: int, lifeline: int, woken: int, grace_s: float) -> None:
    """Wait until the command ends or must end; then end what is left and say how it ended."""
    status = None
    wanted = True
    while status is None and wanted:
        ready, _, _ = select.select([lifeline, woken], [], [])
        with contextlib.suppress(BlockingIOError):
            os.read(woken, 4096)
        status = _reap(child)
        wanted = lifeline not in ready and not _asked_to_end
    if status is not None:
        _say(lifeline, _describe(status))
    late = _end_all(child, grace_s)
    if status is None:
        _say(lifeline, _describe(late if late is not None else signal.SIGKILL))


def _reap(child: int) -> int | None:
    """Collect every child that has ended; return the command's wait status if it was among them."""
    found = None
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            if pid == child:
                found = status
    return found


def _end_all(child: int, grace_s: float) -> int | None:
    """Ask everything that is left to end, then make it; return the command's status if seen."""
    status = None
    _signal_all(child, signal.SIGTERM)
    now = time.monotonic()
    kill_at, give_up_at = now + grace_s, now + grace_s + _KILL_FOR_S
    while _is_parent() and time.monotonic() < give_up_at:
        seen = _reap(child)
        status = seen if seen is not None else status
        if time.monotonic() >= kill_at:
            _signal_all(child, signal.SIGKILL)
        time.sleep(_POLL_S)
    return status


def _is_parent() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _signal_all(child: int, number: int) -> None:
    for pid in _descendants():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)
    if not sys.platform.startswith("linux"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child, number)


def _descendants() -> list[int]:
    """Return all processes below this one as /proc shows them now; none where there is no /proc."""
    children: dict[int, list[int]] = {}
    for pid, parent in _parents():
        children.setdefault(parent, []).append(pid)
    found: list[int] = []
    todo = [os.getpid()]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


def _parents() -> list[tuple[int, int]]:
    pairs: list[tuple[int, int]] = []
    with contextlib.suppress(OSError):
        for name in os.listdir("/proc"):  # noqa: PTH208  pathlib costs more than the whole start
            if name.isdigit():
                with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as stat:  # noqa: PTH123
                    # The command's name is in parentheses and may hold anything, also ")".
                    pairs.append((int(name), int(stat.read().rpartition(b")")[2].split()[1])))
    return pairs


def _describe(status: int) -> bytes:
    if os.WIFSIGNALED(status):
        return b"signaled %d" % os.WTERMSIG(status)
    return b"exited %d" % os.WEXITSTATUS(status)


def _say(lifeline: int, words: bytes) -> None:
    with contextlib.suppress(OSError):
        os.write(lifeline, words + b"\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
