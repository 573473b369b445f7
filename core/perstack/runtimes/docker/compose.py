"""The compose file of one job: a container without rights, and the proxy as its only way out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import JsonValue

from perstack.domain.runtimes import DockerSettings
from perstack.errors import ConfigError
from perstack.ports.containers import GIVEN, WORKSPACE
from perstack.runtimes.docker import proxy
from perstack.runtimes.docker.images import HOME, Images

RUNTIME: Final = "runtime"
_PROXY_URL: Final = f"http://{proxy.NAME}:{proxy.PORT}"
_DIRECT: Final = "localhost,127.0.0.1,::1"
_REFUSED: Final = ("\n", "\r", "\0", ";", "$", ":")
# What belongs to the machine.
_SYSTEM: Final = frozenset(
    {"bin", "boot", "dev", "etc", "lib", "proc", "run", "sbin", "sys", "usr"}
)
_PROXY_MEGABYTES: Final = 256


@dataclass(frozen=True, slots=True)
class Layout:
    """What a project of compose is made of.

    `mounts` are files or folders of this machine by where the container has them, the workspace
    not among them; `folders` are further folders that it may write to, at the same place.
    `variables` are names alone: the values are in the environment of compose. `user` is uid, gid.
    """

    project: str
    labels: Mapping[str, str]
    images: Images
    settings: DockerSettings
    workspace: Path
    user: tuple[int, int]
    variables: tuple[str, ...]
    mounts: Mapping[str, Path]
    lists: Mapping[str, Path]
    folders: tuple[Path, ...] = ()
    podman: bool = False

    @property
    def container(self) -> str:
        """The name of the container that drives the job."""
        return f"{self.project}-runtime"

    @property
    def proxy(self) -> str:
        """The name of the proxy's container."""
        return f"{self.project}-proxy"


def check_place(path: Path) -> None:
    """Refuse a folder whose name could mean something else in a compose file.

    Raises:
        ConfigError: it has a character that is not taken, or `..` in it.
    """
    text = str(path)
    if ".." in path.parts or any(bad in text for bad in _REFUSED) or not text.isprintable():
        raise ConfigError(
            f"the folder {json.dumps(text)} cannot be given to a container",
            hint="use a folder without '..', ';', ':', '$' and line breaks in its path",
        )


def check_folder(folder: Path, env: Mapping[str, str]) -> None:
    """Refuse a folder that no job is given of its own. Blocks on the disk.

    Which one it is stands in the job's history, which may have come with the workspace.

    Raises:
        ConfigError: it is the system's, or in it is what belongs to the user and no project.
    """
    place, home = folder.resolve(), Path(env.get("HOME") or Path.home()).resolve()
    hidden = place.is_relative_to(home) and any(
        part.startswith(".") for part in place.relative_to(home).parts
    )
    system = len(place.parts) > 1 and place.parts[1] in _SYSTEM
    if hidden or system or home.is_relative_to(place):
        raise ConfigError(
            f"the job wants {json.dumps(str(folder))} for its folder, which no container is given",
            hint="fork the job again into a folder of its own: perstack fork CHECKPOINT",
        )


def compose_file(layout: Layout) -> str:
    """Return the file, as JSON, which is YAML as well."""
    labels = dict(layout.labels)
    inside: dict[str, JsonValue] = {"internal": True, "labels": dict(labels)}
    if not layout.podman:
        # Without an address on the bridge there is no way to what listens on the host.
        inside["driver_opts"] = {"com.docker.network.bridge.inhibit_ipv4": "true"}
    content: dict[str, JsonValue] = {
        "services": {"proxy": _proxy(layout), RUNTIME: _runtime(layout)},
        "networks": {"inside": inside, "outside": {"labels": dict(labels)}},
    }
    return json.dumps(_escaped(content), indent=1)


