"""A small GitHub on loopback, and a `gh` that knows the real one's flags and no others."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

TOKEN = "ghp_secretsecretsecret"
AT = "2026-01-02T03:04:05Z"


def issue(number: int, **more: Any) -> dict[str, Any]:
    """An issue as REST has it."""
    return {
        "number": number,
        "title": f"Issue {number}",
        "html_url": f"https://github.com/ana/site/issues/{number}",
        "state": "open",
        "user": {"login": "ana", "id": 1},
        "labels": [{"name": "bug", "color": "f00"}],
        "assignees": [{"login": "bo", "id": 2}],
        "body": "It broke.",
        "created_at": AT,
        "closed_at": None,
    } | more


def pull(number: int, **more: Any) -> dict[str, Any]:
    """A pull request as REST has it."""
    return {
        "number": number,
        "title": f"Pull {number}",
        "html_url": f"https://github.com/ana/site/pull/{number}",
        "state": "open",
        "user": {"login": "ana"},
        "head": {"ref": "topic"},
        "base": {"ref": "main"},
        "body": None,
        "draft": True,
        "mergeable": None,
        "created_at": AT,
        "closed_at": None,
        "merged_at": None,
    } | more


REPOSITORY: dict[str, Any] = {
    "name": "site",
    "owner": {"login": "ana"},
    "html_url": "https://github.com/ana/site",
    "description": None,
    "default_branch": "main",
    "stargazers_count": 3,
    "forks_count": 1,
    "private": True,
    "created_at": AT,
    "pushed_at": AT,
}


@dataclass
class FakeGithub:
    """What it has and what it was asked. `refusal`: what it answers to everything."""

    url: str = ""
    issues: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    pulls: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    seen: list[tuple[str, str, dict[str, str], Any]] = field(
        default_factory=list[tuple[str, str, dict[str, str], Any]]
    )
    refusal: tuple[int, dict[str, str], bytes] | None = None
    next_page: str | None = None

    def answer(self, method: str, target: str, body: Any) -> tuple[int, dict[str, str], bytes]:
        """What GitHub says."""
        if self.refusal is not None:
            return self.refusal
        parts = urlsplit(target)
        if parts.path == "/user":
            return _json(200, {"login": "ana"})
        match parts.path.split("/")[2:]:
            case ["ana", "site"]:
                return _json(200, REPOSITORY)
            case ["ana", "site", "issues" | "pulls" as kind]:
                there = self.issues if kind == "issues" else self.pulls
                if method == "POST":
                    made = (issue if kind == "issues" else pull)(len(there) + 1, **body)
                    there.append(made)
                    return _json(201, made)
                return self._page(there, parse_qs(parts.query), parts.path)
            case ["ana", "site", "issues" | "pulls" as kind, number]:
                there = self.issues if kind == "issues" else self.pulls
                for one in there:
                    if one["number"] == int(number):
                        return _json(200, one)
            case _:
                pass
        return _json(404, {"message": "Not Found"})

    def _page(
        self, there: list[dict[str, Any]], query: dict[str, list[str]], path: str
    ) -> tuple[int, dict[str, str], bytes]:
        state = query["state"][0]
        page = int(query.get("page", ["1"])[0])
        size = int(query["per_page"][0])
        kept = [one for one in there if state in ("all", one["state"])]
        if labels := query.get("labels", [""])[0]:
            wanted = set(labels.split(","))
            kept = [one for one in kept if wanted <= {label["name"] for label in one["labels"]}]
        answer = _json(200, kept[(page - 1) * size : page * size])
        if page * size < len(kept):
            onward = self.next_page or (
                f"{self.url}{path}?state={state}&per_page={size}&page={page + 1}"
            )
            answer[1]["Link"] = f'<{onward}>; rel="next"'
        return answer


def _json(status: int, value: Any) -> tuple[int, dict[str, str], bytes]:
    return status, {"Content-Type": "application/json; charset=utf-8"}, json.dumps(value).encode()


@contextmanager
def fake_github() -> Generator[FakeGithub]:
    """Serve on a port of loopback while the block runs."""
    hub = FakeGithub()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._do()

        def do_POST(self) -> None:
            self._do()

        def _do(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = json.loads(raw) if raw else None
            headers = {name.lower(): value for name, value in self.headers.items()}
            hub.seen.append((self.command, self.path, headers, body))
            status, more, content = hub.answer(self.command, self.path, body)
            self.send_response(status)
            for name, value in more.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


GH = """
import csv, json, os, pathlib, sys, time
home = pathlib.Path(os.environ["HOME"])
FLAGS = {
    "issue create": {"--title", "--body-file", "--label", "--assignee"},
    "issue list": {"--state", "--limit", "--label", "--json"},
    "issue view": {"--json"},
    "pr create": {"--title", "--body-file", "--head", "--base", "--draft"},
    "pr list": {"--state", "--limit", "--json"},
    "pr view": {"--json"},
    "repo view": {"--json"},
    "auth status": {"--hostname"},
}
LISTS = {"--label", "--assignee"}
def fail(text):
    sys.stderr.write(text + "\\n")
    sys.exit(1)
verb, rest = " ".join(sys.argv[1:3]), sys.argv[3:]
call = {"verb": verb, "args": [], "flags": {}, "env": dict(os.environ), "cwd": os.getcwd()}
while rest:
    word = rest.pop(0)
    if word == "-R":
        call["repo"] = rest.pop(0)
    elif word.startswith("-"):
        name, _, value = word.partition("=")
        if name not in FLAGS[verb]:
            fail(f"unknown flag: {name}")
        if name in LISTS:
            call["flags"].setdefault(name, []).extend(next(csv.reader([value])))
        else:
            call["flags"][name] = value
    else:
        call["args"].append(word)
if call["flags"].get("--body-file") == "-":
    call["body"] = sys.stdin.buffer.read().decode()
with open(home / "calls.jsonl", "a") as log:
    log.write(json.dumps(call) + "\\n")
answers = json.loads((home / "answers.json").read_text())
if "sleep" in answers:
    time.sleep(answers["sleep"])
if "fail" in answers:
    fail(answers["fail"])
if verb.endswith("create"):
    print("Creating something in ana/site\\n")
    kind = "issues" if verb.startswith("issue") else "pull"
    print(f"https://github.com/ana/site/{kind}/7")
else:
    print(json.dumps(answers[verb]) if verb in answers else answers.get("text", ""))
"""


@dataclass
class FakeGh:
    """A `gh` of its own home. `answers` by verb: "issue view"; or "fail", "sleep" (s), "text"."""

    home: Path

    @property
    def env(self) -> dict[str, str]:
        """The environment in which it is found."""
        return {"PATH": str(self.home / "bin"), "HOME": str(self.home), "SECRET_KEY": "s3cret"}

    def answers(self, **answers: Any) -> None:
        """Say so from now on; `_` in a name is a space."""
        named = {name.replace("_", " "): value for name, value in answers.items()}
        (self.home / "answers.json").write_text(json.dumps(named))

    @property
    def calls(self) -> list[dict[str, Any]]:
        """What it was called with, as its flags were understood."""
        log = self.home / "calls.jsonl"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def fake_gh(home: Path) -> FakeGh:
    """Put one into a home."""
    (home / "bin").mkdir(parents=True)
    program = home / "bin" / "gh"
    program.write_text(f"#!{sys.executable} -IS\n{GH}")
    program.chmod(0o755)
    gh = FakeGh(home)
    gh.answers()
    return gh
