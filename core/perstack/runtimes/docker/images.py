"""The images: made of a base and of this installation, and made again only if something changed."""

from __future__ import annotations

import hashlib
import json
import re
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import anyio.to_thread

from perstack.domain.runtimes import DockerSettings
from perstack.errors import ProgramError
from perstack.runtimes.docker import proxy
from perstack.runtimes.docker.engine import Engine
from perstack.runtimes.docker.news import tell_build
from perstack.runtimes.docker.sources import copy_sources, digest_of_sources, pinned_requirements

HOME: Final = "/home/perstack"
_ROOT: Final = "/opt/perstack"
_BUILD_WITHIN_S: Final = 1_800.0
_PULL_WITHIN_S: Final = 900.0
_MOST_COMPLAINTS: Final = 4
_LONGEST_COMPLAINT: Final = 400
_COLOUR: Final = re.compile(r"\x1b\[[0-9;]*m")
# Of Python's packages, of Debian's, of npm's, and the engine's own.
_COMPLAINS: Final = re.compile(r"(?:ERROR|E|Err|npm error|error|fatal):? ", re.IGNORECASE)
_TAG_DIGITS: Final = 24
# Where npx or uvx is wanted and the base image has none.
_NODE_IMAGE: Final = "node:22-bookworm-slim"
_UV: Final = "uv==0.13.9"

_START: Final = "from perstack.cli.main import main_runtime; main_runtime()"

_NEEDED: Final = """\
RUN set -eu; missing=""; \\
    python3 -c 'import ensurepip, venv' 2>/dev/null || missing="python3 python3-venv"; \\
    if [ -n "$missing" ]; then apt-get update; DEBIAN_FRONTEND=noninteractive \\
      apt-get install -y --no-install-recommends $missing; rm -rf /var/lib/apt/lists/*; fi; \\
    wanted=""; [ -e /etc/ssl/certs/ca-certificates.crt ] || wanted="ca-certificates"; \\
    command -v curl >/dev/null 2>&1 || wanted="$wanted curl"; \\
    if [ -n "$wanted" ]; then { apt-get -o Acquire::Retries=0 update && \\
      DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $wanted; } \\
      || echo "without $wanted"; rm -rf /var/lib/apt/lists/*; fi
"""

_LIBRARIES: Final = f"""\
COPY requirements.txt {_ROOT}/requirements.txt
RUN set -eu; set --; [ ! -d /wheels ] || set -- --find-links /wheels; \\
    python3 -m venv --system-site-packages {_ROOT}/venv; \\
    {_ROOT}/venv/bin/python -m pip install --no-cache-dir --disable-pip-version-check \\
      "$@" ${{PIP_INSTALL_ARGS}} -r {_ROOT}/requirements.txt{{uv}}
"""

_OURSELVES: Final = f"""\
COPY app {_ROOT}/app
RUN set -eu; {_ROOT}/venv/bin/python -c 'import sysconfig, pathlib; \\
pathlib.Path(sysconfig.get_path("purelib"), "perstack.pth").write_text("{_ROOT}/app")'; \\
    {_ROOT}/venv/bin/python -m compileall -q {_ROOT}/app; \\
    chmod -R a+rX {_ROOT}; \\
    mkdir -p {HOME}/.npm {HOME}/.cache /workspace /perstack /etc/uv; chmod 755 {HOME}; \\
    touch {HOME}/.npmrc /etc/uv/uv.toml /perstack/order.json /perstack/scenario.toml; \\
    chmod 000 /etc/shadow /etc/shadow- /etc/gshadow /etc/gshadow- 2>/dev/null || true
ENV HOME={HOME} USER=perstack LOGNAME=perstack PYTHONDONTWRITEBYTECODE=1
WORKDIR /workspace
ENTRYPOINT ["{_ROOT}/venv/bin/python", "-c", "{_START}"]
"""


@dataclass(frozen=True, slots=True)
class Images:
    """The images of a job, by tag."""

    runtime: str
    proxy: str


async def built(
    engine: Engine,
    settings: DockerSettings,
    *,
    commands: frozenset[str],
    arguments: Mapping[str, str],
    folder: Path,
) -> Images:
    """Return the images, made in `folder` if they are not there; `commands` start skills.

    Raises:
        ProgramError: an image could not be had or made.
    """
    proxy_image = await _proxy(engine, settings, arguments, folder / "proxy")
    return Images(await _runtime(engine, settings, commands, arguments, folder), proxy_image)


async def _runtime(
    engine: Engine,
    settings: DockerSettings,
    commands: frozenset[str],
    arguments: Mapping[str, str],
    folder: Path,
) -> str:
    base = settings.base_image
    lacks = await _lacking(engine, base, await _base_id(engine, base), commands)
    text = dockerfile(base, arguments=tuple(arguments), node="npx" in lacks, uv="uvx" in lacks)
    requirements = "".join(f"{line}\n" for line in pinned_requirements())
    sources = await anyio.to_thread.run_sync(digest_of_sources)
    parts = (text, requirements, sources, await _base_id(engine, base))
    tag = _tag("perstack-runtime", *parts, json.dumps(dict(arguments), sort_keys=True))
    files = {"Dockerfile": text, "requirements.txt": requirements}
    fill = partial(_fill, folder, files, sources=True)
    return await _made(engine, tag, folder, arguments, fill)


