"""The JSON Schema of `perstack.toml`, so that editors complete, explain and check it.

It is made of the same bounds, patterns and words that the reader takes. It refuses unknown keys,
which the reader only warns of, and knows nothing of what goes across keys: delegates that are not
there, which hosts an address may name.

Write the shipped file anew with `python -m perstack.config.schema`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from perstack.config import limits
from perstack.config.models import DEFAULT_MODELS
from perstack.config.schema_coordination import coordination_schemas
from perstack.config.schema_experts import experts_schema
from perstack.config.schema_parts import (
    Schema,
    choice,
    choices,
    flag,
    headers,
    integer,
    named,
    number,
    program,
    table,
    text,
    texts,
    url,
    whole,
)
from perstack.config.vocabulary import (
    DEFAULT_ENV_PATHS,
    LATER_TABLES,
    MAY_APPROVE,
    OPENAI_APIS,
    PERMISSIONS,
    PROVIDER_SETTINGS,
    PROVIDERS,
    REASONING_WORDS,
    RISKS,
    RUNTIMES,
    SANDBOXES,
    STRATEGIES,
)
from perstack.domain.runtimes import PROGRAMS, DockerSettings
from perstack.domain.settings import PLUGIN_PROVIDER, ConsensusSettings, Settings, SnapshotSettings

_FILE: Final = Path(__file__).with_name("perstack.schema.json")
_ANY_NAME: Final = limits.PRINTABLE_NAME


def shipped_schema() -> str:
    """Return the schema file's text. Blocks on the disk."""
    return _FILE.read_text(encoding="utf-8")


def schema_text() -> str:
    """Return what the schema file is to hold."""
    return json.dumps(config_schema(), indent=2, ensure_ascii=True) + "\n"


def config_schema() -> Schema:
    """Return the schema, of draft 4."""
    later: dict[str, Schema] = {
        name: {"description": "Recognised, not acted on yet."} for name in LATER_TABLES
    }
    top = table(
        "Experts and how they run.",
        {
            **_limits(),
            "provider": _provider(),
            "models": _models(),
            "budget": _budget(),
            "exec": _exec(),
            "consensus": _consensus(),
            "notify": _notify(),
            "snapshots": _snapshots(),
            **coordination_schemas(),
            "runtimes": _runtimes(),
            "experts": experts_schema(),
            **later,
        },
    )
    return {
        "$schema": "http://json-schema.org/draft-04/schema#",
        "title": "perstack.toml",
        **top,
    }


def _limits() -> dict[str, Schema]:
    usual = Settings()
    return {
        "model": text(
            "The vendor's model. Default: "
            + ", ".join(f"{model} ({name})" for name, model in DEFAULT_MODELS.items())
            + "; with the other providers it must be given.",
            shortest=1,
            longest=limits.NAME_LENGTH,
        ),
        "runtime": choice(
            "What executes the Experts: perstack is the built-in (local is an older name of it), "
            "docker the same in a container, the others are other agents' programs.",
            (*RUNTIMES, "local"),
            RUNTIMES[0],
        ),
        "reasoningBudget": _reasoning_budget(),
        "maxSteps": integer("Steps of a whole job.", limits.MAX_STEPS, usual.max_steps),
        "maxRetries": integer("Retries of one generation.", limits.MAX_RETRIES, usual.max_retries),
        "timeout": integer("Milliseconds for one generation.", limits.TIMEOUT_MS, usual.timeout),
        "maxParallel": integer(
            "Runs that work at the same time.", limits.MAX_PARALLEL, usual.max_parallel
        ),
        "maxDepth": integer("How deep delegation may go.", limits.MAX_DEPTH, usual.max_depth),
        "envPath": texts(
            "Files with environment variables, relative to the workspace.",
            longest=limits.TEXT_LENGTH,
            default=DEFAULT_ENV_PATHS,
        ),
        "perstackApiBaseUrl": url("Where the registry of Experts is."),
        "perstackBaseSkillCommand": program(
            "Starts another base skill than the built-in one.", longest=limits.ARGUMENT_LENGTH
        ),
    }


def _reasoning_budget() -> Schema:
    low, high = limits.REASONING_TOKENS
    return {
        "description": "How much the model reasons: a word, or a number of tokens; "
        "none and 0 turn it off.",
        "anyOf": [
            {"type": "string", "enum": [*REASONING_WORDS]},
            {"type": "integer", "minimum": low, "maximum": high},
        ],
        "default": "low",
    }


