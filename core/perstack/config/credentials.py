"""The keys that a user has given for registries, one for each URL, in a file of the user's alone.

They are kept apart from any project, and never shown: not in an error, a log or a `repr`.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

from pydantic import Field, SecretStr, ValidationError

from perstack.config.file_locks import is_taken
from perstack.config.report import printable
from perstack.domain.base import Model
from perstack.errors import StorageError

_FILE: Final = "credentials.json"
_MOST_BYTES: Final = 1024 * 1024
_LOCK_WITHIN_S: Final = 10.0


class _Record(Model):
    format_version: Literal[1] = 1
    registries: dict[str, SecretStr] = Field(default_factory=dict)


def credentials_file(env: Mapping[str, str]) -> Path:
    """Return where the keys of the user are whose process environment is `env`."""
    # A relative one would be looked for in the project, which may have brought a record along.
    folder = Path(env.get("XDG_CONFIG_HOME", ""))
    if not folder.is_absolute():
        folder = Path(env.get("HOME") or Path.home()) / ".config"
    return folder / "perstack" / _FILE


def signed_in(env: Mapping[str, str]) -> Callable[[str], str | None]:
    """Return what knows the key that was kept for a URL. It blocks on the disk when it is asked.

    A file that is not there, or is not understood, has no keys.
    """

    def key_for(url: str) -> str | None:
        try:
            found = _read(credentials_file(env)).get(_place(url))
        except StorageError:
            return None
        return None if found is None else found.get_secret_value()

    return key_for


def keep_key(env: Mapping[str, str], url: str, key: str) -> Path:
    """Keep the key for the registry at `url`, and return the file that holds it.

    Raises:
        StorageError: it cannot be written, or what is there is no record of keys.
    """
    file = credentials_file(env)
    with _alone(file):
        _write(file, {**_read(file), _place(url): SecretStr(key)})
    return file


def forget_key(env: Mapping[str, str], url: str) -> bool:
    """Forget the key for the registry at `url`; return whether there was one.

    Raises:
        StorageError: it cannot be written, or what is there is no record of keys.
    """
    file = credentials_file(env)
    if not file.exists():
        return False
    with _alone(file):
        kept = _read(file)
        if _place(url) not in kept:
            return False
        _write(file, {place: key for place, key in kept.items() if place != _place(url)})
    return True


def _place(url: str) -> str:
    return url.rstrip("/")


@contextmanager
def _alone(file: Path) -> Generator[None]:
    """Keep other processes from changing the file, until the block ends."""
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise _unwritten(file, error) from error
    try:
        if not is_taken(fd, within_s=_LOCK_WITHIN_S):
            raise StorageError(
                f"{printable(str(file))} is being written by another process",
                hint="try again in a moment",
            )
        yield
    except OSError as error:
        raise _unwritten(file, error) from error
    finally:
        os.close(fd)


def _read(file: Path) -> dict[str, SecretStr]:
    try:
        with file.open("rb") as opened:
            return dict(_Record.model_validate_json(opened.read(_MOST_BYTES)).registries)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise StorageError(
            f"{printable(str(file))} cannot be read: {error.strerror}", hint="check its permissions"
        ) from error
    except ValidationError:
        # Without its cause: that holds what stands in the file.
        raise StorageError(
            f"{printable(str(file))} is not a record of keys",
            hint="move it away, then sign in again: perstack login",
        ) from None


def _write(file: Path, keys: Mapping[str, SecretStr]) -> None:
    record = {
        "formatVersion": 1,
        "registries": {place: keys[place].get_secret_value() for place in sorted(keys)},
    }
    target = file.resolve()  # a link stays one
    fd, draft = tempfile.mkstemp(dir=target.parent, prefix=f".{_FILE}.")  # mode 600
    try:
        with os.fdopen(fd, "w", encoding="utf-8") as opened:
            json.dump(record, opened, indent=2)
            opened.flush()
            os.fsync(opened.fileno())
        Path(draft).replace(target)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise


def _unwritten(file: Path, error: OSError) -> StorageError:
    return StorageError(
        f"{printable(str(file))} cannot be written: {error.strerror}",
        hint="check that folder and the disk, or set PERSTACK_API_KEY instead",
    )
