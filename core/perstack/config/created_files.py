"""The texts that `perstack create` writes: settings, an env file, AGENTS.md. Pure."""

from __future__ import annotations

import re
from typing import Final

import tomlkit

from perstack.config.models import DEFAULT_MODELS
from perstack.config.provider_keys import variables_of
from perstack.config.toml_text import toml_value
from perstack.domain.ids import ExpertKey
from perstack.domain.runtimes import RuntimeName
from perstack.domain.settings import VendorName
from perstack.errors import ConfigError

_BEGIN: Final = "<!-- perstack: begin -->"
_END: Final = "<!-- perstack: end -->"
_PLAIN: Final = re.compile(r"[A-Za-z0-9_./:=+@%^~-]+")
_AGENTS: Final = f"""\
{_BEGIN}
## Perstack

`perstack.toml` defines Experts: small agents with one job each, which delegate to each other.
`perstack` runs and watches them; runs are recorded in `perstack/`, which is nobody's to edit.

| to | type |
|---|---|
| check the file after each change | `perstack config check` |
| run an Expert without a screen, one JSON event a line | `perstack run EXPERT "QUERY"` |
| see what a run did, step by step | `perstack log` |
| list runs, watch them | `perstack jobs`, `perstack` |
| have an Expert drafted, tried and improved | `perstack create NAME "what it should do"` |
| print the schema of the file | `perstack config schema` |

Working with `perstack.toml`:

- An Expert is a table `[experts."name"]` with `version`, `description`, `instruction` and, where it
  needs others, `delegates = ["name"]`. Names are lower-case letters, digits, `-` and `_`.
- `description` is all that other Experts see of it; `instruction` is all that it knows itself.
- A delegate sees only the query that it is sent, never the conversation.
- Every Expert has the base tools for files, and `exec`. `pick` or `omit` in
  `[experts."name".skills."@perstack/base"]` (`type = "baseSkill"`) narrow them.
- Keys belong into the environment or `.env`, never into `perstack.toml`, instructions or queries.
- Keep comments and order. After a change run the Expert on a small case and read `perstack log`.
{_END}
"""


def settings_toml(vendor: VendorName | None, model: str | None, runtime: RuntimeName) -> str:
    """Return a `perstack.toml` without Experts, of no model where the `vendor` is None."""
    lines = [
        "# A team of Experts, each a small agent with one job.",
        "# Every key: perstack config schema",
        "",
    ]
    if vendor is not None:
        usual = model or DEFAULT_MODELS.get(vendor, "")
        lines += [f"model = {toml_value(usual)}"] if usual else []
    if runtime != "perstack":
        lines.append(f"runtime = {toml_value(runtime)}")
    needed = variables_of(vendor) if vendor is not None else ()
    if needed:
        lines.append(f"# Read for {' and '.join(needed)}; what the shell exports wins.")
    lines.append('envPath = [".env"]')
    if vendor is not None:
        lines += ["", "[provider]", f"providerName = {toml_value(vendor)}"]
    return "\n".join(lines) + "\n"


def with_variable(text: str, name: str, value: str) -> str:
    """Return an env file's text with one variable more, at its end."""
    gap = "" if not text or text.endswith("\n") else "\n"
    return f"{text}{gap}{name}={env_value(value)}\n"


def env_value(value: str) -> str:
    """Return a value as an env file writes it.

    Raises:
        ConfigError: it holds what an env file cannot.
    """
    if not value.isascii() or not value.isprintable() or "'" in value or not value:
        raise ConfigError(
            "this cannot be a key: it holds characters that keys do not have",
            hint="copy it once more, without quotes and line breaks",
        )
    return value if _PLAIN.fullmatch(value) else f"'{value}'"


def with_agents_section(text: str) -> str:
    """Return an AGENTS.md with our section: in place of an older one, or else at its end."""
    begin, end = text.find(_BEGIN), text.find(_END)
    if 0 <= begin < end:
        return f"{text[:begin]}{_AGENTS.rstrip()}{text[end + len(_END) :]}"
    if not text.strip():
        return f"# Notes for coding agents\n\n{_AGENTS}"
    return f"{text.rstrip()}\n\n{_AGENTS}"


def tables_of(text: str, keys: list[ExpertKey]) -> str:
    """Return the tables of these Experts, as a TOML text of their own."""
    experts = tomlkit.parse(text.replace("\r\n", "\n")).unwrap().get("experts", {})
    return tomlkit.dumps({"experts": {key: experts[key] for key in keys if key in experts}})