async def _proxy(
    engine: Engine, settings: DockerSettings, arguments: Mapping[str, str], folder: Path
) -> str:
    files = {
        "Dockerfile": proxy.dockerfile(settings.proxy_image),
        "squid.conf": proxy.squid_conf(),
        "start.sh": proxy.START,
    }
    base = await _base_id(engine, settings.proxy_image)
    tag = _tag("perstack-proxy", base, *files.values())
    return await _made(engine, tag, folder, arguments, partial(_fill, folder, files, sources=False))


async def _made(
    engine: Engine,
    tag: str,
    folder: Path,
    arguments: Mapping[str, str],
    fill: Callable[[], None],
) -> str:
    await anyio.to_thread.run_sync(fill)
    if (await engine.run("image", "inspect", tag)).well:
        tell_build("complete", f"{tag} is there")
        return tag
    tell_build("building", f"making {tag}")
    words = ["build", "--force-rm", "-t", tag]
    for name, value in arguments.items():
        words += ["--build-arg", f"{name}={value}"]
    said = _Said()
    ran = await engine.run(
        *words, str(folder), within_s=_BUILD_WITHIN_S, heard=said.hear, complained=said.hear
    )
    if not ran.well:
        tell_build("error", tag)
        raise ProgramError(
            f"the image {tag.partition(':')[0]} could not be built: {said.complaint or ran.tail}",
            hint="perstack run --verbose shows the whole build",
        )
    tell_build("complete", tag)
    return tag


def dockerfile(base: str, *, arguments: tuple[str, ...], node: bool, uv: bool) -> str:
    """Return the runtime's Dockerfile; each step fetches only what the base image lacks."""
    declared = "".join(f'ARG {name}=""\n' for name in sorted({*arguments, "PIP_INSTALL_ARGS"}))
    stages = f"FROM {_NODE_IMAGE} AS node\n" if node else ""
    copied = (
        "COPY --from=node /usr/local/bin/node /usr/local/bin/node\n"
        "COPY --from=node /usr/local/lib/node_modules /usr/local/lib/node_modules\n"
        "RUN ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm \\\n"
        " && ln -s ../lib/node_modules/npm/bin/npx-cli.js /usr/local/bin/npx\n"
    )
    linked = f" {_UV}; ln -s {_ROOT}/venv/bin/uv {_ROOT}/venv/bin/uvx /usr/local/bin/"
    libraries = _LIBRARIES.replace("{uv}", linked if uv else "")
    return (
        f"{stages}FROM {base}\n{declared}{_NEEDED}{copied if node else ''}{libraries}{_OURSELVES}"
    )


async def _lacking(
    engine: Engine, base: str, base_id: str, commands: frozenset[str]
) -> frozenset[str]:
    """Return which of npx and uvx are wanted and not in the base image."""
    wanted = sorted(commands & {"npx", "uvx"})
    if "node" in commands or "npm" in commands:
        wanted = sorted({*wanted, "npx"})
    if not wanted:
        return frozenset()
    asks = "; ".join(f"command -v {name} >/dev/null 2>&1 || echo {name}" for name in wanted)
    words = ("run", "--rm", "--network", "none", "--entrypoint", "sh", base_id or base, "-c", asks)
    said = await engine.must(*words, what=f"the image {base} cannot be looked into")
    return frozenset(said.split()) & {"npx", "uvx"}


async def _base_id(engine: Engine, image: str) -> str:
    """Return the image's own id; it is fetched if it is not there."""
    asks = ("image", "inspect", "--format", "{{.Id}}", image)
    found = await engine.run(*asks)
    if found.well:
        return found.out.strip()
    tell_build("pulling", f"fetching {image}")
    pulled = await engine.run("pull", image, within_s=_PULL_WITHIN_S, heard=_say, complained=_say)
    if not pulled.well:
        raise ProgramError(
            f"the image {image} cannot be fetched: {pulled.tail}",
            hint="name another: baseImage and proxyImage in [runtimes.docker]",
        )
    return await engine.must(*asks, what=f"the image {image} cannot be looked at")


def _fill(folder: Path, files: Mapping[str, str], *, sources: bool) -> None:
    folder.mkdir(mode=0o700, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    if sources:
        copy_sources(folder / "app")


def _tag(name: str, *parts: str) -> str:
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()
    return f"{name}:{digest[:_TAG_DIGITS]}"


def _say(line: str) -> None:
    tell_build("building", _COLOUR.sub("", line))


class _Said:
    """What a build says: shown as it is said; of its complaints, the last ones are kept."""

    def __init__(self) -> None:
        self._complaints: deque[str] = deque(maxlen=_MOST_COMPLAINTS)

    @property
    def complaint(self) -> str:
        """What it complained of."""
        return "; ".join(self._complaints)

    def hear(self, line: str) -> None:
        """Take a line."""
        _say(line)
        plain = _COLOUR.sub("", line).strip()
        if _COMPLAINS.match(plain):
            self._complaints.append(plain[:_LONGEST_COMPLAINT])