def _provider() -> Schema:
    return table(
        "Which vendor is asked. Keys stay in the environment.",
        {
            "providerName": {
                "description": "The vendor, or plugin:NAME for a provider that a plugin brings.",
                "anyOf": [
                    {"type": "string", "enum": [*PROVIDERS]},
                    {"type": "string", "pattern": whole(PLUGIN_PROVIDER)},
                ],
                "default": PROVIDERS[0],
            },
            "setting": table("How it is reached.", _settings()),
        },
    )


def _settings() -> dict[str, Schema]:
    def says(key: str, what: str) -> str:
        having = (name for name, keys in PROVIDER_SETTINGS.items() if key in keys)
        return f"{what} For: {', '.join(having)}."

    return {
        "baseUrl": url(says("baseUrl", "https, or http on this machine (ollama: any host).")),
        "allowPrivate": flag(
            says("allowPrivate", "baseUrl may be an address of a private network."), default=False
        ),
        "headers": headers(says("headers", "Sent with each request; no secrets.")),
        "organization": text(says("organization", "OpenAI's organization.")),
        "project": text(says("project", "The vendor's project.")),
        "name": text(says("name", "What the client calls itself."), longest=limits.NAME_LENGTH),
        "api": choice(
            says("api", "Which endpoint is asked; auto takes responses at OpenAI's own address."),
            OPENAI_APIS,
            "auto",
        ),
        "resourceName": text(says("resourceName", "The Azure resource."), rule=limits.HOST_PART),
        "apiVersion": text(
            says("apiVersion", "The version of Azure's interface."), rule=limits.API_VERSION
        ),
        "useDeploymentBasedUrls": flag(
            says("useDeploymentBasedUrls", "Azure's older form of addresses."), default=False
        ),
        "region": text(says("region", "The AWS region."), rule=limits.HOST_PART),
        "location": text(says("location", "The Google Cloud location."), rule=limits.HOST_PART),
        "scenario": text(says("scenario", "Path of what the scripted model says."), shortest=1),
        "pace": number(says("pace", "1 as written, 0 without waiting."), limits.PACE, 1.0),
    }


def _models() -> Schema:
    def usd(what: str) -> Schema:
        return number(f"USD for a million {what} tokens.", limits.PRICE_USD)

    price = table(
        "What tokens cost.",
        {
            "input": usd("input"),
            "output": usd("output"),
            "cachedInput": usd("cached input"),
            "cacheWrite": usd("cache-writing"),
        },
        required=("input", "output"),
    )
    model = table(
        "What you state of a model; it wins over what is known.",
        {
            "contextWindow": integer("Tokens.", limits.MODEL_TOKENS),
            "maxOutputTokens": integer("Tokens.", limits.MODEL_TOKENS),
            "thinks": {"description": "Whether it can reason.", "type": "boolean"},
            "price": price,
            "source": text("Where the figures come from."),
        },
    )
    says = "Facts of models by name, for those that are not known or known wrongly."
    return {**named(says, _ANY_NAME, model), "maxProperties": limits.LIST_ITEMS}


def _budget() -> Schema:
    return table(
        "What a job may use; without a key there is no such limit.",
        {
            "maxTokens": integer("Tokens in and out.", limits.BUDGET_TOKENS),
            "maxCostUsd": number("USD.", limits.BUDGET_USD),
            "maxDuration": integer(
                "Milliseconds of work, without waiting for people.", limits.BUDGET_MS
            ),
        },
    )


def _exec() -> Schema:
    usual = Settings().exec
    return table(
        "How the base skill's exec is shut in.",
        {
            "sandbox": choice(
                "bubblewrap: only the workspace can be written.", SANDBOXES, usual.sandbox
            ),
            "network": flag("Whether a sandbox has the network.", default=usual.network),
        },
    )


