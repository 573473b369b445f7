"""What is said when nobody has the name of the Expert that was asked for."""

from __future__ import annotations

import pytest

from perstack.config.builtin import CORE_TYPES
from perstack.errors import UnknownExpertError


@pytest.mark.parametrize(
    ("name", "begins"),
    [
        ("codr", "did you mean coder? perstack.toml defines: writer; built in: coder, "),
        ("writr", "did you mean writer? perstack.toml defines: writer; built in: coder, "),
        ("qqq", "perstack.toml defines: writer; built in: coder, "),
    ],
)
def test_an_unknown_expert_is_told_who_was_meant_and_who_is_built_in(
    name: str, begins: str
) -> None:
    hint = UnknownExpertError(name, ["writer"]).hint
    assert hint
    assert hint.startswith(begins)


def test_a_built_in_expert_that_is_known_already_is_named_once() -> None:
    hint = UnknownExpertError("qqq", [*CORE_TYPES]).hint
    assert hint
    assert hint.count("devops") == 1
    assert "built in" not in hint


def test_an_endless_name_is_not_repeated_whole() -> None:
    error = UnknownExpertError("a" * 5_000, [])
    assert len(error.message) < 300
