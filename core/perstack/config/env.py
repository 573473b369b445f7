"""The user's environment joined with the project's env files, as far as those may be trusted.

An env file comes with the project, perhaps from a stranger, while the key is often the user's
own. So a file can set no variable that says what is loaded into programs, and one that says where
requests go, who answers as the model, or where Experts come from, only once the user has accepted
that; a base URL of anything else also together with the key that is sent there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from perstack.config.dotenv import read_env_file
from perstack.config.report import ConfigWarning, printable
from perstack.config.trust import variable_demand
from perstack.config.untrusted import Demand
from perstack.config.urls import leads_elsewhere
from perstack.domain.registry import DEFAULT_URL

_REDIRECTS: Final = re.compile(
    r".*_PROXY(?:_URL)?|SSL_CERT_(?:FILE|DIR)|.*_CA_BUNDLE|NODE_EXTRA_CA_CERTS",
    re.IGNORECASE | re.DOTALL,
)
_REFUSED: Final = re.compile(
    r"SSL_CERT_.*|SSLKEYLOGFILE|NODE_(?:OPTIONS|PATH|TLS_REJECT_UNAUTHORIZED)"
    r"|LD_.*|DYLD_.*|PYTHON.*|PERL5.*|RUBYLIB|RUBYOPT|NPM_CONFIG_.*|BASH_.*|ENV|IFS"
    r"|GIT_(?:SSH.*|CONFIG.*|EXEC_PATH|ASKPASS|EDITOR|PAGER|EXTERNAL_DIFF|TEMPLATE_DIR|DIR)"
    r"|UV_.*|PIP_.*|(?:_|JDK_)JAVA_OPTIONS|JAVA_TOOL_OPTIONS|DOTNET_STARTUP_HOOKS"
    # Where other agents' programs have their settings, which may start commands.
    r"|CLAUDE_CONFIG_DIR|CODEX_HOME|CURSOR_CONFIG_DIR|GEMINI_CLI_.*"
    r"|PATH|HOME|SHELL|USER|LOGNAME|TMPDIR|XDG_.*|PERSTACK_RUN_ID|PERSTACK_JOB_ID",
    re.IGNORECASE | re.DOTALL,
)
_BASE_URL: Final = re.compile(r"([A-Z0-9]+)(?:_[A-Z0-9_]+)?_BASE_URL", re.IGNORECASE)
_MODEL_VENDORS: Final = ("ANTHROPIC_", "AZURE_", "DEEPSEEK_", "GOOGLE_", "OPENAI_")
# What answers as the model decides what tools do, whoever's key is sent along.
_MODEL_URL: Final = re.compile(
    r"(?:ANTHROPIC|AZURE|DEEPSEEK|GOOGLE_GENERATIVE_AI|GOOGLE_VERTEX|OLLAMA|OPENAI)_BASE_URL",
    re.IGNORECASE,
)
_REGISTRY_URL: Final = re.compile(r"PERSTACK_API_BASE_URL", re.IGNORECASE)
_MODEL_HOST: Final = re.compile(r"AZURE_RESOURCE_NAME", re.IGNORECASE)


class Environment(Mapping[str, str]):
    """Variables with values, and what was left out. Its `repr` shows no value.

    `demands` are the left out ones that would be set once the user has accepted them.
    """

    def __init__(
        self,
        values: Mapping[str, str],
        warnings: tuple[ConfigWarning, ...] = (),
        demands: tuple[Demand, ...] = (),
    ) -> None:
        self._values = dict(values)
        self.warnings = warnings
        self.demands = demands

    def __getitem__(self, name: str) -> str:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Environment({len(self)} variables)"


def read_environment(
    base_dir: Path,
    env_paths: Sequence[str],
    process_env: Mapping[str, str],
    *,
    accepts: Callable[[Demand], bool] = lambda _: False,
) -> Environment:
    """Join the environments. Blocks on the disk.

    A non-empty variable of the process wins over the first env file that gives it a value, that
    over later ones. Missing files are fine; relative paths start at `base_dir`. `accepts` tells
    which variables may say where requests go.

    Raises:
        ConfigError: an env file cannot be read; the message names file and line, never a value.
    """
    joined = {name: value for name, value in process_env.items() if value}
    source: dict[str, str] = {}
    warnings: list[ConfigWarning] = []
    demands: list[Demand] = []

    def left_out(name: str, value: str, env_path: str, reason: str) -> bool:
        demand = variable_demand(env_path, name, value)
        if accepts(demand):
            return False
        demands.append(demand)
        remedy = f"export it in the shell, or add --trust to {demand.text}"
        warnings.append(_ignored(env_path, name, reason, remedy))
        return True

    for env_path in env_paths:
        for name, value in read_env_file(base_dir / env_path).items():
            if not value:
                continue
            if _REFUSED.fullmatch(name):
                reason, remedy = "an env file may not set it", "export it in the shell"
                warnings.append(_ignored(env_path, name, reason, remedy))
                continue
            if name in joined:
                continue
            reason = _leads_astray(name, value)
            if reason and left_out(name, value, env_path, reason):
                continue
            joined[name] = value
            source[name] = env_path
    for name in [name for name in source if not _url_comes_with_its_key(name, joined, source)]:
        reason = "the key it would receive does not come from the same file"
        if left_out(name, joined[name], source[name], reason):
            del joined[name]
    return Environment(joined, tuple(warnings), tuple(demands))


def _leads_astray(name: str, value: str) -> str | None:
    """Return why an env file may not set a variable unasked, None if it may."""
    if _REDIRECTS.fullmatch(name):
        return "it says where requests go, which you have not accepted"
    if _MODEL_HOST.fullmatch(name) or (_MODEL_URL.fullmatch(name) and leads_elsewhere(value)):
        return "it says who answers as the model, which you have not accepted"
    usual = value.rstrip("/") == DEFAULT_URL
    if _REGISTRY_URL.fullmatch(name) and leads_elsewhere(value) and not usual:
        return "it says where Experts come from, which you have not accepted"
    return None


def _url_comes_with_its_key(
    name: str, joined: Mapping[str, str], source: Mapping[str, str]
) -> bool:
    """Tell whether all keys that a base URL would receive come from the URL's own file."""
    match = _BASE_URL.fullmatch(name)
    if match is None:
        return True
    vendor = match.group(1).upper() + "_"
    keys = [key for key in joined if key.upper().startswith(vendor)]
    keys = [key for key in keys if key.upper().endswith(("KEY", "TOKEN"))]
    if not keys:
        return vendor not in _MODEL_VENDORS
    return all(source.get(key) == source[name] for key in keys)


def _ignored(env_path: str, name: str, reason: str, remedy: str) -> ConfigWarning:
    return ConfigWarning(
        line=None,
        key=printable(env_path),
        message=f"{printable(name, longest=80)} is ignored: {reason}",
        hint=f"if it is meant, {printable(remedy)}",
    )
