"""What a project asks to be trusted with, and what its user has accepted.

A `perstack.toml` that was merely found may come from a stranger. Commands that it starts, and
places that it sends a key, a token or a conversation to, need the user's word first; no byte of
the project votes on that, so the word is kept in the user's own state folder.

What is accepted is what was shown: one statement, for one configuration file. A file that changes
elsewhere asks nothing new; a command that changes by one character does.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

from perstack.config.headers import holds_secret
from perstack.config.interpolate import is_reference, variables_in
from perstack.config.report import printable
from perstack.config.untrusted import Demand, Kind
from perstack.config.urls import leads_elsewhere
from perstack.domain.base import Model
from perstack.domain.coordination import GithubSettings
from perstack.domain.expert import Expert, McpSkill, McpStdioSkill, RemoteSkill
from perstack.domain.registry import DEFAULT_URL, Origin
from perstack.domain.runtimes import (
    PROGRAMS,
    USUAL_PERMISSIONS,
    DockerSettings,
    ProgramSettings,
    RuntimeName,
    RuntimeSettings,
)
from perstack.domain.settings import Settings
from perstack.errors import StorageError

_FILE: Final = "trust.json"
_FETCHED: Final = "registry"
_PRIVATE: Final = " (which may be this machine or in a private network)"
_PASSWORD: Final = re.compile(r"://[^/\s@]*@")
_MOST_BYTES: Final = 4 * 1024 * 1024
_UNASKED: Final = {
    "edits": ", and let it edit files unasked",
    "all": ", and let it do anything unasked",
}
_GITHUB: Final = "https://api.github.com"
_GITHUB_TOKENS: Final = frozenset({"GITHUB_TOKEN", "GH_TOKEN"})


class _Record(Model):
    format_version: Literal[1] = 1
    accepted: dict[str, tuple[str, ...]]


def demands_of(experts: Iterable[Expert], settings: Settings) -> tuple[Demand, ...]:
    """Return what the definitions ask for, each once, in a stable order."""
    experts = tuple(experts)
    found = {demand for expert in experts for demand in _of_expert(expert)}
    found.update(_of_settings(settings))
    named: set[RuntimeName] = {settings.runtime.name}
    named.update(expert.runtime for expert in experts if expert.runtime)
    found.update(_of_runtimes(named, settings.runtime))
    return tuple(sorted(found))


def _of_runtimes(named: Iterable[RuntimeName], runtime: RuntimeSettings) -> Iterable[Demand]:
    """Other agents' programs have tools of their own; how one is started counts even unused."""
    for name in PROGRAMS:
        says = runtime.programs.get(name)
        if says is None and name not in named:
            continue
        says = says or ProgramSettings()
        started = f"start {_shown(says.command or (name,))}{_given(says.env)}"
        unasked = _UNASKED.get(says.permissions or USUAL_PERMISSIONS[name], "")
        yield Demand("command", f"{started} to run Experts{unasked}")
    usual, docker = DockerSettings(), runtime.docker
    # What is in an image is given the provider's key, and sees the workspace.
    for image, plain in (
        (docker.base_image, usual.base_image),
        (docker.proxy_image, usual.proxy_image),
    ):
        if image != plain:
            yield Demand("command", f"start containers made of {_shown([image])}")
    for domain in docker.allowed_domains:
        yield Demand("address", f"let containers reach {domain}")


def registry_demands(url: str | None) -> tuple[Demand, ...]:
    """Return what a file asks for that says which registry Experts come from."""
    if url is None or url.rstrip("/") == DEFAULT_URL or not leads_elsewhere(url):
        return ()
    return (Demand("address", f"take Experts from {url}, with your key for it"),)


def variable_demand(file: str, name: str, value: str) -> Demand:
    """Return what an env file asks for that says where requests go."""
    # A password in it is nobody's business, and changing it redirects nothing.
    shown = json.dumps(_PASSWORD.sub("://…@", value), ensure_ascii=False)[1:-1]
    return Demand("variable", f"set {name}={shown} from {file}", variable=name)


def _of_expert(expert: Expert) -> Iterable[Demand]:
    """One of the registry is one demand, which names everything: it is accepted whole."""
    if expert.origin is None:
        yield from _of_skills(expert)
    else:
        yield _of_fetched(expert, expert.origin)


def _of_fetched(expert: Expert, origin: Origin) -> Demand:
    parts = [demand.text for demand in _of_skills(expert)]
    if expert.delegates:
        parts.append(f"delegate to {_shown(expert.delegates)}")
    asks = "".join(f"; {part}" for part in parts)
    whose = f"{_shown([origin.key])} of {_shown([origin.owner])} from {origin.registry}"
    return Demand("expert", f"run {whose} ({origin.integrity}){asks}", seal_of(expert))


