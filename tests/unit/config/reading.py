"""Reads configuration texts without a disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from perstack.config.load import LoadedConfig, parse_config
from perstack.errors import ConfigError

WRITER = '[experts.writer]\ninstruction = "Write."\n'


def read(text: str) -> LoadedConfig:
    return parse_config(Path("perstack.toml"), text.encode())


def refusal(text: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert caught.value.hint
    return caught.value


def refused_lines(text: str) -> list[str]:
    """Return the problems told, without the first line and the bullets."""
    first, *lines = refusal(text).message.split("\n")
    assert first == "perstack.toml: Validation failed:"
    return [line.removeprefix("  - ") for line in lines]


def warned(text: str) -> list[str]:
    return [str(warning) for warning in read(text).warnings]
