"""The Experts of `perstack.toml`, one by one."""

from __future__ import annotations

from perstack.config import limits
from perstack.config.read_provider_tools import (
    read_provider_skills,
    read_provider_tool_options,
)
from perstack.config.read_runtimes import read_expert_runtime
from perstack.config.read_skills import read_skills
from perstack.config.table import Table
from perstack.domain.expert import Expert
from perstack.domain.ids import ExpertKey


def read_experts(table: Table | None) -> dict[ExpertKey, Expert]:
    """Read all Experts, in file order; delegates are read but not looked up."""
    if table is None:
        return {}
    experts: dict[ExpertKey, Expert] = {}
    for name, entry in table.tables():
        _check_name(table, name)
        key = ExpertKey(name)
        experts[key] = read_expert(key, entry)
    return experts


def _check_name(table: Table, name: str) -> None:
    if "@" in name[1:]:
        table.problem(
            name, "an Expert's name holds no version", 'give it as a key: version = "1.0.0"'
        )
    elif not limits.EXPERT_NAME.fullmatch(name):
        table.problem(
            name,
            "is not an Expert's name",
            "use lower-case letters, digits, '-' and '_', beginning with a letter or digit; "
            "@organisation/ may stand before it",
        )
    elif len(name) > limits.NAME_LENGTH:
        table.problem(name, f"must have 1 to {limits.NAME_LENGTH} characters; it has {len(name)}")
    elif len(name.partition("/")[0]) > limits.ORGANISATION_LENGTH + 1 and "/" in name:
        table.problem(name, f"an organisation has at most {limits.ORGANISATION_LENGTH} characters")


def read_expert(key: ExpertKey, entry: Table) -> Expert:
    """Read one Expert; `key` is also its name."""
    if "instruction" not in entry:
        entry.problem("instruction", "is missing", 'write instruction = """..."""')
    read = Expert(
        key=key,
        name=key,
        version=_read_version(entry) or "1.0.0",
        description=entry.text("description"),
        instruction=entry.text("instruction", shortest=1, longest=limits.INSTRUCTION_LENGTH) or "",
        skills=read_skills(entry),
        delegates=_read_delegates(entry),
        tags=entry.texts("tags", most=limits.TAG_ITEMS, rule=limits.TAG) or (),
        min_runtime_version=entry.text("minRuntimeVersion", rule=limits.RUNTIME_VERSION),
        provider_tools=entry.texts("providerTools") or (),
        provider_tool_options=read_provider_tool_options(entry),
        provider_skills=read_provider_skills(entry),
        runtime=read_expert_runtime(entry),
    )
    entry.close(gates=("providerToolOptions",))
    return read


def _read_version(entry: Table) -> str | None:
    version = entry.text("version", longest=limits.NAME_LENGTH)
    if version is not None and not limits.VERSION.fullmatch(version):
        entry.problem("version", 'must be a version of three numbers such as "1.0.0"')
    return version


def _read_delegates(entry: Table) -> tuple[ExpertKey, ...]:
    keys = entry.texts("delegates", longest=limits.KEY_LENGTH, rule=limits.EXPERT_KEY) or ()
    return tuple(ExpertKey(key) for key in keys)
