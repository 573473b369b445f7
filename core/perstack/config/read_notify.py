"""Who is told that something waits for a person: `[notify]` of `perstack.toml`."""

from __future__ import annotations

from perstack.config import limits
from perstack.config.table import Table, is_table
from perstack.config.urls import fault_of_url
from perstack.domain.settings import NotifySettings


def read_notify(top: Table) -> NotifySettings:
    """Read the command and the webhook that are given notices."""
    table = top.table("notify")
    if table is None:
        return NotifySettings()
    read = NotifySettings(command=_read_command(table), webhook=_read_webhook(table))
    table.close()
    return read


def _read_webhook(table: Table) -> str | None:
    url = table.text("webhook", shortest=1)
    if url is not None and (fault := fault_of_url(url)):
        table.problem("webhook", fault, "write an https:// URL")
        return None
    return url


def _read_command(table: Table) -> tuple[str, ...]:
    value = table.raw("command")
    if isinstance(value, str):
        command = _split(table, value)
    else:
        command = table.texts("command", longest=limits.ARGUMENT_LENGTH, empty_items=True) or ()
    if any("\0" in part for part in command):
        table.problem("command", "must not hold NUL characters")
    if value is not None and not is_table(value) and (not command or not command[0]):
        table.problem(
            "command", "must name a program", 'write command = ["notify-send", "Perstack"]'
        )
    return command


def _split(table: Table, line: str) -> tuple[str, ...]:
    import shlex

    try:
        return tuple(shlex.split(line))
    except ValueError as error:
        table.problem(
            "command", f"has unbalanced quotes ({error})", "write it as a list of strings"
        )
        return ("unread",)
