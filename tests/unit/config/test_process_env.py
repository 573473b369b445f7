"""What is hidden from a vendor's SDK is there for everybody else."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from perstack.config.process_env import hidden_variables, process_environment


def test_who_reads_the_environment_while_some_is_hidden_gets_all_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "key")
    monkeypatch.setenv("OTHER", "value")
    with ThreadPoolExecutor(8) as pool:
        with hidden_variables(("ANTHROPIC_",)):
            readings = [pool.submit(process_environment) for _ in range(8)]
            assert "ANTHROPIC_API_KEY" not in os.environ
            assert os.environ["OTHER"] == "value"
            assert not any(reading.done() for reading in readings)
        assert {reading.result(20)["ANTHROPIC_API_KEY"] for reading in readings} == {"key"}


def test_what_was_hidden_comes_back_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "key")
    with pytest.raises(ValueError, match="broken"), hidden_variables(("OPENAI_",)):
        raise ValueError("broken")
    assert os.environ["OPENAI_API_KEY"] == "key"
