"""The JSON Schema of `[experts."name"]` and its skills."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from perstack.config import limits
from perstack.config.schema_parts import (
    Schema,
    choice,
    flag,
    headers,
    integer,
    named,
    table,
    text,
    texts,
    url,
)
from perstack.config.vocabulary import (
    BASE_SKILL_TYPES,
    DOCUMENT_SKILLS,
    ELICITATION,
    EXPERT_RUNTIMES,
    MEMORY_SKILL_TYPES,
    PROVIDER_TOOLS,
    SAMPLING,
)
from perstack.domain.expert import BASE_SKILL, MEMORY_SKILL

_ANY_NAME: Final = re.compile(r"[\s\S]+")
_NOT_BUILT_IN: Final = re.compile(rf"(?!(?:{BASE_SKILL}|{MEMORY_SKILL})$)[\s\S]+")


def experts_schema() -> Schema:
    """Return the schema of all Experts."""
    return named("The team: one table for each Expert.", limits.EXPERT_NAME, _expert())


def _expert() -> Schema:
    tools = sorted({name for names in PROVIDER_TOOLS.values() for name in names})
    return table(
        "An Expert: a small agent with one job.",
        {
            "instruction": text(
                "What the Expert is to do; private to it.",
                shortest=1,
                longest=limits.INSTRUCTION_LENGTH,
            ),
            "description": text("What Experts read that may delegate to this one."),
            "version": text(
                "Three numbers, with -pre and +build.",
                longest=limits.NAME_LENGTH,
                rule=limits.VERSION,
                default="1.0.0",
            ),
            "runtime": choice("What executes this Expert, whatever the job's is.", EXPERT_RUNTIMES),
            "minRuntimeVersion": text(
                "The oldest runtime that this Expert was written for; accepted and kept.",
                rule=limits.RUNTIME_VERSION,
            ),
            "delegates": texts(
                "Experts of this file that this one may call, each as a tool.",
                longest=limits.KEY_LENGTH,
                rule=limits.EXPERT_KEY,
                default=(),
            ),
            "tags": texts("Words to find it by.", most=limits.TAG_ITEMS, rule=limits.TAG),
            "skills": _skills(),
            "providerTools": texts(
                f"Tools that the provider itself runs, of those it has: {', '.join(tools)}."
            ),
            "providerToolOptions": _provider_tool_options(),
            "providerSkills": _provider_skills(),
        },
        required=("instruction",),
    )


def _provider_tool_options() -> Schema:
    uses = integer("How often at most in one answer.", limits.TOOL_USES)
    return table(
        "Bounds of the provider's tools.",
        {
            "webSearch": table(
                "Bounds of its web search.",
                {"maxUses": uses, "allowedDomains": _domains("Hosts that may be searched.")},
            ),
            "webFetch": table("Bounds of its web fetch.", {"maxUses": uses}),
            "fileSearch": table(
                "What its file search looks through.",
                {
                    "vectorStoreIds": texts("The provider's stores."),
                    "maxNumResults": integer("How many results at most.", limits.SEARCH_RESULTS),
                },
            ),
        },
    )


def _provider_skills() -> Schema:
    builtin = table(
        "A skill that the provider ships.",
        {
            "type": choice("A skill that the provider ships.", ("builtin",)),
            "skillId": choice("Which one.", DOCUMENT_SKILLS),
        },
        required=("type", "skillId"),
    )
    custom = table(
        "A skill that is defined here.",
        {
            "type": choice("A skill that is defined here.", ("custom",)),
            "name": text("Its name.", shortest=1, longest=limits.NAME_LENGTH),
            "definition": text("What it does.", shortest=1, longest=limits.INSTRUCTION_LENGTH),
        },
        required=("type", "name", "definition"),
    )
    return {
        "description": "Skills that run in the provider's container (anthropic).",
        "type": "array",
        "maxItems": limits.LIST_ITEMS,
        "items": {"oneOf": [builtin, custom]},
    }


def _skills() -> Schema:
    other = named(
        "What gives the Expert its tools. The base skill is there without being named.",
        _NOT_BUILT_IN,
        {"oneOf": [_stdio(), _remote("mcpSseSkill"), _remote("mcpHttpSkill"), _interactive()]},
    )
    return {
        **other,
        "properties": {BASE_SKILL: _base(), MEMORY_SKILL: _memory()},
        "maxProperties": limits.LIST_ITEMS,
    }


def _offered() -> dict[str, Schema]:
    return {
        "description": text("What the skill is for."),
        "rule": text("Text that is added to the Expert's instructions."),
        "pick": texts("Only these tools are offered."),
        "omit": texts("These tools are not offered."),
        "requireApproval": texts("Tools that wait for a person each time."),
    }


def _mcp() -> dict[str, Schema]:
    return {
        **_offered(),
        "requiredEnv": texts(
            "Variables that the server gets besides PATH, HOME and the like.",
            rule=limits.ENV_NAME,
        ),
        "lazyInit": flag("The run does not wait for the connection to begin.", default=False),
        "allowedDomains": _domains(
            "Hosts that it may reach in Perstack's docker runtime; no effect here."
        ),
        "sampling": choice(
            "Whether the server may ask the run's model: never, after a person agreed, always.",
            SAMPLING,
            "ask",
        ),
        "elicitation": choice("Whether the server may ask the user.", ELICITATION, "ask"),
    }


def _started() -> dict[str, Schema]:
    return {
        **_mcp(),
        "command": text("The program: npx, uvx, python, a path.", shortest=1),
        "packageName": text("What npx or uvx is to run; or give args."),
        "args": texts(
            "The program's arguments; or give packageName.",
            longest=limits.ARGUMENT_LENGTH,
            empty_items=True,
        ),
    }


def _stdio() -> Schema:
    says = "A server that is started here and spoken to over its standard input and output."
    kind = choice(says, ("mcpStdioSkill",))
    keys = {"type": kind, **_started()}
    return {**table(says, keys, required=("type", "command")), "anyOf": [*_one_of_both()]}


def _one_of_both() -> list[Schema]:
    """Exactly one of `packageName` and `args`, an empty one being none."""
    none: Schema = {"maxItems": 0}
    package: Schema = {
        "required": ["packageName"],
        "properties": {"packageName": {"minLength": 1}, "args": none},
    }
    args: Schema = {
        "required": ["args"],
        "properties": {"packageName": {"maxLength": 0}, "args": {"minItems": 1}},
    }
    return [package, args]


def _remote(kind: str) -> Schema:
    speaks = "the older transport, server-sent events" if kind == "mcpSseSkill" else "HTTP"
    says = f"A server at an address that speaks {speaks}."
    variable = text("A variable's name.", longest=limits.NAME_LENGTH, rule=limits.ENV_NAME)
    return table(
        says,
        {
            "type": choice(says, (kind,)),
            **_mcp(),
            "endpoint": url("The address: https, or with allowPrivate http too."),
            "allowPrivate": flag(
                "The address may be this machine's or one of a private network.", default=False
            ),
            "headers": headers("Headers that are sent as they stand; no secrets."),
            "headerEnv": named(
                "Headers whose values are those of variables.", limits.HEADER_NAME, variable
            ),
            "bearerTokenEnv": text(
                "The variable whose value is sent as Authorization: Bearer.",
                rule=limits.ENV_NAME,
            ),
        },
        required=("type", "endpoint"),
    )


def _interactive() -> Schema:
    says = "Questions to the user, declared as tools."
    tool = table(
        "One question.",
        {
            "name": {"description": "Tolerated; the table's name counts."},
            "description": text("What the model reads."),
            "inputJsonSchema": text(
                "The JSON Schema of the question's arguments, as a string of JSON.",
                shortest=1,
                longest=limits.SCHEMA_LENGTH,
            ),
        },
        required=("inputJsonSchema",),
    )
    tools: Schema = {
        **named("One table for each question.", _ANY_NAME, tool),
        "minProperties": 1,
        "maxProperties": limits.LIST_ITEMS,
    }
    return table(
        says,
        {
            "type": choice(says, ("interactiveSkill",)),
            "description": text("What the skill is for."),
            "rule": text("Text that is added to the Expert's instructions."),
            "tools": tools,
        },
        required=("type", "tools"),
    )


def _base() -> Schema:
    says = "The built-in tools (files, todo list, exec); pinned to a version with npx, that server."
    kind = choice("baseSkill, or mcpStdioSkill as Perstack writes it.", BASE_SKILL_TYPES)
    keys: Mapping[str, Schema] = {"type": kind, **_started()}
    relaxed = {**keys, "command": text("As Perstack writes it: npx.")}
    return table(says, relaxed)


def _memory() -> Schema:
    says = "What is remembered beyond a run."
    namespace = text(
        "Where its entries are; left out, with the session's or the team's.",
        shortest=1,
        longest=limits.NAMESPACE_LENGTH,
        rule=limits.NAMESPACE,
    )
    kind = choice(says, MEMORY_SKILL_TYPES)
    return table(says, {"type": kind, **_offered(), "namespace": namespace})


def _domains(says: str) -> Schema:
    return texts(f"{says} Each exact, or with *. before it.", rule=limits.DOMAIN)
