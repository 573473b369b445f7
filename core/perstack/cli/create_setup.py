"""What `perstack create` has to know before it can begin: runtime, vendor, model, key, wish."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar, get_args

from perstack.cli.listeners import say
from perstack.cli.prompting import ask, ask_hidden, choose
from perstack.config import limits
from perstack.config.created_files import env_value
from perstack.config.models import DEFAULT_MODELS, doubt_about_model, doubt_about_name
from perstack.config.provider_keys import has_credentials, variables_of
from perstack.config.read_provider import provider_named, unavailable_provider
from perstack.domain.runtimes import RuntimeName, is_program
from perstack.domain.settings import ProviderSettings, Settings, VendorName
from perstack.errors import ConfigError, UsageError
from perstack.ports.system import SystemClock
from perstack.providers.facts import other_address

if TYPE_CHECKING:
    from perstack.cli.create_detect import Found

_ASKED_FOR: Final[tuple[VendorName, ...]] = ("anthropic", "openai", "google", "deepseek")
_ATTEMPTS: Final = 3
Name = TypeVar("Name", bound=str)
_VENDORS: Final[Mapping[str, VendorName]] = {name: name for name in get_args(VendorName)}


@dataclass(frozen=True, slots=True)
class Key:
    """A key as it was typed, and its variable."""

    name: str
    value: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Setup:
    """What a new `perstack.toml` says. `vendor` None: no model, since a program asks its own."""

    runtime: RuntimeName
    vendor: VendorName | None
    model: str | None
    key: Key | None = None


@dataclass(frozen=True, slots=True)
class Typed:
    """What of it stands on the command line."""

    runtime: RuntimeName | None
    vendor: VendorName | None
    model: str | None


def typed(runtime: str | None, provider: str | None, model: str | None) -> Typed:
    """Read what was typed.

    Raises:
        UsageError: there is no such runtime or vendor, or it can be no model's name.
    """
    from perstack.config.read_runtimes import nearest_runtime, runtime_named, unavailable_runtime

    named = runtime_named(runtime)
    if runtime is not None and named is None:
        raise UsageError(unavailable_runtime(runtime), hint=f"--runtime {nearest_runtime(runtime)}")
    vendor = _vendor_named(provider)
    if model is not None and not _is_model(model):
        raise UsageError(f"--model {model[:40]!a} is not a model's name")
    return Typed(named, vendor, model)


def usual_setup(given: Typed, env: Mapping[str, str]) -> Setup:
    """Return what is meant where nobody can be asked: what was typed, else whose key is set."""
    from perstack.config.starter import starter_provider

    runtime = given.runtime or "perstack"
    has_any = any(has_credentials(vendor, env) for vendor in _ASKED_FOR)
    if given.vendor is None and is_program(runtime) and not has_any:
        return Setup(runtime, None, given.model)
    vendor = given.vendor or starter_provider(env)
    return Setup(runtime, vendor, _model_or_usual(vendor, given.model))


def ask_setup(given: Typed, env: Mapping[str, str], found: Found) -> Setup:
    """Ask for what was neither typed nor found.

    Raises:
        CancelledError: the user wants nothing of it.
        ConfigError: as `ask_key`.
    """
    runtime = given.runtime or _ask_runtime(found)
    if is_program(runtime) and given.vendor is None and not found.vendors:
        return Setup(runtime, None, given.model)
    vendor = given.vendor or _ask_vendor(found)
    model = given.model or _ask_model(vendor, env, found)
    return Setup(runtime, vendor, model, ask_key(vendor, env))


def ask_key(vendor: VendorName, env: Mapping[str, str]) -> Key | None:
    """Ask for a vendor's key, unless it is set; None where none is needed.

    Raises:
        CancelledError: the user wants nothing of it.
        ConfigError: what is needed is more than a key.
    """
    if has_credentials(vendor, env):
        return None
    needed = variables_of(vendor)
    if len(needed) != 1 or vendor == "google-vertex":
        raise missing(vendor)
    for _ in range(_ATTEMPTS):
        value = ask_hidden(needed[0], note="kept in .env alone")
        try:
            env_value(value)
        except ConfigError as error:
            say(f"{error.message}." if value else "Nothing was typed.")
            continue
        return Key(needed[0], value)
    raise missing(vendor)


def missing(vendor: VendorName) -> ConfigError:
    """Return the error for credentials that are not there."""
    needed = " and ".join(variables_of(vendor))
    return ConfigError(
        f"{needed} is not set, which {vendor} needs",
        hint=f"export {needed}=... or put it into .env; --provider names another vendor",
    )


def check_scenario(vendor: VendorName | None, folder: Path, scenario: str | None) -> None:
    """Refuse a scripted model without a script before anything is written. Blocks on the disk.

    Raises:
        ConfigError: the scenario was not named, cannot be read, or has a mistake.
    """
    if vendor != "scripted":
        return
    from perstack.providers.scenario import load_scenario

    if scenario is None:
        raise ConfigError("the scripted provider has no scenario", hint="add --scenario PATH")
    load_scenario(folder / Path(scenario).expanduser())


def vendor_of(provider: str | None) -> VendorName | None:
    """Return a provider as one of the vendors that we know, None for a plugin's."""
    return None if provider is None else _VENDORS.get(provider)


