"""Jobs in containers, for real: an engine, an internet and a model vendor that tests own.

The program runs as its user starts it, on the host; the vendor is api.anthropic.com, behind TLS,
as far as the container can tell. `DockerWorld` lasts for all tests of a session.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from tests.fakes.cli import ANTHROPIC_KEY, Program, Ran, accept_all
from tests.fakes.docker_engine import LoneEngine, lone_engine, why_not_lone
from tests.fakes.docker_images import debian_image, why_no_image
from tests.fakes.internet import INTRANET_AT, METADATA_AT, Internet, internet
from tests.fakes.model_server import Answer, Decide, ModelServer, Seen, model_server
from tests.fakes.model_wire import Refusal

BASE: Final = "perstack-test-debian"
VENDOR: Final = "api.anthropic.com"
NAMES: Final = {
    VENDOR: "203.0.113.10",
    "httpbin.org": "203.0.113.20",
    "api.first.example": "203.0.113.21",
    "api.second.example": "203.0.113.22",
    "api.delegate.example": "203.0.113.23",
    "deep.wild.example": "203.0.113.24",
    # Names that somebody may list, and that lead where nobody may go.
    "rebound.example": INTRANET_AT,
    "rebound-metadata.example": METADATA_AT,
    "metadata.google.internal": METADATA_AT,
    "kubernetes.default.svc": "10.99.0.1",
}
HOST_SSH_KEY: Final = "-----BEGIN OPENSSH PRIVATE KEY----- canary"
HOST_AWS_SECRET: Final = "aws-secret-of-the-host-canary"
HOST_GITHUB_TOKEN: Final = "ghp_TokenOfTheHostCanary0123456789"
# Builds and containers take their time.
BOUND_S: Final = 420.0

TOML: Final = f"""
runtime = "docker"

[provider]
providerName = "anthropic"

[runtimes.docker]
baseImage = "{BASE}"
proxyImage = "{BASE}"
memory = 1024
"""
HOSTILE: Final = Path(__file__).with_name("hostile_tools.py")


@dataclass(frozen=True)
class DockerWorld:
    """What a test uses of it."""

    engine: LoneEngine
    internet: Internet
    home: Path

    def program(
        self, workspace: Path, toml: str, *, env: Mapping[str, str] | None = None
    ) -> Program:
        """Write a project with the hostile server in it; its user has secrets on this machine."""
        workspace.mkdir(parents=True, exist_ok=True)
        path = workspace / "perstack.toml"
        path.write_text(TOML + toml)
        shutil.copy(HOSTILE, workspace)
        given = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "DOCKER_HOST": str(self.engine.docker.host),
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": "/wheels",
            "ANTHROPIC_API_KEY": ANTHROPIC_KEY,
            "AWS_SECRET_ACCESS_KEY": HOST_AWS_SECRET,
            "GITHUB_TOKEN": HOST_GITHUB_TOKEN,
            "SSH_AUTH_SOCK": str(self.home / "agent.sock"),
        }
        accept_all(path, given)
        return Program(workspace, given | dict(env or {}), bound_s=BOUND_S)

    @asynccontextmanager
    async def vendor(self, decide: Decide) -> AsyncGenerator[ModelServer]:
        """Let a model answer for the vendor until the block ends."""

        def known(seen: Seen) -> Answer:
            # Others than the program come here, too: a mere GET of a command's.
            return decide(seen) if "messages" in seen.body else Refusal(404, "not found")

        async with model_server(decide=known) as server:
            self.internet.relays[VENDOR] = urlsplit(server.url).port or 0
            yield server

    def containers(self) -> list[str]:
        """The containers that there are, running or not."""
        return self.engine.docker.run("ps", "-aq").split()

    def networks(self) -> list[str]:
        """The networks that somebody made."""
        named = self.engine.docker.run("network", "ls", "--format", "{{.Name}}").split()
        return sorted(set(named) - {"bridge", "host", "none"})

    def images(self) -> list[str]:
        """The images that there are, by their ids."""
        return sorted(set(self.engine.docker.run("images", "-aq").split()))


def results_of(ran: Ran) -> dict[str, str]:
    """Return what each tool call came to, by the id of the call."""
    found: list[dict[str, Any]] = [
        result for event in ran.all("resolveToolResults") for result in event["toolResults"]
    ]
    return {
        result["id"]: " ".join(part.get("text", "") for part in result["result"])
        for result in found
    }


def why_no_world() -> str | None:
    """Say why there can be no such world here, None if there can."""
    return why_not_lone() or why_no_image()


@contextmanager
def docker_world(folder: Path) -> Generator[DockerWorld]:
    """Make a world in `folder`; it takes about two minutes."""
    home = folder / "home"
    (home / ".ssh").mkdir(parents=True)
    (home / ".ssh" / "id_ed25519").write_text(HOST_SSH_KEY)
    (home / ".aws").mkdir()
    (home / ".aws" / "credentials").write_text(f"aws_secret_access_key = {HOST_AWS_SECRET}\n")
    with (
        lone_engine(folder) as engine,
        internet(folder, NAMES, host=engine.pid, outside=engine.outside) as around,
    ):
        debian_image(engine.docker, folder, BASE, authority=folder / "ca.pem")
        yield DockerWorld(engine, around, home)
