"""A Docker engine for a test: the one that runs, or one of its own; images without a registry."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

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


_ALONE: Final = """
set -e
ip link set lo up
mount --bind "$1" /etc/resolv.conf
# Images in memory are quickly built, and gone with the engine.
[ -z "$2" ] || mount -t tmpfs -o size=6g tmpfs "$2"
shift 2
exec "$@"
"""
# Beyond the engine's machine, every address there is belongs to one machine, which answers.
_OUTSIDE: Final = """
set -e
ip link set lo up
ip addr add 198.19.255.1/30 dev beyond
ip link set beyond up
ip route add local default dev lo
"""
_GATE: Final = """
set -e
ip link add gate type veth peer name beyond netns "$1"
ip addr add 198.19.255.2/30 dev gate
ip link set gate up
ip route add default via 198.19.255.1
"""
_PROGRAMS: Final = (
    *("docker", "dockerd", "setpriv", "unshare"),
    *("nsenter", "ip", "iptables", "mount"),
)
# Whoever kills the tests kills what is started with these, too.
_DIES_WITH_US: Final = ("setpriv", "--pdeathsig", "KILL")
_SPACES: Final = (
    *_DIES_WITH_US,
    *("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
)
_ROOMY_BYTES: Final = 12 * 1024**3
_POOL: Final = "base=10.213.0.0/16,size=24"


@dataclass(frozen=True, slots=True)
class LoneEngine:
    """An engine in a network of its own, which leads to one other network and no further.

    `pid` is a process in the engine's network, `outside` one in the other.
    """

    docker: Docker
    pid: int
    outside: int


def why_not_lone() -> str | None:
    """Say why no engine of its own network can be had here, None if one can."""
    if os.geteuid() != 0:
        return "an engine of one's own takes root"
    for program in _PROGRAMS:
        if shutil.which(program) is None:
            return f"there is no {program} command"
    if not has_compose():
        return "there is neither `docker compose` nor docker-compose"
    return None


def has_compose() -> bool:
    """Tell whether there is a way to compose containers."""
    plugin = Docker(None).try_("compose", "version").returncode == 0
    return plugin or shutil.which("docker-compose") is not None


@contextmanager
def lone_engine(folder: Path) -> Generator[LoneEngine]:
    """Start an engine that keeps everything in `folder`, in namespaces of its own.

    Its networks, firewall rules and mounts are seen by nobody else, and end with its first process;
    so does every container. It asks 127.0.0.1 of its network for names, as engines on machines
    with a resolver of their own do.
    """
    cgroup = f"perstack-test-{os.getpid()}"
    names = folder / "resolv.conf"
    names.write_text("nameserver 127.0.0.1\n")
    data = folder / "data"
    data.mkdir()
    in_memory = str(data) if psutil.virtual_memory().available > _ROOMY_BYTES else ""
    socket = f"unix://{folder}/docker.sock"
    words = ["dockerd", "--bridge=none", "--default-address-pool", _POOL, "-H", socket]
    words += ["--data-root", str(data), "--exec-root", f"{folder}/exec"]
    words += ["--pidfile", f"{folder}/dockerd.pid", "--cgroup-parent", f"/{cgroup}"]
    with (folder / "dockerd.log").open("wb") as log, _network() as outside:
        engine = subprocess.Popen(
            [*_SPACES, "sh", "-c", _ALONE, "sh", str(names), in_memory, *words],
            stdout=log,
            stderr=log,
        )
        try:
            own = Docker(socket)
            _await(own, engine)
            children = Path(f"/proc/{engine.pid}/task/{engine.pid}/children").read_text()
            pid = int(children.split()[0])
            _in_network(pid, _GATE, str(outside))
            _in_network(outside, _OUTSIDE)
            yield LoneEngine(own, pid, outside)
        finally:
            # The first process of a namespace takes all others along, containers included.
            engine.kill()
            engine.wait(30)
            _forget_groups(cgroup)
            shutil.rmtree(data, ignore_errors=True)


@contextmanager
def _network() -> Generator[int]:
    """Make a network; yield a process in it."""
    words = [*_DIES_WITH_US, "unshare", "--net", "sh", "-c", "echo; exec sleep infinity"]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline(), "no network can be made"
            yield process.pid
        finally:
            process.kill()


def _in_network(pid: int, script: str, *words: str) -> None:
    entered = ["nsenter", "--net", "--target", str(pid), "sh", "-c", script, "sh", *words]
    ran = subprocess.run(entered, capture_output=True, text=True, timeout=30, check=False)
    assert ran.returncode == 0, ran.stderr


def _forget_groups(name: str) -> None:
    for kind in Path("/sys/fs/cgroup").glob(f"*/{name}"):
        for group in [*sorted(kind.rglob("*/"), reverse=True), kind]:
            with suppress(OSError):
                group.rmdir()


def debian_mirror() -> str | None:
    """Return where this machine gets Debian's packages, None if it does not say."""
    for file in sorted(Path("/etc/apt").glob("sources.list.d/debian.sources")):
        if found := re.search(r"^URIs: *(\S+)", file.read_text(), flags=re.MULTILINE):
            return found[1]
    return None