def unknown_model(settings: Settings, env: Mapping[str, str]) -> str | None:
    """Return that no model of its vendor has the name, with near ones; None if one may have it."""
    if settings.model in settings.models or other_address(settings, env):
        return None
    now_ms = SystemClock().now_ms()
    return doubt_about_name(settings.model, settings.provider.name, now_ms=now_ms)


def check_name(name: str) -> str:
    """Return a name that an Expert may have.

    Raises:
        UsageError: it is none.
    """
    from perstack.config.creator import CREATOR

    fits = limits.EXPERT_NAME.fullmatch(name) and len(name) <= limits.NAME_LENGTH
    if not fits or name == CREATOR:
        taken = "the program's own" if name == CREATOR else "not an Expert's name"
        raise UsageError(
            f"{name[:80]!a} is {taken}",
            hint="use lower-case letters, digits, '-' and '_', beginning with a letter or digit; "
            "@organisation/ may stand before it",
        )
    return name


def _ask_runtime(found: Found) -> RuntimeName:
    rows: dict[RuntimeName, str] = {"perstack": "built in"}
    rows |= {one.name: one.version or "" for one in found.programs}
    return _ask_one("What is to execute Experts?", rows, "runtime")


def _ask_vendor(found: Found) -> VendorName:
    local: tuple[VendorName, ...] = ("ollama",) if found.models else ()
    names = (*found.vendors, *local, *_ASKED_FOR)
    return _ask_one("Whose models?", {name: _state(name, found) for name in names}, "vendor")


def _ask_one(title: str, rows: Mapping[Name, str], what: str) -> Name:
    """Ask for one of `rows`, if there are several; the first is the usual one."""
    names = list(rows)
    if len(names) == 1:
        return names[0]
    said = choose(title, [*rows.items()], what=what, usual=names[0])
    return next(name for name in names if name == said)


def _state(vendor: VendorName, found: Found) -> str:
    if vendor == "ollama":
        return f"{len(found.models or ())} models on this machine"
    return "key is set" if vendor in found.vendors else ""


def _ask_model(vendor: VendorName, env: Mapping[str, str], found: Found) -> str:
    if vendor == "ollama" and found.models:
        return _ask_one("Which model?", dict.fromkeys(found.models, ""), "model")
    usual = DEFAULT_MODELS.get(vendor, "")
    while True:
        model = ask("Model", enter=usual) or usual
        if not _is_model(model):
            say("That is not a model's name.")
        elif model != usual and (doubt := _doubt(model, vendor, env)) is not None:
            # What was typed is what Enter takes now: it may be newer than what is known here.
            say(f"Note: {doubt}")
            usual = model
        else:
            return model


def _doubt(model: str, vendor: VendorName, env: Mapping[str, str]) -> str | None:
    settings = Settings(model=model, provider=ProviderSettings(name=vendor))
    own_url = bool(other_address(settings, env))
    return doubt_about_model(model, vendor, own_url=own_url) or unknown_model(settings, env)


def _vendor_named(provider: str | None) -> VendorName | None:
    if provider is None:
        return None
    vendor = vendor_of(provider_named(provider))
    if vendor is None:
        raise UsageError(unavailable_provider(provider), hint="--provider anthropic")
    return vendor


def _model_or_usual(vendor: VendorName, model: str | None) -> str:
    model = model or DEFAULT_MODELS.get(vendor, "")
    if not model:
        raise UsageError(f"{vendor} has no default model", hint="add --model NAME")
    return model


def _is_model(text: str) -> bool:
    return 1 <= len(text) <= limits.NAME_LENGTH and text.isprintable()
