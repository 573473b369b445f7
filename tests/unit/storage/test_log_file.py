"""The program's log file."""

from __future__ import annotations

import logging
from pathlib import Path

from perstack.storage.log_file import LogFile


def record(message: str) -> logging.LogRecord:
    return logging.LogRecord("perstack", logging.WARNING, __file__, 1, message, None, None)


def test_the_file_is_made_with_the_first_record_and_holds_no_secret(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "perstack.log"
    handler = LogFile(path, ("sk-canary-1234",))
    assert not path.parent.exists()
    handler.handle(record("the key is sk-canary-1234"))
    handler.close()
    assert "the key is [redacted]" in path.read_text()
    assert "canary" not in path.read_text()


def test_secrets_that_are_learned_later_are_hidden_too(tmp_path: Path) -> None:
    handler = LogFile(tmp_path / "perstack.log", ("sk-canary",))
    handler.hide(("sk-canary-1234", "another-secret"))
    handler.handle(record("sk-canary-1234, sk-canary and another-secret"))
    handler.close()
    assert "[redacted], [redacted] and [redacted]" in (tmp_path / "perstack.log").read_text()


def test_a_log_that_cannot_be_written_is_silent(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("in the way")
    handler = LogFile(tmp_path / "logs" / "perstack.log")
    handler.handle(record("lost"))
    handler.close()
    assert (tmp_path / "logs").read_text() == "in the way"
