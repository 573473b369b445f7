"""A job that goes on in the cockpit gets again what it was started with, and nothing more."""

from __future__ import annotations

from perstack.config.typed import Overrides
from perstack.domain.runtimes import RuntimeName, RuntimeSettings
from perstack.domain.settings import ProviderSettings, Settings
from perstack_tui.local.before import options_before


def settings(
    model: str = "m", *, runtime: RuntimeName = "perstack", given: bool = False, env: str = ""
) -> Settings:
    names = (env,) if env else ()
    return Settings(
        model=model, runtime=RuntimeSettings(name=runtime, model_given=given, env=names)
    )


def test_the_model_of_then_is_typed_only_where_the_file_has_another_now() -> None:
    assert options_before(Overrides(), settings("a"), settings("b")).model == "a"
    assert options_before(Overrides(), settings("a"), settings("a")).model is None
    typed = Overrides(model="a")
    assert options_before(typed, settings("a"), settings("a")).model == "a"


def test_a_program_is_told_no_model_that_nobody_named() -> None:
    was = settings("usual", runtime="claude-code")
    assert options_before(Overrides(), was, settings("newer")).model is None
    named = settings("named", runtime="claude-code", given=True)
    assert options_before(Overrides(), named, settings("newer")).model == "named"


def test_the_runtime_of_then_is_typed_only_where_the_file_has_another_now() -> None:
    was = settings(runtime="codex", env="OPENAI_API_KEY")
    elsewhere = options_before(Overrides(), was, settings())
    assert (elsewhere.runtime, elsewhere.pass_env) == ("codex", ("OPENAI_API_KEY",))
    # Left to the file, an Expert keeps a runtime of its own.
    assert options_before(Overrides(), was, settings(runtime="codex")).runtime is None
    assert options_before(Overrides(), settings(), settings(runtime="codex")).runtime == "perstack"


def test_a_job_that_a_container_was_around_goes_on_in_one() -> None:
    inside = RuntimeSettings(typed=True, contained=True)
    was = settings().model_copy(update={"runtime": inside})
    given = Overrides(pass_env=("NPM_TOKEN",))
    options = options_before(given, was, settings())
    assert (options.runtime, options.pass_env) == ("docker", ("NPM_TOKEN",))
    assert options_before(given, was, settings(runtime="docker")).runtime is None


def test_a_script_is_played_on() -> None:
    provider = ProviderSettings(name="scripted", scenario="s.toml", pace=0.5)
    was = settings().model_copy(update={"provider": provider})
    options = options_before(Overrides(), was, settings())
    assert (options.provider, options.scenario, options.pace) == ("scripted", "s.toml", 0.5)
    assert options.model is None
