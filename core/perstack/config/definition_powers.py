"""What a changed definition may do that it could not do before, in words.

Only what is gained is told: taking a tool away, or gating one more, is no power. Raised limits and
safeguards that fell count as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final, cast

from perstack.config.base_tools import BASE_TOOLS, MEMORY_TOOLS
from perstack.config.runtime_powers import (
    power_of_expert,
    powers_of_runtimes,
    settings_of_runtimes,
)
from perstack.domain.expert import (
    BaseSkill,
    Expert,
    InteractiveSkill,
    McpSkill,
    McpStdioSkill,
    MemorySkill,
    RemoteSkill,
    SkillSpec,
    ToolServer,
)
from perstack.domain.settings import Settings

# By the path of the field that gives them; a skill that came newly is ("skills", its name).
Powers = dict[tuple[str, ...], tuple[str, ...]]
# The field within the skill's table, () for the skill itself, and the words.
Power = tuple[tuple[str, ...], str]
Rule = Callable[[object, object], str | None]

_DEEDS: Final[dict[str, tuple[str, ...]]] = {
    "runs commands": ("exec",),
    "writes files": (
        "writeTextFile",
        "appendTextFile",
        "editTextFile",
        "createDirectory",
        "moveFile",
    ),
    "deletes files": ("deleteFile", "deleteDirectory"),
    "reads files": ("readTextFile", "readImageFile", "readPdfFile", "listDirectory", "getFileInfo"),
    "changes memory": ("storeMemory", "deleteMemory"),
    "reads memory": ("searchMemory", "getMemory", "listMemory"),
}
_CONSENT: Final = ("deny", "ask", "allow")
_RISKS: Final = (None, "low", "medium", "high")


def expert_powers(before: Expert | None, after: Expert) -> Powers:
    """Return what `after` may do that `before` could not, by the field that gives it.

    Without a `before` the Expert is new and everything it may do is a power.
    """
    found: dict[tuple[str, ...], list[str]] = {}
    old = dict(before.skills) if before is not None else {}
    for name, skill in after.skills.items():
        for field, words in _skill_powers(old.get(name), skill):
            found.setdefault(("skills", name, *field), []).append(words)
    for field, verb, gained in (
        ("delegates", "delegates to", _gained(before and before.delegates, after.delegates)),
        (
            "providerTools",
            "uses the provider's",
            _gained(before and before.provider_tools, after.provider_tools),
        ),
    ):
        if gained:
            found.setdefault((field,), []).append(f"{verb} {', '.join(gained)}")
    if after.provider_skills and (
        before is None or before.provider_skills != after.provider_skills
    ):
        found.setdefault(("providerSkills",), []).append("runs code in the provider's container")
    if words := power_of_expert(before, after):
        found.setdefault(("runtime",), []).append(words)
    return {field: tuple(words) for field, words in found.items()}


def setting_powers(before: Settings, after: Settings) -> Powers:
    """Return which limits were raised and which safeguards fell, by the setting."""
    old, new = settings_by_path(before), settings_by_path(after)
    found: Powers = {}
    for path, rule in _SETTING_RULES.items():
        if old.get(path) != new.get(path) and (words := rule(old.get(path), new.get(path))):
            found[(path,)] = (words,)
    for path, words in powers_of_runtimes(before.runtime, after.runtime):
        found[(path,)] = (words,)
    return found


# --- skills ---------------------------------------------------------------------------------------


def _skill_powers(before: SkillSpec | None, after: SkillSpec) -> Iterable[Power]:
    if isinstance(after, InteractiveSkill):
        return
    same = before if type(before) is type(after) else None
    old = same if isinstance(same, ToolServer) else None
    if isinstance(after, BaseSkill):
        yield from _builtin(old, after, BASE_TOOLS)
    elif isinstance(after, MemorySkill):
        yield from _builtin(old, after, MEMORY_TOOLS)
    else:
        yield from _server(old if isinstance(old, McpSkill) else None, after)


def _builtin(
    before: ToolServer | None, after: BaseSkill | MemorySkill, tools: tuple[str, ...]
) -> Iterable[Power]:
    had = {tool for tool in tools if before is not None and before.offers(tool)}
    has = {tool for tool in tools if after.offers(tool)}
    field = () if before is None else (_narrowing(before, after),)
    for words, able in _DEEDS.items():
        if has.intersection(able) and not had.intersection(able):
            yield field, words
    gated = before.require_approval if isinstance(before, BaseSkill | MemorySkill) else ()
    if freed := [tool for tool in gated if tool in has and tool not in after.require_approval]:
        yield ("requireApproval",), f"no longer asks before {', '.join(freed)}"


def _narrowing(before: ToolServer, after: ToolServer) -> str:
    return "pick" if before.pick != after.pick else "omit"


def _server(before: McpSkill | None, after: McpSkill) -> Iterable[Power]:
    yield from _reach(before, after)
    if before is None:
        if after.sampling == "allow":
            yield (), "uses the model unasked"
        return
    yield from _wider_choice(before, after)
    if freed := [tool for tool in before.require_approval if tool not in after.require_approval]:
        yield ("requireApproval",), f"no longer asks before {', '.join(freed)}"
    if names := _gained(before.required_env, after.required_env):
        yield ("requiredEnv",), f"is given {', '.join(names)}"
    if _CONSENT.index(after.sampling) > _CONSENT.index(before.sampling):
        unasked = after.sampling == "allow"
        yield ("sampling",), "uses the model unasked" if unasked else "may ask to use the model"
    if _CONSENT.index(after.elicitation) > _CONSENT.index(before.elicitation):
        yield ("elicitation",), "may ask you"


def _reach(before: McpSkill | None, after: McpSkill) -> Iterable[Power]:
    if isinstance(after, McpStdioSkill):
        old = before if isinstance(before, McpStdioSkill) else None
        if old is None:
            yield (), "starts a program"
        else:
            for field in ("command", "package_name", "args"):
                if getattr(old, field) != getattr(after, field):
                    yield (_SPOKEN.get(field, field),), "starts another program"
    elif isinstance(after, RemoteSkill):
        old = before if isinstance(before, RemoteSkill) else None
        if old is None:
            yield (), "reaches the network"
        elif old.endpoint != after.endpoint:
            yield ("endpoint",), "reaches another address"
        if after.allow_private and not (old is not None and old.allow_private):
            yield () if old is None else ("allowPrivate",), "reaches private networks"
        if old is not None:
            yield from _sent(old, after)


def _sent(before: RemoteSkill, after: RemoteSkill) -> Iterable[Power]:
    """Yield what is sent along that was not."""
    if names := _gained(before.header_env.values(), after.header_env.values()):
        yield ("headerEnv",), f"sends {', '.join(names)}"
    token = after.bearer_token_env
    if token is not None and token != before.bearer_token_env:
        yield ("bearerTokenEnv",), f"sends {token}"


def _wider_choice(before: ToolServer, after: ToolServer) -> Iterable[Power]:
    if before.pick and not after.pick:
        yield ("pick",), "offers all its tools"
    elif after.pick and (tools := _gained(before.pick, after.pick)) and before.pick:
        yield ("pick",), f"offers {', '.join(tools)}"
    if tools := [tool for tool in before.omit if tool not in after.omit]:
        yield ("omit",), f"offers {', '.join(tools)}"


def _gained(before: Iterable[str] | None, after: Iterable[str]) -> list[str]:
    had = set(before or ())
    return [name for name in after if name not in had]


# --- settings -------------------------------------------------------------------------------------

_SPOKEN: Final = {"package_name": "packageName"}
# Where `perstack.toml` has a table whose settings are kept elsewhere.
_TABLES: Final = {
    "drift": "driftDetection",
    "resources": "resourceExhaustion",
    "dispatcher": "smartDispatcher",
}


def settings_by_path(settings: Settings) -> dict[str, object]:
    """Return every setting by its dotted name in `perstack.toml`, as JSON values."""
    data = cast("dict[str, object]", settings.model_dump(mode="json", by_alias=True))
    data.pop("runtime", None)
    coordination = data.pop("coordination", None)
    if coordination is None:
        coordination = settings.coordination.model_dump(mode="json", by_alias=True)
    # What is as usual is left out of the dump as well.
    data.setdefault("snapshots", settings.snapshots.model_dump(mode="json", by_alias=True))
    tables = cast("Mapping[str, object]", coordination)
    data.update({_TABLES.get(name, name): value for name, value in tables.items()})
    found: dict[str, object] = {}
    for name, value in data.items():
        if isinstance(value, dict):
            inner = cast("Mapping[str, object]", value)
            found.update(_leaves(name, inner))
        else:
            found[name] = value
    return found | settings_of_runtimes(settings.runtime)


def _leaves(name: str, table: Mapping[str, object]) -> Iterable[tuple[str, object]]:
    for key, value in table.items():
        if name == "resourceExhaustion" and key == "thresholds" and isinstance(value, dict):
            yield from _leaves(f"{name}.{key}", cast("Mapping[str, object]", value))
        else:
            yield f"{name}.{key}", value


def _raised(before: object, after: object) -> str | None:
    if after is None:
        return "no limit any more"
    if isinstance(before, int | float) and isinstance(after, int | float) and after > before:
        return "limit raised"
    return None


def _turned_off(words: str) -> Rule:
    return lambda before, after: words if before and not after else None


def _turned_on(words: str) -> Rule:
    return lambda before, after: words if after and not before else None


def _given(words: str) -> Rule:
    return lambda before, after: words if after else None


def _fewer(words: str) -> Rule:
    def rule(before: object, after: object) -> str | None:
        old, new = _names(before), _names(after)
        lost = [name for name in old if name not in new]
        return f"{words}: {', '.join(lost)}" if lost else None

    return rule


def _names(value: object) -> list[str]:
    return [str(item) for item in cast("list[object]", value)] if isinstance(value, list) else []


def _riskier(before: object, after: object) -> str | None:
    known = before in _RISKS and after in _RISKS
    if known and _RISKS.index(cast("None", after)) > _RISKS.index(cast("None", before)):
        return "reviewing Experts decide alone on more"
    return None


def _without_people(before: object, after: object) -> str | None:
    return "Experts review what people decided" if before == "human" != after else None


def _deeper(before: object, after: object) -> str | None:
    return "what is delegated that deep no longer waits" if _raised(before, after) else None


_LIMITS: Final = (
    "maxSteps",
    "maxRetries",
    "maxParallel",
    "maxDepth",
    "timeout",
    "budget.maxTokens",
    "budget.maxCostUsd",
    "budget.maxDuration",
    "agents.maxConcurrent",
    "resourceExhaustion.thresholds.maxFilesAccessed",
    "resourceExhaustion.thresholds.maxApiCalls",
    "resourceExhaustion.thresholds.maxSubtasksSpawned",
    "resourceExhaustion.thresholds.maxTimeWithoutDeliverableMs",
    "resourceExhaustion.thresholds.maxTokensConsumed",
)
_SETTING_RULES: Final[dict[str, Rule]] = {
    **dict.fromkeys(_LIMITS, _raised),
    "exec.sandbox": lambda _, after: "commands are no longer shut in" if after == "none" else None,
    "exec.network": _turned_on("commands reach the network"),
    "consensus.enabled": _turned_off("risky work no longer waits for a decision"),
    "consensus.requireForRiskLevels": _fewer("no longer waits at this risk"),
    "consensus.highRiskAgentTypes": _fewer("no longer high risk"),
    "consensus.highRiskPatterns": _fewer("no longer high risk"),
    "consensus.mediumRiskAgentTypes": _fewer("no longer medium risk"),
    "consensus.mediumRiskPatterns": _fewer("no longer medium risk"),
    "consensus.reviewerMayApprove": _riskier,
    "consensus.reviewerStrategy": _without_people,
    "consensus.maxDepth": _deeper,
    "snapshots.enabled": _turned_off("files are no longer stored, so nothing can be restored"),
    "snapshots.exclude": _fewer("now stored in snapshots"),
    "driftDetection.enabled": _turned_off("repetition is no longer noticed"),
    "resourceExhaustion.enabled": _turned_off("use is no longer limited"),
    "resourceExhaustion.pauseOnIntervention": _turned_off("a limit no longer pauses"),
    "baseSkillCommand": _given("starts another base skill"),
    "notify.command": _given("starts a program when something waits"),
    "notify.webhook": _given("notices are sent elsewhere"),
    "slack.webhookUrl": _given("notices are sent elsewhere"),
    "github.baseUrl": _given("GitHub is reached elsewhere"),
    "plugins.enabled": _turned_on("loads plugins"),
    "plugins.directory": _given("loads plugins from elsewhere"),
    "server.filesystemRoots": _given("its server shows these folders"),
    "provider.name": _given("conversations go to another provider"),
    "provider.baseUrl": _given("conversations and key are sent elsewhere"),
    "provider.allowPrivate": _turned_on("reaches private networks"),
    "provider.scenario": _given("a script speaks for the model"),
}
