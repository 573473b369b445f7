"""The program as it is typed, in this process: what it says, what it tells as JSON, how it ends.

typed = Typed(tmp_path)
assert typed.says("task", "list") == "No tasks.\n"
assert typed.tells("task", "list")["count"] == 0
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from perstack.cli.app import app
from perstack.errors import PerstackError

Json = dict[str, Any]


@dataclass(frozen=True)
class Typed:
    """Commands over one workspace."""

    workspace: Path

    def ends(self, *words: str) -> Result:
        """Run a command; only the program's own errors and exit codes are ways to end."""
        result = CliRunner().invoke(app, [*words, "--workspace", str(self.workspace)])
        if not isinstance(result.exception, SystemExit | PerstackError | None):
            raise result.exception
        return result

    def says(self, *words: str, code: int = 0) -> str:
        """Run a command that prints for a reader; nothing of it may act on a terminal."""
        result = self.ends(*words)
        assert result.exit_code == code, (result.exception, result.stderr)
        assert all(line.isprintable() for line in result.stdout.splitlines()), result.stdout
        return result.stdout

    def tells(self, *words: str, code: int = 0) -> Json:
        """Run a command with `--json`: one document, in ASCII."""
        printed = self.says(*words, "--json", code=code)
        assert printed.isascii()
        assert printed.startswith("{")
        told: Json = json.loads(printed)
        return told

    def refuses(self, *words: str) -> PerstackError:
        """Run a command that cannot be done; return why."""
        error = self.ends(*words).exception
        assert isinstance(error, PerstackError), error
        return error
