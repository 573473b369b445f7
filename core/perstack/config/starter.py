"""The `perstack.toml` that a new project begins with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from perstack.config.models import DEFAULT_MODELS
from perstack.config.provider_keys import has_credentials, variables_of
from perstack.domain.settings import VendorName

_PREFERRED: Final[tuple[VendorName, ...]] = ("anthropic", "openai", "google", "deepseek")

_TEXT: Final = """\
# A team of Experts, each a small agent with one job. It is read again whenever you save it.
# Try it: perstack start assistant "What is in this folder?"
# Every key: perstack config schema

model = "{model}"
{key_note}envPath = [".env"]

[provider]
providerName = "{provider}"

# Risky delegations wait until you have approved them: in the cockpit (perstack), or with
# perstack consensus.
[consensus]
enabled = true
reviewerStrategy = "human"

[experts."assistant"]
version = "1.0.0"
description = "Answers questions about this folder and changes its files"
instruction = \"\"\"
You help with the files of this folder.
Read before you answer, and say which files you read.
Delegate to `reviewer` what you have written before you call it done.
\"\"\"
delegates = ["reviewer"]

# Sees only what it is asked: say in the request what it is to look at.
[experts."reviewer"]
version = "1.0.0"
description = "Reads what was written and names what is wrong with it, the worst first"
instruction = \"\"\"
You review files. Read them; name each fault with its file and line; change nothing.
\"\"\"
"""


def starter_provider(env: Mapping[str, str]) -> VendorName:
    """Return a vendor whose key is set, or the usual one."""
    found: list[VendorName] = [name for name in _PREFERRED if has_credentials(name, env)]
    return found[0] if found else _PREFERRED[0]


def starter_toml(provider: VendorName) -> str:
    """Return the file's text for a vendor."""
    needed = variables_of(provider)
    note = f"# Read for {' and '.join(needed)}; what the shell exports wins.\n" if needed else ""
    return _TEXT.format(model=DEFAULT_MODELS[provider], provider=provider, key_note=note)