def seal_of(expert: Expert) -> str:
    """Return a hash of all that an Expert is, whichever key led to it.

    What a job's history says of an Expert's origin is not proven by anything, and the history may
    have come with the folder.
    """
    is_ = expert.model_dump(mode="json", exclude={"key", "origin"}, exclude_defaults=True)
    return hashlib.sha256(json.dumps(is_, sort_keys=True).encode()).hexdigest()


def _of_skills(expert: Expert) -> Iterable[Demand]:
    for skill in expert.skills.values():
        if isinstance(skill, McpStdioSkill):
            words = [skill.command, *((skill.package_name,) if skill.package_name else skill.args)]
            text = f"start {_shown(words)}{_given(skill.required_env)}"
            yield Demand("command", f"{text}{_asking(skill)}")
        elif isinstance(skill, RemoteSkill):
            sent = (*skill.required_env, *skill.header_env.values())
            sent += (skill.bearer_token_env,) if skill.bearer_token_env else ()
            where = _veiled(*skill.endpoint.partition("?"))
            where += _PRIVATE if skill.allow_private else ""
            yield Demand("address", f"connect to {where}{_given(sent)}{_asking(skill)}")


def _of_settings(settings: Settings) -> Iterable[Demand]:
    provider = settings.provider
    if leads_elsewhere(provider.base_url):
        yield Demand("address", f"send your {provider.name} key to {provider.base_url}")
    if provider.resource_name is not None:
        where = f"the Azure resource {provider.resource_name}"
        yield Demand("address", f"send your {provider.name} key to {where}")
    if provider.scenario is not None:
        # Its author's words would call the tools, `exec` among them, where a model does otherwise.
        yield Demand("command", f"do what {_shown([provider.scenario])} says, without a model")
    for name in sorted(filter(holds_secret, provider.headers)):
        yield Demand("address", f"send its own {name} to {provider.name} with your conversations")
    if settings.notify.command:
        yield Demand("command", f"start {_shown(settings.notify.command)}")
    if settings.notify.webhook is not None:
        yield Demand("address", f"send notices to {_posted_to(settings.notify.webhook)}")
    if (slack := settings.coordination.slack.webhook_url) is not None:
        names = "" if is_reference(slack) else _given(variables_in(slack))
        yield Demand("address", f"tell Slack's webhook {_posted_to(slack)}{names}")
    yield from _of_github(settings.coordination.github)
    for root in filter(leads_out, settings.coordination.server.filesystem_roots):
        yield Demand("address", f"show {_shown([root])} to whoever is signed in at its server")
    if settings.base_skill_command:
        yield Demand("command", f"start {_shown(settings.base_skill_command)}")


def leads_out(root: str) -> bool:
    """Tell whether a path leaves the workspace by its words, so that it must be accepted."""
    return root.startswith("/") or ".." in root.split("/")


def _of_github(github: GithubSettings) -> Iterable[Demand]:
    """Its own token at its own address is nobody's demand; anything else goes astray."""
    sent = set(variables_in(github.token or ""))
    elsewhere = github.base_url is not None and github.base_url.rstrip("/") != _GITHUB
    if elsewhere or sent - _GITHUB_TOKENS:
        where = _veiled(*(github.base_url or _GITHUB).partition("?"))
        yield Demand("address", f"use GitHub at {where}{_given(sent or ('your token',))}")


def _posted_to(url: str) -> str:
    """Return where a webhook is, with a hash of its path, which is its password."""
    if is_reference(url):
        return url
    try:
        parts = urlsplit(url)
    except ValueError:
        return _veiled("", "", url)
    host = f"{parts.scheme}://{parts.netloc}"
    path = url.removeprefix(host)
    return _veiled(host, path[:1], path[1:])


def _veiled(shown: str, mark: str, secret: str) -> str:
    """Return an address without what may be a secret in it; another secret shows another hash."""
    if not secret:
        return shown + mark
    return f"{shown}{mark}… ({hashlib.sha256(secret.encode()).hexdigest()[:16]})"


def _asking(skill: McpSkill) -> str:
    return ", and let it ask your model unasked" if skill.sampling == "allow" else ""


def _shown(words: Iterable[str]) -> str:
    # Quoted as JSON where it is needed, so that nothing can pose as two words or as none.
    plain = "-_./:@=+,%"
    return " ".join(
        word
        if word and all((c.isascii() and c.isalnum()) or c in plain for c in word)
        else json.dumps(word)
        for word in words
    )


