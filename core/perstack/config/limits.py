"""Sizes and patterns that `perstack.toml` is held to, as Perstack publishes them.

Lengths count characters, list sizes items. Patterns are for `fullmatch`.
"""

from __future__ import annotations

import re
from typing import Final

FILE_BYTES: Final = 4 * 1024 * 1024
KEY_PARTS: Final = 64

NAME_LENGTH: Final = 255
KEY_LENGTH: Final = 511
ORGANISATION_LENGTH: Final = 128
TEXT_LENGTH: Final = 2_048
INSTRUCTION_LENGTH: Final = 20_480
SCHEMA_LENGTH: Final = 20_480
SCHEMA_DEPTH: Final = 50
ARGUMENT_LENGTH: Final = 32_768
LIST_ITEMS: Final = 255
TAG_ITEMS: Final = 8
DELEGATE_NAME_LENGTH: Final = 64

MAX_STEPS: Final = (1, 1_000_000)
MAX_RETRIES: Final = (0, 1_000)
TIMEOUT_MS: Final = (1, 86_400_000)
MAX_PARALLEL: Final = (1, 1_024)
REASONING_TOKENS: Final = (0, 1_000_000)
PACE: Final = (0.0, 1_000.0)

_VERSION: Final = (
    r"\d{1,9}\.\d{1,9}\.\d{1,9}(?:-[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?"
    r"(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?"
)
_TAG: Final = r"[a-z0-9][a-z0-9_-]*"

VERSION: Final = re.compile(_VERSION, re.ASCII)
TAG: Final = re.compile(_TAG)
EXPERT_NAME: Final = re.compile(r"(?:@[a-z0-9][a-z0-9_-]*/)?[a-z0-9][a-z0-9_-]*")
EXPERT_KEY: Final = re.compile(
    rf"(?:@[a-z0-9][a-z0-9_.-]*/)?[a-z0-9][a-z0-9_.-]*(?:@(?:{_VERSION}|{_TAG}))?", re.ASCII
)
ENV_NAME: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_-]*")
HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
