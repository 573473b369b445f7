"""A Docker engine for a test: the one that runs, or one of its own; images without a registry."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

START_WITHIN_S = 60
# No network and no firewall of its own: containers use the host's, so that nothing is left behind.
OWN = ("--storage-driver=vfs", "--iptables=false", "--ip6tables=false", "--bridge=none")


@dataclass(frozen=True, slots=True)
class Docker:
    """An engine to talk to."""

    host: str | None

    def run(self, *words: str, within_s: float = 120, text: str | None = None) -> str:
        """Run a docker command that must go well; return what it printed."""
        ran = self.try_(*words, within_s=within_s, text=text)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout.strip()

    def try_(
        self, *words: str, within_s: float = 120, text: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a docker command."""
        env = {**os.environ, "DOCKER_BUILDKIT": "0"} | (
            {"DOCKER_HOST": self.host} if self.host else {}
        )
        return subprocess.run(
            ["docker", *words],
            env=env,
            input=text,
            capture_output=True,
            text=True,
            timeout=within_s,
            check=False,
        )


def why_not() -> str | None:
    """Say why no engine can be had here, None if one can."""
    if shutil.which("docker") is None:
        return "there is no docker command"
    if Docker(None).try_("info").returncode == 0:
        return None
    if os.geteuid() != 0 or shutil.which("dockerd") is None:
        return "no Docker engine runs, and none can be started"
    return None


@contextmanager
def docker_engine(folder: Path) -> Generator[Docker]:
    """Use the engine that runs, or start one that keeps everything in `folder`."""
    running = Docker(None)
    if running.try_("info").returncode == 0:
        yield running
        return
    socket = f"unix://{folder}/docker.sock"
    words = ["dockerd", *OWN, "--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec"]
    with (folder / "dockerd.log").open("wb") as log:
        engine = subprocess.Popen(
            [*words, "--pidfile", f"{folder}/dockerd.pid", "-H", socket], stdout=log, stderr=log
        )
        try:
            own = Docker(socket)
            _await(own, engine)
            yield own
        finally:
            engine.terminate()
            engine.wait(30)
            # The engine leaves its network namespace mounted; the folder could not be removed.
            for mounted in (folder / "exec" / "netns").glob("*"):
                subprocess.run(["umount", "-l", mounted], check=False, capture_output=True)


def _await(docker: Docker, engine: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + START_WITHIN_S
    while docker.try_("info").returncode != 0:
        assert engine.poll() is None, "the Docker engine ended"
        assert time.monotonic() < until, "the Docker engine does not answer"


def debian_mirror() -> str | None:
    """Return where this machine gets Debian's packages, None if it does not say."""
    for file in sorted(Path("/etc/apt").glob("sources.list.d/debian.sources")):
        if found := re.search(r"^URIs: *(\S+)", file.read_text(), flags=re.MULTILINE):
            return found[1]
    return None
