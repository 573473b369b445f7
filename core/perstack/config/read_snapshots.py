"""What is stored of the workspace at each checkpoint: `[snapshots]` of `perstack.toml`."""

from __future__ import annotations

from perstack.config import limits
from perstack.config.table import Table, given
from perstack.domain.settings import SnapshotSettings


def read_snapshots(top: Table) -> SnapshotSettings:
    """Read whether snapshots are taken, and of what."""
    table, usual = top.table("snapshots"), SnapshotSettings()
    if table is None:
        return usual
    read = SnapshotSettings(
        enabled=given(table.flag("enabled"), usual.enabled),
        max_file_bytes=given(
            table.integer("maxFileBytes", limits.SNAPSHOT_FILE_BYTES), usual.max_file_bytes
        ),
        max_files=given(table.integer("maxFiles", limits.SNAPSHOT_FILES), usual.max_files),
        max_total_bytes=given(
            table.integer("maxTotalBytes", limits.SNAPSHOT_TOTAL_BYTES), usual.max_total_bytes
        ),
        # Env files are left out all the same, unless a pattern with "!" names them.
        exclude=tuple(dict.fromkeys((*usual.exclude, *given(table.texts("exclude"), ())))),
    )
    # Misspelt, it would have secrets stored that somebody wanted left out.
    table.close(gates=("enabled", "exclude"))
    return read
