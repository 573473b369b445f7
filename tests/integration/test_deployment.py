"""The Dockerfile, built and run: one container is one Expert, the workspace outlives it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest
from anyio import to_thread

from tests.fakes.docker_engine import Docker, debian_mirror, docker_engine, why_not
from tests.fakes.model_server import model_server
from tests.fakes.model_wire import Reply

ROOT = Path(__file__).parents[2]
BASE, IMAGE = "perstack-test-base", "perstack-test"
PYTHON = "python3,python3-venv"

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.long,
    pytest.mark.timeout(1200),
    pytest.mark.xdist_group("docker"),
]


@pytest.fixture(scope="module")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Generator[Docker]:
    """An engine that has the project's image, built from a Debian root file system."""
    if reason := why_not():
        pytest.skip(reason)
    mirror = debian_mirror()
    if shutil.which("debootstrap") is None or mirror is None:
        pytest.skip("there is no debootstrap, or no Debian mirror for it")
    folder = tmp_path_factory.mktemp("docker")
    with docker_engine(folder) as engine:
        root = folder / "root"
        made = ["debootstrap", "--variant=minbase", f"--include={PYTHON}", "bookworm", str(root)]
        subprocess.run([*made, mirror], check=True, capture_output=True, timeout=600)
        wheels = ["wheel", "-q", "-w", str(root / "wheels"), str(ROOT), "hatchling"]
        pip = [shutil.which("pip3") or sys.executable, *wheels]
        subprocess.run(pip, check=True, capture_output=True, timeout=300)
        archive = folder / "root.tar"
        subprocess.run(["tar", "-C", root, "-cf", archive, "."], check=True, timeout=120)
        engine.run("import", str(archive), BASE)
        given = ["--build-arg", f"BASE={BASE}"]
        given += ["--build-arg", "PIP_INSTALL_ARGS=--no-index --find-links /wheels"]
        engine.run("build", "-q", "--network", "host", *given, "-t", IMAGE, str(ROOT), within_s=900)
        yield engine


async def test_a_container_runs_its_expert_without_a_terminal_and_another_goes_on(
    docker: Docker, tmp_path: Path
) -> None:
    workspace = tmp_path / "workspace"
    workspace.mkdir()

    def contained(url: str, *words: str) -> subprocess.CompletedProcess[str]:
        options = ["--rm", "--network", "host", "-v", f"{workspace}:/workspace"]
        options += ["-e", "ANTHROPIC_API_KEY=sk-ant-test", "-e", f"ANTHROPIC_BASE_URL={url}"]
        return docker.try_("run", *options, IMAGE, *words)

    async with model_server(decide=lambda _: Reply(["Ten squats."])) as server:
        first = await to_thread.run_sync(contained, server.url, "Start today's session")
        assert first.returncode == 0, first.stderr
        assert "Ten squats." in first.stdout
        again = await to_thread.run_sync(contained, server.url, "And then?", "--continue")
        assert again.returncode == 0, again.stderr
        said = json.dumps(server.requests[-1].body["messages"])
    assert "Start today's session" in said
    assert "And then?" in said
    assert len(list((workspace / "perstack" / "jobs").iterdir())) == 1
    log = docker.run(
        *("run", "--rm", "--entrypoint", "perstack", "-v", f"{workspace}:/workspace"),
        *("--network", "host", IMAGE, "log"),
    )
    assert "fitness-assistant" in log
