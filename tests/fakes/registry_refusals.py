"""Every reason that a registry has to refuse, each brought about by the real client.

What the client would never send is changed on its way by a relay.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any, Final

from perstack.config.registry_place import RegistryPlace
from perstack.domain.registry import API, ExpertQuery, PublishRequest, parse_key
from perstack.domain.registry_hosting import PREFIX_LENGTH
from perstack.integrations.registry_client import HttpRegistry
from perstack.services.registry import checks, publishing
from perstack.serving.registry import asking
from tests.fakes.registry_relay import Change, at, saying, telling
from tests.fakes.registry_server import Bound, RegistryServer

Deed = Callable[[HttpRegistry], Awaitable[object]]
BASE: Final = {"@perstack/base": {"type": "baseSkill"}}
PLAYER: Final = "@acme/player@1.0.0"


@dataclass(frozen=True, slots=True)
class Refusal:
    """What is done, and what it is refused with.

    Attributes:
        whose: the organisation whose key is sent; None is none at all, see `key_of` for others.
        hint: a part of what the client's user is told to do.
        deed: what is asked of the client.
        change, held_back: what happens to the request on its way.
        bound: the rules of the server; it is one of its own then.
        limit: a constant of a module, and what it is meanwhile; likewise.
        place: where the code refuses, where the words alone do not tell.
    """

    status: int
    reason: str
    hint: str
    deed: Deed
    whose: str | None = "acme"
    change: Change = field(default=lambda asked: asked)
    held_back: int = 0
    bound: Bound | None = None
    limit: tuple[ModuleType, str, int] | None = None
    place: str = ""

    @property
    def needs_own(self) -> bool:
        """Whether the server has to be one of its own."""
        return self.bound is not None or self.limit is not None


def version(name: str, number: str = "1.0.0", **more: object) -> PublishRequest:
    """A definition that is published unless it says something wrong."""
    said = {"name": name, "version": number, "instruction": "Play.", "skills": BASE, **more}
    return PublishRequest.model_validate(said)


def publish(name: str = "@acme/new", number: str = "1.0.0", **more: object) -> Deed:
    """Publish a version."""
    return lambda registry: registry.publish(version(name, number, **more))


def tag(key: str, *tags: str) -> Deed:
    """Tag a version."""
    return lambda registry: registry.set_tags(parse_key(key), tags)


def deprecate(key: str) -> Deed:
    """Make a version deprecated."""
    return lambda registry: registry.set_status(parse_key(key), "deprecated")


def restore(key: str) -> Deed:
    """Make a version available again."""
    return lambda registry: registry.set_status(parse_key(key), "available")


def unpublish(key: str) -> Deed:
    """Remove a version."""
    return lambda registry: registry.unpublish(parse_key(key))


def find(key: str = PLAYER) -> Deed:
    """Look for an Expert."""
    return lambda registry: registry.find(parse_key(key))


def versions(key: str) -> Deed:
    """Look for the versions of an Expert."""
    return lambda registry: registry.versions(parse_key(key))


def search(words: str | None = None) -> Deed:
    """Look for Experts."""
    return lambda registry: registry.search(ExpertQuery(filter=words))


def _nested(depth: int) -> Mapping[str, Any]:
    inner: dict[str, Any] = {}
    for _ in range(depth):
        inner = {"x": inner}
    return {**BASE, "deep": inner}


_AGAIN: Final = "raise version ="
_OWNER: Final = "only its owner"
_SEARCH: Final = "perstack search"
_LOGIN: Final = "perstack login"
_CORRECT: Final = "correct it"
_CHANGED: Final = "changed on its way"
_ANOTHER: Final = "publish another version"
_MOST: Final = "at most 1 MB"

RULES: Final = (
    Refusal(
        400,
        "@acme/player@1.0.0 is already published, and a version never changes",
        _AGAIN,
        publish("@acme/player"),
    ),
    Refusal(
        400,
        "@acme/gone@1.0.0 was already published with other content, and then unpublished",
        _AGAIN,
        publish("@acme/gone", instruction="Another."),
    ),
    Refusal(
        400,
        "not owned: @acme/player belongs to another organisation",
        _OWNER,
        publish("@acme/player", "2.0.0"),
        "other",
    ),
    Refusal(
        400,
        "not owned: @acme/player belongs to another organisation",
        _OWNER,
        tag(PLAYER, "x"),
        "other",
    ),
    Refusal(400, "the name mine is already taken", "@organisation/name", publish("mine"), ""),
    Refusal(
        400,
        "the name must not be scoped, your organisation has no name: mine",
        "leave @organisation/ out",
        publish("@acme/mine"),
        "",
    ),
    Refusal(
        400,
        "the name must be scoped: @acme/mine-too",
        "@organisation/name",
        publish("mine-too"),
    ),
    Refusal(
        400,
        "the skill @perstack/base is required",
        "give it the skill",
        publish(skills={}),
    ),
    Refusal(
        400,
        "the delegate @acme/nobody is not found",
        "publish the delegate first",
        publish(delegates=["@acme/nobody"]),
    ),
    Refusal(
        400,
        "@acme/judge@1.0.0 is still delegated to by @acme/player@1.0.0",
        "perstack status KEY deprecated",
        unpublish("@acme/judge@1.0.0"),
    ),
    Refusal(
        400,
        "the tag latest cannot be set or removed by hand: it is at the highest version",
        "moves by itself",
        tag(PLAYER, "latest"),
    ),
    Refusal(
        400,
        "same status: @acme/old@1.0.0 is already deprecated",
        "nothing to change",
        deprecate("@acme/old@1.0.0"),
    ),
    Refusal(
        400,
        "@acme/old@1.0.0 is deprecated and cannot go back to available",
        _ANOTHER,
        restore("@acme/old@1.0.0"),
    ),
    Refusal(
        400,
        "@acme/off@1.0.0 is disabled, and what is disabled is immutable",
        _ANOTHER,
        restore("@acme/off@1.0.0"),
    ),
    Refusal(
        400,
        "@acme/full has 1 versions already, more are not taken",
        "unpublish old versions",
        publish("@acme/full", "2.0.0"),
        limit=(publishing, "MOST_VERSIONS", 1),
    ),
)
KEYS: Final = (
    Refusal(401, "an API key is needed: Authorization: Bearer KEY", _LOGIN, publish(), whose=None),
    Refusal(401, "the API key is not known", _LOGIN, publish(), "unknown"),
    Refusal(401, "the API key is not known", _LOGIN, search(), "long"),
    Refusal(401, "the API key PREFIX was revoked", "another key", publish(), "revoked"),
    Refusal(401, "the API key PREFIX has expired", "another key", publish(), "expired"),
    Refusal(401, "the API key PREFIX lacks the scope publish", "may", publish(), "reads"),
    Refusal(401, "the API key PREFIX lacks the scope manage", "may", deprecate(PLAYER), "reads"),
)
MISSING: Final = (
    Refusal(404, "@acme/nobody is not found", _SEARCH, find("@acme/nobody")),
    Refusal(404, "@acme/player@beta is not found", _SEARCH, find("@acme/player@beta")),
    Refusal(404, "@acme/nobody is not found", _SEARCH, versions("@acme/nobody")),
    Refusal(404, "@acme/player@9.0.0 is not found", _SEARCH, tag("@acme/player@9.0.0", "x")),
    Refusal(404, "there is no such path", _SEARCH, find(), change=at(f"{API}/x/y/z")),
    Refusal(404, "Not found", _SEARCH, find(), change=at(f"{API}/%2e%2e/x")),
    Refusal(404, "Not Found", _SEARCH, find(), change=at("/x"), place="answers._of_http"),
)
SHAPES: Final = (
    Refusal(
        422, "a version is needed, such as @acme/player@1.0.0", _CORRECT, tag("@acme/player", "x")
    ),
    Refusal(
        422,
        "'NOBODY' is not the key of an Expert",
        _CORRECT,
        find(),
        change=at(f"{API}/NOBODY"),
        place="asking.asked_of",
    ),
    Refusal(422, "the path is not UTF-8", _CORRECT, find(), change=at(f"{API}/%ff")),
    Refusal(
        422,
        "take: Input should be greater than or equal to 1",
        _CORRECT,
        search(),
        change=at(f"{API}/?take=0"),
        place="routes._query_in",
    ),
    Refusal(
        422,
        "filter: it must have at most 8 words and 256 characters",
        _CORRECT,
        search("a b c d e f g h i"),
    ),
    Refusal(
        422,
        "there is nothing to change: give tags or status",
        _CORRECT,
        tag(PLAYER, "x"),
        change=saying(b"{}"),
    ),
    Refusal(
        422,
        "status: Input should be 'available', 'deprecated' or 'disabled'",
        _CORRECT,
        deprecate(PLAYER),
        change=saying(b'{"status":"gone"}'),
        place="routes._change_in",
    ),
    Refusal(
        422,
        "version: Field required",
        _CORRECT,
        publish(),
        change=saying(b'{"name":"@acme/x"}'),
        place="checks.read_request",
    ),
    Refusal(
        422,
        "name: '@acme/New' is not the key of an Expert",
        _CORRECT,
        publish(),
        change=lambda asked: replace(asked, body=asked.body.replace(b"@acme/new", b"@acme/New")),
    ),
    Refusal(
        422,
        "name: it holds no version; give it as version",
        _CORRECT,
        publish(),
        change=lambda asked: replace(asked, body=asked.body.replace(b"/new", b"/new@1.0.0")),
    ),
    Refusal(
        422,
        "version: it must be a semantic version such as 1.0.0",
        _CORRECT,
        publish(number="01.0.0"),
    ),
    Refusal(
        422,
        '@acme/new@1.0.0 cannot be run: experts."@acme/new".skills.shell.packageName: '
        "Skill shell has no packageName or args",
        _CORRECT,
        publish(skills={**BASE, "shell": {"type": "mcpStdioSkill", "command": "sh"}}),
        place="checks._check_runs",
    ),
    Refusal(
        422,
        "skills: a number is too large for JSON",
        _CORRECT,
        publish(skills={**BASE, "web": {"later": "many"}}),
        change=lambda asked: replace(asked, body=asked.body.replace(b'"many"', b"1e400")),
    ),
    Refusal(
        422,
        "a version has at most 8 tags",
        _CORRECT,
        tag(PLAYER, *(f"t{number}" for number in range(9))),
    ),
    Refusal(422, "tags: 'Beta' is no tag", _CORRECT, tag(PLAYER, "Beta")),
    Refusal(422, "The JSON is nested too deep", _CORRECT, publish(skills=_nested(70))),
    Refusal(422, "Invalid JSON body", _CORRECT, publish(), change=saying(b'{"name":')),
)
REQUESTS: Final = (
    Refusal(
        403,
        "Host not allowed: perstack registry serve --allow-host NAME",
        "the name it is known by",
        search(),
        change=telling(host="registry.example"),
    ),
    Refusal(
        403,
        "Origin not allowed",
        _CHANGED,
        publish(),
        change=telling(origin="https://elsewhere.example"),
    ),
    Refusal(
        405,
        "Method Not Allowed",
        _CHANGED,
        find(),
        change=at(f"{API}/x", "PUT"),
        place="answers._of_http",
    ),
    Refusal(
        405,
        "there is nothing to change here",
        _CHANGED,
        tag(PLAYER, "x"),
        change=at(f"{API}/x/versions"),
    ),
    Refusal(
        405,
        "there is nothing to remove here",
        _CHANGED,
        unpublish(PLAYER),
        change=at(f"{API}/x/versions"),
    ),
    Refusal(
        408,
        "The body did not arrive in time",
        "faster",
        publish(),
        held_back=1,
        bound=lambda rules: replace(rules, body_s=0.05),
    ),
    Refusal(
        413,
        "it is larger than 500 bytes",
        _MOST,
        publish(instruction="x" * 500),
        limit=(checks, "DEFINITION_BYTES", 500),
    ),
    Refusal(
        413,
        "The body is larger than 500 bytes",
        _MOST,
        publish(instruction="x" * 500),
        bound=lambda rules: replace(rules, body_bytes=500),
    ),
    Refusal(
        415,
        "Only JSON is taken: send Content-Type: application/json",
        _CHANGED,
        publish(),
        change=telling(content_type="text/plain"),
    ),
    Refusal(
        429,
        "Too many requests",
        "try again in 10 s",
        search(),
        bound=lambda rules: replace(rules, per_s=0.1, burst=0),
    ),
    Refusal(
        429,
        "too many requests with this API key",
        "try again in 1 s",
        publish(),
        limit=(asking, "_KEY_BURST", 0),
    ),
    Refusal(
        503,
        "The server is busy: come again",
        "try again in 1 s",
        publish(),
        bound=lambda rules: replace(rules, requests_at_once=0),
    ),
)
REFUSALS: Final = (*RULES, *KEYS, *MISSING, *SHAPES, *REQUESTS)


async def prepare(server: RegistryServer) -> None:
    """Publish what the refusals are about."""
    acme = HttpRegistry(RegistryPlace(server.url, server.key("acme")))
    await acme.publish(version("@acme/judge"))
    await acme.publish(version("@acme/player", delegates=["@acme/judge"]))
    await acme.publish(version("@acme/full"))
    await acme.publish(version("@acme/gone"))
    await acme.unpublish(parse_key("@acme/gone@1.0.0"))
    for name in ("@acme/old", "@acme/off"):
        await acme.publish(version(name))
        await acme.set_status(parse_key(f"{name}@1.0.0"), "deprecated")
    await acme.set_status(parse_key("@acme/off@1.0.0"), "disabled")
    await acme.aclose()
    nameless = HttpRegistry(RegistryPlace(server.url, server.key(None)))
    await nameless.publish(version("mine"))
    await nameless.aclose()


def key_of(server: RegistryServer, whose: str | None) -> str | None:
    """Return a key: of an organisation, or one that is not believed."""
    match whose:
        case None:
            return None
        case "":
            return server.key(None)
        case "unknown":
            key = server.key("acme")
            return key[:-4] + ("aaaa" if not key.endswith("aaaa") else "bbbb")
        case "long":
            return "x" * 4_000
        case "revoked":
            key = server.key("acme")
            server.revoke(key)
            return key
        case "expired":
            return server.key("acme", lasts_ms=1)
        case "reads":
            return server.key("acme", scopes=("read",))
        case _:
            return server.key(whose)


def said_of(refusal: Refusal, key: str | None) -> str:
    """Return the reason with what only this key says."""
    return refusal.reason.replace("PREFIX", (key or "")[:PREFIX_LENGTH])