def _hardened(layout: Layout, *, megabytes: int, pids: int) -> dict[str, JsonValue]:
    return {
        "labels": dict(layout.labels),
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "read_only": True,
        "mem_limit": f"{megabytes}m",
        "memswap_limit": f"{megabytes}m",
        "pids_limit": pids,
        "logging": {"driver": "json-file", "options": {"max-size": "16m"}},
        "restart": "no",
    }


def _proxy(layout: Layout) -> JsonValue:
    temporary = ("/run", "/tmp", "/var/log/squid", "/var/spool/squid")  # noqa: S108  the proxy's own
    probe = f"exec 3<>/dev/tcp/127.0.0.1/{proxy.PORT}"
    return {
        **_hardened(layout, megabytes=_PROXY_MEGABYTES, pids=64),
        "image": layout.images.proxy,
        "container_name": layout.proxy,
        "networks": {"inside": {"aliases": [proxy.NAME]}, "outside": {}},
        "tmpfs": [f"{place}:size=16m,mode=1777" for place in temporary],
        "ulimits": {"nofile": {"soft": 4096, "hard": 4096}},
        "volumes": _binds(
            {f"{proxy.CONF}/{name}": path for name, path in layout.lists.items()}, writable=False
        ),
        "healthcheck": {
            "test": ["CMD", "bash", "-c", probe],
            "interval": "2s",
            "timeout": "5s",
            "retries": 10,
        },
    }


def _runtime(layout: Layout) -> JsonValue:
    settings = layout.settings
    uid, gid = layout.user
    owned = f"uid={uid},gid={gid},mode=700"
    made: dict[str, JsonValue] = {
        **_hardened(layout, megabytes=settings.memory, pids=settings.pids),
        "image": layout.images.runtime,
        "container_name": layout.container,
        "command": ["contained", f"{GIVEN}/order.json"],
        "user": f"{uid}:{gid}",
        "working_dir": WORKSPACE,
        "cpus": settings.cpus,
        "networks": {"inside": {}},
        # What is asked for any other name than the proxy's goes nowhere.
        "dns": ["127.0.0.1"],
        "dns_search": ["."],
        "depends_on": {"proxy": {"condition": "service_healthy"}},
        "environment": [*_surroundings(), *layout.variables],
        "tmpfs": [
            "/tmp:size=256m,mode=1777",  # noqa: S108  the container's own
            f"{HOME}/.npm:size=512m,exec,{owned}",
            f"{HOME}/.cache:size=256m,exec,{owned}",
        ],
        "volumes": [
            *_binds({WORKSPACE: layout.workspace}, writable=True),
            *_binds({str(folder): folder for folder in layout.folders}, writable=True),
            *_binds(layout.mounts, writable=False),
        ],
    }
    if layout.podman and uid != 0:
        made["userns_mode"] = "keep-id"
    return made


def _surroundings() -> list[JsonValue]:
    proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), _PROXY_URL)
    usual = {
        **proxies,
        **{name.lower(): url for name, url in proxies.items()},
        "NO_PROXY": _DIRECT,
        "no_proxy": _DIRECT,
        "NODE_USE_ENV_PROXY": "1",
        "npm_config_proxy": _PROXY_URL,
        "npm_config_https_proxy": _PROXY_URL,
        "NPM_CONFIG_PROXY": _PROXY_URL,
        "NPM_CONFIG_HTTPS_PROXY": _PROXY_URL,
    }
    return [f"{name}={value}" for name, value in usual.items()]


def _binds(places: Mapping[str, Path], *, writable: bool) -> list[JsonValue]:
    return [
        {"type": "bind", "source": str(path), "target": target, "read_only": not writable}
        for target, path in places.items()
    ]


def _escaped(value: JsonValue) -> JsonValue:
    """Return the value with each `$` as compose wants one that begins no variable."""
    if isinstance(value, str):
        return value.replace("$", "$$")
    if isinstance(value, list):
        return [_escaped(item) for item in value]
    if isinstance(value, dict):
        return {key: _escaped(item) for key, item in value.items()}
    return value
