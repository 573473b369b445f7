"""A stand-in for docker: it notes what it is asked, and runs a job's program without a container.

What is in an image, on a network or behind the proxy, it cannot show: the tests with a real engine
do. `docker`, its compose and its logs behave as the real ones do towards who starts them.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from pydantic import JsonValue

_SCRIPT = """#!{python} -IS
import json, os, pathlib, signal, sys
state = pathlib.Path({state!r})
words = sys.argv[1:]
with (state / "calls.jsonl").open("a") as file:
    file.write(json.dumps({{"argv": words, "env": dict(os.environ)}}) + "\\n")
broken = json.loads((state / "broken.json").read_text())
for begins, says in broken.items():
    if " ".join(words).startswith(begins):
        signal.pause() if says is None else sys.exit(says)

def compose():
    file = pathlib.Path(words[words.index("-f") + 1])
    (state / "folder.txt").write_text(str(file.parent))
    if "up" in words:
        (state / "compose.json").write_text(file.read_text())
        for name in ("Dockerfile", "requirements.txt"):
            (state / name).write_text((file.parent / name).read_text())
        for path in (file.parent / "proxy").iterdir():
            if path.name != "Dockerfile":
                (state / path.name).write_text(path.read_text())

def begin():
    import subprocess
    service = json.loads((state / "compose.json").read_text())["services"]["runtime"]
    binds = {{bind["target"]: bind["source"] for bind in service["volumes"]}}
    order = pathlib.Path(binds["/perstack/order.json"]).read_text()
    (state / "order.json").write_text(
        order.replace("/perstack/scenario.toml", binds.get("/perstack/scenario.toml", "")))
    (state / "given.json").write_text(order)
    usual = ("PATH", "HOME", "PYTHONPATH")
    env = {{name: os.environ[name] for name in usual if name in os.environ}}
    for given in service["environment"]:
        if "=" not in given:
            env[given] = os.environ[given]
    run = "from perstack.cli.main import main_runtime; main_runtime()"
    process = subprocess.Popen([sys.executable, "-c", run, "contained", str(state / "order.json")],
                               cwd=binds["/workspace"], env=env, start_new_session=True)
    (state / "pid").write_text(str(process.pid))
    (state / "code").write_text(str(process.wait()))

match words:
    case ["--version"]: print("Docker version 28.2.2, build standin")
    case ["compose", "version"]: print("Docker Compose version v2.30.0")
    case ["compose", *_]: compose()
    case ["image", "inspect", "--format", _, image]: print("sha256:" + image)
    case ["image", "inspect", tag]: sys.exit(0 if (state / tag.replace(":", "_")).exists() else 1)
    case ["build", _, "-t", tag, *_]:
        (state / tag.replace(":", "_")).touch()
        print("Step 1/9 : FROM base")
    case ["logs", "--follow", name] if name.endswith("-runtime"): begin()
    case ["logs", "--follow", _]:
        print("TCP_DENIED 403 CONNECT evil.example:443 -", flush=True)
        print("TCP_TUNNEL 200 CONNECT api.anthropic.com:443 203.0.113.5", flush=True)
        signal.pause()
    case ["wait", _]: print((state / "code").read_text())
    case ["kill", "--signal", name, _]:
        os.killpg(int((state / "pid").read_text()), getattr(signal, "SIG" + name))
    case _: pass
"""


@dataclass(frozen=True, slots=True)
class StandIn:
    """A `docker` in a folder that can stand first in a PATH; `state` is where it notes things."""

    bin: Path
    state: Path

    @property
    def calls(self) -> list[list[str]]:
        """The argument vectors it was started with."""
        return [cast("list[str]", call["argv"]) for call in self._calls()]

    @property
    def environments(self) -> list[dict[str, str]]:
        """What it found in its environment, call by call."""
        return [cast("dict[str, str]", call["env"]) for call in self._calls()]

    @property
    def compose(self) -> dict[str, JsonValue]:
        """The compose file of the last job."""
        return json.loads(self.text("compose.json"))

    def text(self, name: str) -> str:
        """Return a file that the last job's containers were given."""
        return (self.state / name).read_text()

    def breaks(self, says: Mapping[str, str]) -> None:
        """Have commands that begin with the keys fail, saying the values."""
        (self.state / "broken.json").write_text(json.dumps(dict(says)))

    def hangs(self, begins: str | None) -> None:
        """Have commands that begin like this never end, or none."""
        held = {} if begins is None else {begins: None}
        (self.state / "broken.json").write_text(json.dumps(held))

    def _calls(self) -> list[dict[str, JsonValue]]:
        lines = self.text("calls.jsonl").splitlines()
        return [json.loads(line) for line in lines]


def stand_in(folder: Path) -> StandIn:
    """Make one in `folder`; it is found once its `bin` stands first in PATH."""
    made = StandIn(folder / "bin", folder / "state")
    made.bin.mkdir(parents=True)
    made.state.mkdir()
    made.breaks({})
    (made.state / "calls.jsonl").touch()
    script = made.bin / "docker"
    script.write_text(_SCRIPT.format(python=sys.executable, state=str(made.state)))
    script.chmod(0o755)
    return made


def path_with(engine: StandIn) -> str:
    """Return a PATH that finds it before any other."""
    return f"{engine.bin}{os.pathsep}{os.environ['PATH']}"