def _given(names: Iterable[str]) -> str:
    listed = ", ".join(sorted(set(names)))
    return f" with {listed}" if listed else ""


class Acceptances:
    """What the user accepted, by configuration file. Every method blocks on the disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / _FILE

    def lacking(self, config: Path, demands: Iterable[Demand]) -> tuple[Demand, ...]:
        """Return those of `demands` that were not accepted for the file at `config`."""
        wanted = tuple(demands)
        if not wanted:
            return ()
        known = self._read()
        given = {kind: known.get(_place(config, kind), frozenset()) for kind in _kinds(wanted)}
        return tuple(demand for demand in wanted if demand.digest not in given[demand.kind])

    def accept(self, config: Path, demands: Iterable[Demand]) -> None:
        """Remember that the user accepted `demands` for the file at `config`.

        Raises:
            StorageError: it cannot be written down.
        """
        known = self._read()
        for demand in demands:
            place = _place(config, demand.kind)
            known[place] = known.get(place, frozenset()) | {demand.digest}
        self._write(known)

    def forget(self, config: Path, demands: Iterable[Demand]) -> None:
        """Forget that the user accepted `demands` for the file at `config`.

        Raises:
            StorageError: it cannot be written down.
        """
        known = self._read()
        left = dict(known)
        for demand in demands:
            place = _place(config, demand.kind)
            left[place] = left.get(place, frozenset()) - {demand.digest}
        if any(left[place] != known.get(place, frozenset()) for place in left):
            self._write({path: digests for path, digests in left.items() if digests})

    def _write(self, known: Mapping[str, frozenset[str]]) -> None:
        record = _Record(accepted={path: tuple(sorted(known[path])) for path in sorted(known)})
        try:
            self._replace(record.model_dump_json(indent=2))
        except OSError as error:
            raise StorageError(
                f"{printable(str(self._file))} cannot be written: {error.strerror}",
                hint="name the configuration with --config instead",
            ) from error

    def _replace(self, text: str) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd, draft = tempfile.mkstemp(dir=self._folder, prefix=_FILE)
        try:
            with os.fdopen(fd, "w", encoding="utf-8") as file:
                file.write(text)
            Path(draft).replace(self._file)
        except BaseException:
            Path(draft).unlink(missing_ok=True)
            raise

    def _read(self) -> dict[str, frozenset[str]]:
        """Return all acceptances; of a file that cannot be read or understood, none."""
        try:
            with self._file.open("rb") as file:
                record = _Record.model_validate_json(file.read(_MOST_BYTES))
        except (OSError, ValueError):
            return {}
        return {path: frozenset(digests) for path, digests in record.accepted.items()}


class Trust:
    """What one configuration file may do. A file that the user `named` may do what it says."""

    def __init__(self, acceptances: Acceptances, config: Path, *, named: bool) -> None:
        self._acceptances = acceptances
        self._config = config
        self._named = named

    @property
    def named(self) -> bool:
        """Whether the user named the file, rather than that it was found."""
        return self._named

    def lacking(self, asked: Iterable[Demand], *, own: Iterable[Demand] = ()) -> tuple[Demand, ...]:
        """Return what of `asked` is not accepted; `own` are the demands of the file itself."""
        given = frozenset(own) if self._named else frozenset[Demand]()
        return self._acceptances.lacking(
            self._config, (demand for demand in asked if demand not in given)
        )

    def accepted(self, demand: Demand) -> bool:
        """Tell whether the user accepted it in so many words."""
        return not self._acceptances.lacking(self._config, (demand,))

    def accept(self, demands: Iterable[Demand]) -> None:
        """Remember that the user accepted `demands`.

        Raises:
            StorageError: it cannot be written down.
        """
        self._acceptances.accept(self._config, demands)


def acceptances(env: Mapping[str, str]) -> Acceptances:
    """Return the acceptances of the user whose process environment is `env`."""
    # A relative one would be looked for in the project, which may have brought a record along.
    state = Path(env.get("XDG_STATE_HOME", ""))
    if not state.is_absolute():
        state = Path(env.get("HOME") or Path.home()) / ".local" / "state"
    return Acceptances(state / "perstack")


def _kinds(demands: Iterable[Demand]) -> set[Kind]:
    return {demand.kind for demand in demands}


def _place(config: Path, kind: Kind) -> str:
    """Return where an acceptance stands: a registry's Expert is the same wherever it is run."""
    return _FETCHED if kind == "expert" else _key(config)


def _key(config: Path) -> str:
    # A path may hold bytes that are no text, which JSON could not.
    return os.fsencode(os.path.realpath(config)).decode(errors="backslashreplace")