def _consensus() -> Schema:
    usual = ConsensusSettings()
    return table(
        "When delegations wait for a person.",
        {
            "enabled": flag("Whether any do.", default=usual.enabled),
            "requireForRiskLevels": choices(
                "Risks that wait.", RISKS, usual.require_for_risk_levels
            ),
            "reviewerStrategy": choice("Who is to review.", STRATEGIES, usual.reviewer_strategy),
            "timeout": integer(
                "Milliseconds until a checkpoint expires.",
                limits.CONSENSUS_TIMEOUT_MS,
                usual.timeout,
            ),
            "maxDepth": integer(
                "Deeper delegations always wait.", limits.CONSENSUS_DEPTH, usual.max_depth
            ),
            "autoReject": flag(
                "Reject, rather than expire, what nobody decided in time.",
                default=usual.auto_reject,
            ),
            "reviewerMayApprove": choice(
                "The highest risk that a reviewing Expert may approve by itself.",
                MAY_APPROVE,
                usual.reviewer_may_approve,
            ),
            "reviewerModel": text(
                "The model of the strategy different-model.",
                shortest=1,
                longest=limits.NAME_LENGTH,
            ),
            **_risks(usual),
        },
    )


def _risks(usual: ConsensusSettings) -> dict[str, Schema]:
    return {
        "highRiskAgentTypes": texts(
            "Experts that are always of high risk.", default=usual.high_risk_agent_types
        ),
        "mediumRiskAgentTypes": texts(
            "Experts that are at least of medium risk.", default=usual.medium_risk_agent_types
        ),
        "highRiskPatterns": texts(
            "Words in a task that make it high risk.", default=usual.high_risk_patterns
        ),
        "mediumRiskPatterns": texts(
            "Words in a task that make it medium risk.", default=usual.medium_risk_patterns
        ),
    }


def _notify() -> Schema:
    says = "A program that gets each notice as JSON on its standard input."
    line: Schema = {"type": "string", "minLength": 1}
    listed = program(says, longest=limits.ARGUMENT_LENGTH)
    return table(
        "Who is told that something waits for a person.",
        {
            "command": {"description": says, "anyOf": [listed, line]},
            "webhook": url("An address that each notice is posted to as JSON."),
        },
    )


def _snapshots() -> Schema:
    usual = SnapshotSettings()
    return table(
        "What is stored of the workspace's files at each checkpoint.",
        {
            "enabled": flag("Whether anything is.", default=usual.enabled),
            "maxFileBytes": integer(
                "Larger files are listed, not stored.",
                limits.SNAPSHOT_FILE_BYTES,
                usual.max_file_bytes,
            ),
            "maxFiles": integer(
                "With more files in the folder no snapshot is taken.",
                limits.SNAPSHOT_FILES,
                usual.max_files,
            ),
            "maxTotalBytes": integer(
                "Files beyond that, all together, are listed, not stored.",
                limits.SNAPSHOT_TOTAL_BYTES,
                usual.max_total_bytes,
            ),
            "exclude": texts(
                "Patterns as in .gitignore of what is listed, not stored; env files always are.",
                default=usual.exclude,
            ),
        },
    )


def _runtimes() -> Schema:
    usual = DockerSettings()
    program_table = table(
        "How another agent's program is started.",
        {
            "command": program("In place of its usual name.", longest=limits.ARGUMENT_LENGTH),
            "env": texts("Variables that it gets, keys among them.", rule=limits.ENV_NAME),
            "permissions": choice(
                "What it may do unasked: nothing, edit files, anything.", PERMISSIONS
            ),
        },
    )
    docker = table(
        "How containers are made.",
        {
            "baseImage": text(
                "What has Python 3.11 or newer.", rule=limits.IMAGE, default=usual.base_image
            ),
            "proxyImage": text(
                "A Debian for the proxy.", rule=limits.IMAGE, default=usual.proxy_image
            ),
            "memory": integer("Megabytes.", limits.CONTAINER_MEGABYTES, usual.memory),
            "cpus": number("How many.", limits.CONTAINER_CPUS, usual.cpus),
            "pids": integer("Processes and threads.", limits.CONTAINER_PIDS, usual.pids),
            "allowedDomains": texts(
                "What may be reached beside skills' domains and the provider.", rule=limits.DOMAIN
            ),
        },
    )
    programs: dict[str, Schema] = dict.fromkeys(PROGRAMS, program_table)
    return table("How runtimes are started.", {**programs, "docker": docker})


if __name__ == "__main__":
    _FILE.write_text(schema_text(), encoding="utf-8")
