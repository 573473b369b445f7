"""Whether a plugin's code may run: what was decided of it, by whom, and for which content.

A folder's plugin is code of whoever wrote the workspace, so it runs only once the user of this
machine has enabled it, and only with the content that they enabled. Both are written down: that it
is enabled in the database, with the content's hash; that it was this user who agreed in the user's
own state folder, since a workspace may bring a database along. Installed packages were chosen by
the user before and run unless they are disabled.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

from anyio import to_thread
from pydantic import JsonValue

from perstack.config.untrusted import Demand
from perstack.domain.plugins import PluginInfo, PluginRecord
from perstack.ports.plugins import FoundPlugin
from perstack.ports.stores import Stores
from perstack.ports.system import Clock
from perstack.services.handle import Handle
from perstack.services.loaded_plugins import info


class Consents(Protocol):
    """What this user agreed to (`config.trust.Acceptances`). Blocks on the disk."""

    def lacking(self, config: Path, demands: Iterable[Demand]) -> tuple[Demand, ...]:
        """Return those of `demands` that were not accepted for `config`."""
        ...

    def accept(self, config: Path, demands: Iterable[Demand]) -> None:
        """Remember that the user accepted `demands` for `config`."""
        ...

    def forget(self, config: Path, demands: Iterable[Demand]) -> None:
        """Forget that they did."""
        ...


class PluginDecisions:
    """What was decided about plugins. `folder` is the workspace's plugins folder."""

    def __init__(
        self, stores: Handle[Stores], *, consents: Consents, folder: Path, clock: Clock
    ) -> None:
        self._stores = stores
        self._consents = consents
        self._folder = folder
        self._clock = clock

    async def places(self) -> Sequence[Path]:
        """Return the folders outside the plugins folder from which this user enabled plugins.

        Others are not even looked at: the database may have come with the workspace.
        """
        records = await self._stores.ask(lambda stores: stores.plugins.list())
        return await to_thread.run_sync(self._agreed_places, records)

    def _agreed_places(self, records: Iterable[PluginRecord]) -> Sequence[Path]:
        return [
            Path(record.location)
            for record in records
            if record.location is not None
            and not self._consents.lacking(
                Path(record.location), [_demand(record.name, record.digest)]
            )
        ]

    async def find(self, name: str) -> PluginRecord | None:
        """Return what was decided of a plugin, None for nothing."""
        return await self._stores.ask(lambda stores: stores.plugins.find(name))

    async def agree(
        self, found: FoundPlugin, config: Mapping[str, JsonValue] | None
    ) -> PluginRecord:
        """Write down that this user enabled it as it is. `config` None: as it was."""
        record = await self._record_of(found, enabled=True, config=config)
        if found.digest is not None:
            accept = partial(
                self._consents.accept, Path(found.location), [_demand(found.name, found.digest)]
            )
            await to_thread.run_sync(accept)
        await self._stores.ask(lambda stores: stores.plugins.save(record))
        return record

    async def disable(self, found: FoundPlugin) -> None:
        """Write down that it is not to run."""
        record = await self._record_of(found, enabled=False)
        await self._stores.ask(lambda stores: stores.plugins.save(record))

    async def forget(self, found: FoundPlugin) -> None:
        """Forget what was decided, and that this user agreed to what it is and what it was then."""
        record = await self.find(found.name)
        digests = {found.digest, record.digest if record else None} - {None}
        demands = [_demand(found.name, digest) for digest in digests]
        await to_thread.run_sync(self._consents.forget, Path(found.location), demands)
        await self._stores.ask(lambda stores: stores.plugins.delete(found.name))

    async def refusal(self, found: FoundPlugin, record: PluginRecord | None) -> PluginInfo | None:
        """Return the plugin with why it must not be loaded, None if it may be."""
        if found.problem is not None:
            return info(found, "failed", found.problem)
        since = record.installed_at if record else None
        if record is not None and not record.enabled:
            return info(found, "disabled", "somebody disabled it", installed_at=since)
        if found.digest is None:
            return None
        if record is None:
            return info(found, "unasked", "its code runs only once you enabled it")
        if record.digest != found.digest:
            reason = "its content is not what was enabled: look at it and enable it again"
            return info(found, "changed", reason, installed_at=since)
        lacking = partial(
            self._consents.lacking, Path(found.location), [_demand(found.name, found.digest)]
        )
        if await to_thread.run_sync(lacking):
            return info(found, "unasked", "it was enabled here, but not by you", installed_at=since)
        return None

    async def _record_of(
        self,
        found: FoundPlugin,
        *,
        enabled: bool,
        config: Mapping[str, JsonValue] | None = None,
    ) -> PluginRecord:
        old = await self.find(found.name)
        now = self._clock.now_ms()
        elsewhere = found.source == "folder" and Path(found.location).parent != self._folder
        kept = old.config if old else {}
        return PluginRecord(
            name=found.name,
            version=found.version,
            source=found.source,
            enabled=enabled,
            digest=found.digest,
            location=found.location if elsewhere else None,
            config=kept if config is None else dict(config),
            installed_at=old.installed_at if old else now,
            updated_at=now,
        )


def _demand(name: str, digest: str | None) -> Demand:
    return Demand("command", f"run the plugin {name} with the content {digest}")
