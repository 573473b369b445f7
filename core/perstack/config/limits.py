"""Sizes and patterns that `perstack.toml` is held to, as Perstack publishes them.

Lengths count characters, list sizes items. Patterns are for `fullmatch`.
"""

from __future__ import annotations

import re
from typing import Final

from perstack.domain.registry import VERSION_PATTERN

FILE_BYTES: Final = 4 * 1024 * 1024
KEY_PARTS: Final = 64

NAME_LENGTH: Final = 255
KEY_LENGTH: Final = 511
ORGANISATION_LENGTH: Final = 128
TEXT_LENGTH: Final = 2_048
INSTRUCTION_LENGTH: Final = 20_480
QUERY_LENGTH: Final = 20_480
SCHEMA_LENGTH: Final = 20_480
SCHEMA_DEPTH: Final = 50
ARGUMENT_LENGTH: Final = 32_768
LIST_ITEMS: Final = 255
TAG_ITEMS: Final = 8
DELEGATE_NAME_LENGTH: Final = 64

MAX_STEPS: Final = (1, 1_000_000)
MAX_RETRIES: Final = (0, 1_000)
SNAPSHOT_FILE_BYTES: Final = (0, 100_000_000)
SNAPSHOT_FILES: Final = (1, 1_000_000)
SNAPSHOT_TOTAL_BYTES: Final = (0, 100_000_000_000)
TIMEOUT_MS: Final = (1, 86_400_000)
MAX_PARALLEL: Final = (1, 1_024)
MAX_DEPTH: Final = (1, 100)
REASONING_TOKENS: Final = (0, 1_000_000)
PACE: Final = (0.0, 1_000.0)
CONSENSUS_TIMEOUT_MS: Final = (30_000, 3_600_000)
CONSENSUS_DEPTH: Final = (1, 10)

AGENTS: Final = (1, 20)
AGENT_TIMEOUT_S: Final = (10, 3_600)
COSINE: Final = (0.0, 1.0)
ANCESTOR_DEPTH: Final = (1, 10)
FILES_ACCESSED: Final = (1, 1_000)
API_CALLS: Final = (1, 10_000)
SUBTASKS: Final = (1, 100)
DELIVERABLE_MS: Final = (60_000, 7_200_000)
TOKENS_CONSUMED: Final = (1_000, 10_000_000)
WARNING_SHARE: Final = (0.1, 0.99)
CHECK_MS: Final = (1_000, 60_000)
DISPATCH_CACHE_MS: Final = (60_000, 86_400_000)
DISPATCH_LENGTH: Final = (100, 10_000)
NAMESPACE_LENGTH: Final = 100

BUDGET_TOKENS: Final = (1, 1_000_000_000_000)
BUDGET_USD: Final = (0.0001, 1_000_000.0)
BUDGET_MS: Final = (1, 31_536_000_000)
MODEL_TOKENS: Final = (1, 1_000_000_000)
PRICE_USD: Final = (0.0, 100_000.0)
TOOL_USES: Final = (1, 1_000)
SEARCH_RESULTS: Final = (1, 50)

_TAG: Final = r"[a-z0-9][a-z0-9_-]*"

VERSION: Final = re.compile(VERSION_PATTERN, re.ASCII)
TAG: Final = re.compile(_TAG)
EXPERT_NAME: Final = re.compile(r"(?:@[a-z0-9][a-z0-9_-]*/)?[a-z0-9][a-z0-9_-]*")
EXPERT_KEY: Final = re.compile(
    rf"(?:@[a-z0-9][a-z0-9_.-]*/)?[a-z0-9][a-z0-9_.-]*(?:@(?:{VERSION_PATTERN}|{_TAG}))?", re.ASCII
)
RUNTIME_VERSION: Final = re.compile(r"v?\d{1,9}(?:\.\d{1,9}){0,2}", re.ASCII)
ENV_NAME: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_-]*")
HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
# What can be printed is for `str.isprintable` to say; this keeps control characters out.
PRINTABLE_NAME: Final = re.compile(r"[^\x00-\x1f\x7f-\x9f]+")
# What becomes part of a vendor's host name must not be able to name another host.
HOST_PART: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
CLOUD_PROJECT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.:_-]{0,127}")
# A session's own namespace is nobody's default.
NAMESPACE: Final = re.compile(r"(?!session:)[^\x00]*")
PATH: Final = re.compile(r"[^\x00]*")
API_VERSION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

CONTAINER_MEGABYTES: Final = (64, 1_048_576)
CONTAINER_CPUS: Final = (0.1, 1_024.0)
CONTAINER_PIDS: Final = (16, 1_000_000)
# It becomes a line of a Dockerfile.
IMAGE: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._/:@-]{0,254}")

_LABEL: Final = r"(?![Xx][Nn]--)[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
DOMAIN: Final = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*")

# What a text that does not match is not, and what to write instead.
MEANINGS: Final = {
    TAG: ("a tag", "use lower-case letters, digits, '-' and '_'"),
    EXPERT_KEY: (
        "the key of an Expert",
        "write NAME or @organisation/NAME in lower-case letters, digits, '-', '_' and '.'",
    ),
    RUNTIME_VERSION: ("a version", 'write one such as "v1.0"'),
    ENV_NAME: ("the name of a variable", "write the name alone, such as EXA_API_KEY"),
    HOST_PART: ("part of a host name", "use up to 63 letters, digits and '-'"),
    CLOUD_PROJECT: ("a project of Google Cloud", "use letters, digits, '-', '_', '.' and ':'"),
    IMAGE: ("the name of an image", "write one such as debian:bookworm-slim"),
    API_VERSION: ("a version of the service", 'write one such as "2024-10-21"'),
    PATH: ("a path", "a path has no NUL characters"),
    NAMESPACE: ("a namespace for all", "write another name; session:… belongs to a session"),
    DOMAIN: (
        "a domain",
        "write example.com or *.example.com; no xn-- label, no dot at the end",
    ),
}
