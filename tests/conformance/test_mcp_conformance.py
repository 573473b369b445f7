"""The public conformance suite, and the Inspector's command line, against `perstack mcp start`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

PACKAGES: Final = (
    "node@22",
    "@modelcontextprotocol/conformance@0.1.16",
    "@modelcontextprotocol/inspector@0.15.0",
)
SERVER: Final = (sys.executable, "-m", "perstack", "mcp", "start")
APPLY: Final = frozenset(
    {
        "server-initialize",
        "logging-set-level",
        "ping",
        "completion-complete",
        "tools-list",
        "server-sse-multiple-streams",
        "resources-list",
        "prompts-list",
        "dns-rebinding-protection",
    }
)
_TOOL: Final = "calls a fixture tool of the suite's own, which no product offers"
_RESOURCE: Final = "reads a fixture resource of the suite's own (test://...)"
_PROMPT: Final = "gets a fixture prompt of the suite's own (test_...)"
DO_NOT_APPLY: Final = {
    "tools-call-simple-text": _TOOL,
    "tools-call-image": _TOOL,
    "tools-call-audio": _TOOL,
    "tools-call-embedded-resource": _TOOL,
    "tools-call-mixed-content": _TOOL,
    "tools-call-with-logging": _TOOL,
    "tools-call-error": _TOOL,
    "tools-call-with-progress": _TOOL,
    "tools-call-sampling": _TOOL,
    "tools-call-elicitation": _TOOL,
    "json-schema-2020-12": "looks for a fixture tool of the suite's own in the list",
    "elicitation-sep1034-defaults": _TOOL,
    "elicitation-sep1330-enums": _TOOL,
    "server-sse-polling": _TOOL,
    "resources-read-text": _RESOURCE,
    "resources-read-binary": _RESOURCE,
    "resources-templates-read": _RESOURCE,
    "resources-subscribe": "no subscriptions are offered, as the capabilities say",
    "resources-unsubscribe": "no subscriptions are offered, as the capabilities say",
    "prompts-get-simple": _PROMPT,
    "prompts-get-with-args": _PROMPT,
    "prompts-get-embedded-resource": _PROMPT,
    "prompts-get-with-image": _PROMPT,
}
BOUND_S: Final = 240


pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install Node and the suites into a temporary folder, and give the folder of programs."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed")
    folder = tmp_path_factory.mktemp("node")
    made = subprocess.run(
        [npm, "install", "--no-audit", "--no-fund", "--prefix", str(folder), *PACKAGES],
        capture_output=True,
        text=True,
        timeout=BOUND_S,
        check=False,
    )
    if made.returncode != 0:
        pytest.skip("npm cannot install the suites: no registry can be reached")
    return folder / "node_modules" / ".bin"


def run(node: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    path = f"{node}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        [str(node / words[0]), *words[1:]],
        cwd=folder,
        env={**os.environ, "PATH": path, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=BOUND_S,
        check=False,
    )


@contextmanager
def serving(folder: Path) -> Generator[str]:
    """Start the program over HTTP without a token, which the suite cannot send; give the URL."""
    arguments = (*SERVER, "--transport", "http", "--no-token")
    with subprocess.Popen(arguments, cwd=folder, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stderr is not None
            said = server.stderr.readline()
            assert said.startswith("MCP: "), said
            yield said.removeprefix("MCP: ").strip()
        finally:
            server.terminate()
            assert server.wait(10) == 0


def scenarios(listed: str) -> set[str]:
    """Return the server scenarios that `conformance list` names."""
    own = listed.partition("Server scenarios")[2].partition("Client scenarios")[0]
    lines = (line.strip() for line in own.splitlines())
    return {line.removeprefix("- ").split()[0] for line in lines if line.startswith("- ")}


def passed(summary: str) -> set[str]:
    lines = summary.partition("=== SUMMARY ===")[2].splitlines()
    return {line.split()[1].rstrip(":") for line in lines if line.startswith("\u2713 ")}


def test_the_conformance_suite_passes_where_it_applies(node: Path, tmp_path: Path) -> None:
    known = APPLY | DO_NOT_APPLY.keys()
    assert scenarios(run(node, tmp_path, "conformance", "list").stdout) == known
    with serving(tmp_path) as url:
        options = ("--url", url, "--suite", "all", "-o", "results")
        done = run(node, tmp_path, "conformance", "server", *options)
    assert passed(done.stdout) >= APPLY, done.stdout[-4_000:]


def test_the_inspectors_command_line_lists_and_calls_a_tool(node: Path, tmp_path: Path) -> None:
    def inspect(*words: str) -> dict[str, Any]:
        done = run(node, tmp_path, "mcp-inspector", "--cli", *SERVER, *words)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    assert len(inspect("--method", "tools/list")["tools"]) >= 50
    called = inspect("--method", "tools/call", "--tool-name", "expert_list")
    assert called["structuredContent"]
