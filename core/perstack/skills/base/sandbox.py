"""The optional sandbox of `exec`: bubblewrap, around the command and all that it starts.

Inside, the whole file system is read-only but for the workspace, in which `perstack/` stays
read-only; `/tmp` and `/run` (where the sockets of other services are) are empty and private;
processes, IPC and, unless it is allowed, the network are the sandbox's own, and all privileges are
dropped. `/proc` is read-only, too: without that, root without privileges could still set what
the kernel does for the whole machine. If all this cannot be had, nothing runs.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from perstack.errors import ConfigError
from perstack.ports.skills import RunContext
from perstack.processes.supervised import Ending
from perstack.skills.base.failure import ToolFailure
from perstack.skills.base.paths import DATA_DIRECTORY, Workspace
from perstack.skills.text import printable

PRIVATE_TMP: Final = "/tmp"  # noqa: S108  the sandbox's own
_PROGRAM: Final = "bwrap"
_HINT: Final = (
    "install bubblewrap (apt-get install bubblewrap) and allow it to make namespaces,"
    ' or set sandbox = "none" in [exec]'
)
_PROBE_S: Final = 10.0
_CONFINED: Final = (
    *("--die-with-parent", "--new-session"),
    *("--unshare-pid", "--unshare-ipc", "--unshare-uts"),
    *("--unshare-user-try", "--unshare-cgroup-try"),
    *("--cap-drop", "ALL"),
)
# What bubblewrap says on standard error before or instead of running the command.
_OWN_WORDS: Final = "bwrap: "
_NOT_EXECUTED: Final = "bwrap: execvp "


@dataclass(frozen=True, slots=True)
class Sandbox:
    """How commands are shut in for one workspace. `program` is an absolute path."""

    program: str
    workspace: Path
    network: bool

    def around(self, command: Sequence[str], cwd: int) -> list[str]:
        """Return the words that run `command` shut in, in the directory that `cwd` holds.

        Raises:
            ToolFailure: `perstack/` cannot be protected.
        """
        self._protect_data()
        folder = Path(f"/proc/self/fd/{cwd}").readlink()
        return [*self._words(), "--chdir", str(folder), "--", *command]

    def probe(self) -> None:
        """Check that it works. Blocks, at most `_PROBE_S` seconds.

        Raises:
            ConfigError: it does not.
        """
        _probe((*self._words(), "--", self.program, "--version"))

    def explained(self, ending: Ending | None, stderr: str) -> Ending | None:
        """Return `ending`, or why the command never began if that is what `stderr` tells."""
        if ending is None or ending.code != 1 or not stderr.startswith(_OWN_WORDS):
            return ending
        line = stderr.partition("\n")[0]
        if line.startswith(_NOT_EXECUTED):
            return Ending(failure=line.rpartition(": ")[2])
        return Ending(failure=f"no sandbox could be made ({printable(line)})")

    def _words(self) -> list[str]:
        root, data = str(self.workspace), str(self.workspace / DATA_DIRECTORY)
        words = [self.program, *_CONFINED]
        if not self.network:
            words.append("--unshare-net")
        words += ["--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"]
        words += ["--tmpfs", PRIVATE_TMP, "--tmpfs", "/run"]
        for path in self._needed_of_run():
            words += ["--ro-bind-try", path, path]
        words += ["--bind", root, root, "--ro-bind-try", data, data]
        return [*words, "--remount-ro", "/proc"]

    def _needed_of_run(self) -> list[str]:
        """Programs of systems that keep them there; how names are resolved, where that is."""
        needed = ["/run/current-system", "/run/wrappers"]
        resolver = os.path.realpath("/etc/resolv.conf")
        if self.network and resolver.startswith("/run/"):
            needed.append(resolver)
        return needed

    def _protect_data(self) -> None:
        """Make sure that the data directory can be bound: what is not there could be made."""
        data = self.workspace / DATA_DIRECTORY
        with suppress(FileExistsError):
            data.mkdir(mode=0o700)
        if not stat.S_ISDIR(data.lstat().st_mode):
            raise ToolFailure(
                "NoSandbox", f"{DATA_DIRECTORY}/ is no directory, so no sandbox can protect it."
            )


def open_sandbox(context: RunContext, workspace: Workspace) -> Sandbox | None:
    """Return the sandbox that the settings ask for, known to work; None for none.

    Raises:
        ConfigError: it is not installed, or cannot be made here.
    """
    if context.exec.sandbox == "none":
        return None
    if workspace.path == workspace.path.parent:
        raise ConfigError("exec.sandbox: the workspace is the whole file system", hint=_HINT)
    found = _find(context.env.get("PATH", os.defpath), workspace.path)
    if found is None:
        raise ConfigError(f"exec.sandbox: {_PROGRAM} is not installed", hint=_HINT)
    sandbox = Sandbox(found, workspace.path, context.exec.network)
    sandbox.probe()
    return sandbox


def _find(path: str, workspace: Path) -> str | None:
    """Look for the program where it can be trusted: never in the workspace, which Experts write."""
    for entry in path.split(os.pathsep):
        if found := shutil.which(_PROGRAM, path=entry):
            program = Path(found).resolve()
            if not program.is_relative_to(workspace):
                return str(program)
    return None


@cache
def _probe(words: tuple[str, ...]) -> None:
    """Run a command that does nothing; what worked once is not tried again by this process."""
    try:
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env={},
            timeout=_PROBE_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError(f"exec.sandbox: {_PROGRAM} does not run", hint=_HINT) from error
    if done.returncode != 0:
        said = printable(done.stderr.decode(errors="replace").strip().partition("\n")[0])
        raise ConfigError(f"exec.sandbox cannot be made here: {said}", hint=_HINT)
