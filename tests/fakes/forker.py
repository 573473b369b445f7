"""Started by path: imports the program's modules once, then forks a program for each request.

A fork differs from a start in nothing but that its imports are done, its models made and the
machine's certificates read, and that its modules are not taken apart as it ends: it has its own
process id, folder, environment, descriptors and end. Each request comes over a connection of its
own, with standard input, output and error: `{"script": "...", "argv": [...], "cwd": "...",
"env": {...}}`, where an empty script is `python -m perstack`. It is answered by two lines, the
process id and, in the end, the exit code (negative: the signal).
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import json
import os
import pkgutil
import signal
import socket
import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import BaseModel

MODULES = (
    "anthropic",
    "anyio._backends._asyncio",
    "httpcore2",
    "openai",
    "pathspec",
    "perstack.cli.app",
    "perstack.coordination",
    "perstack.engine.job",
    "perstack.providers.factory",
    "perstack.serving.backend",
    "perstack.skills.opener",
    "perstack.storage.history.store",
    "sqlalchemy.dialects.sqlite",
)
PACKAGES = (
    "perstack.cli",
    "perstack.integrations.plugins",
    "perstack.projection",
    "perstack.providers",
    "perstack.providers.anthropic",
    "perstack.providers.openai",
    "perstack.runtimes",
    "perstack.services",
    "perstack.skills.mcp",
    "perstack.storage.database",
    "perstack.storage.database.memory",
    "perstack.storage.snapshots",
)
# Those start threads, or are heavy and rarely wanted.
_LEFT_OUT = ("perstack.services.embedded", "perstack.cli.main")
_MOST = 4 * 1024 * 1024


def main(address: str) -> None:
    """Serve until nobody holds the other end of standard input any more."""
    for name in (*MODULES, *_within()):
        # The program will say what is wrong with it.
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    _make_models()
    certificates = importlib.import_module("certificates")
    certificates.read_once()
    certificates.httpcore2.default_ssl_context()
    assert threading.active_count() == 1, threading.enumerate()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    server = socket.socket(socket.AF_UNIX)
    server.bind(f"\0{address}")
    server.listen(64)
    os.write(1, b"ready\n")
    serving = os.fork()
    if serving == 0:
        _serve(server)
    # This one only watches: when the tests are over, so is the forker.
    sys.stdin.buffer.read()
    os.kill(serving, signal.SIGTERM)
    os._exit(0)


def _within() -> list[str]:
    found: list[str] = []
    for package in PACKAGES:
        paths = importlib.import_module(package).__path__
        found += [one.name for one in pkgutil.iter_modules(paths, f"{package}.")]
    return [name for name in found if not name.startswith(_LEFT_OUT)]


def _make_models() -> None:
    """Make what the program's models check values with, which waits for their first use."""
    from pydantic import BaseModel

    from perstack.storage.history import codec

    for model in _below(BaseModel):
        if model.__module__.startswith("perstack."):
            model.model_rebuild()
    codec._bodies()  # pyright: ignore[reportPrivateUsage]


def _below(model: type[BaseModel]) -> list[type[BaseModel]]:
    return [each for one in model.__subclasses__() for each in (one, *_below(one))]


def _serve(server: socket.socket) -> None:
    while True:
        asked, _ = server.accept()
        if os.fork() == 0:
            server.close()
            _answer(asked)
        asked.close()


def _answer(asked: socket.socket) -> None:
    request, descriptors, _, _ = socket.recv_fds(asked, _MOST, 3)
    while not request.endswith(b"\n"):
        request += asked.recv(_MOST)
    wanted = json.loads(request)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    pid = os.fork()
    if pid == 0:
        asked.close()
        _become(wanted, descriptors)
    for descriptor in descriptors:
        os.close(descriptor)
    asked.sendall(b"%d\n" % pid)
    _, status = os.waitpid(pid, 0)
    asked.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))
    os._exit(0)


def _become(wanted: dict[str, object], descriptors: list[int]) -> None:
    raise _Program(wanted, descriptors)


class _Program(Exception):  # noqa: N818  no error: what leaves the forker's frames behind
    """The program that this process is from now on."""

    def __init__(self, wanted: dict[str, object], descriptors: list[int]) -> None:
        self.wanted = wanted
        self.descriptors = descriptors


def run(program: _Program) -> None:
    """Be the program: everything as `python -m perstack`, or as one of its scripts, has it."""
    import runpy

    for number, descriptor in enumerate(program.descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    wanted = program.wanted
    os.chdir(str(wanted["cwd"]))
    os.environ.clear()
    os.environ.update(wanted["env"])  # type: ignore[arg-type]
    script = str(wanted["script"])
    sys.argv = [script or "perstack", *wanted["argv"]]  # type: ignore[misc]
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    # What goes there is seen at once, line by line, as the interpreter has it.
    sys.stderr = open(2, "w", 1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    try:
        if script:
            runpy.run_path(script, run_name="__main__")
        else:
            runpy.run_module("perstack", run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        if isinstance(ended.code, int):
            _end(ended.code)
        raise


def _end(code: int) -> None:
    """End as the interpreter does, but for the modules: freeing them copies all they share."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()  # pyright: ignore[reportPrivateUsage]
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _serve_until_become() -> _Program:
    try:
        main(sys.argv[1])
    except _Program as become:
        return become
    raise AssertionError("the forker never returns")


if __name__ == "__main__":
    run(_serve_until_become())
