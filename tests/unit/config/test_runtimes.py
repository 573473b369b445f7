"""What executes Experts: the file, the command line over it, each Expert's own, and consent."""

from __future__ import annotations

from typing import get_args

import pytest

from perstack.config.definition_diff import diff_definitions, diff_experts
from perstack.config.load import LoadedConfig
from perstack.config.overrides import apply_overrides
from perstack.config.typed import Overrides
from perstack.domain.expert import Expert
from perstack.domain.ids import ExpertKey
from perstack.domain.runtimes import DockerSettings, ProgramSettings, RuntimeName
from perstack.errors import ConfigError, UsageError
from tests.unit.config.reading import read

NAMES: tuple[RuntimeName, ...] = get_args(RuntimeName)
EXPERT = '[experts."a"]\ninstruction = "Do it."\n'


def problem_of(text: str) -> str:
    with pytest.raises(ConfigError) as refused:
        read(text)
    return str(refused.value)


def asked(config: LoadedConfig) -> list[str]:
    return [demand.text for demand in config.demands()]


@pytest.mark.parametrize("name", NAMES)
def test_a_typed_runtime_wins_over_the_file_and_the_file_over_perstack(name: RuntimeName) -> None:
    assert read("").settings.runtime.name == "perstack"
    assert read(f'runtime = "{name}"').settings.runtime.name == name
    typed = apply_overrides(read('runtime = "cursor"'), Overrides(runtime=name))
    assert typed.settings.runtime.name == name
    assert apply_overrides(read(f'runtime = "{name}"'), Overrides()).settings.runtime.name == name


def test_local_is_the_older_name_of_perstack() -> None:
    assert read('runtime = "local"').settings.runtime.name == "perstack"
    typed = apply_overrides(read('runtime = "gemini"'), Overrides(runtime="local"))
    assert typed.settings.runtime.name == "perstack"


def test_how_runtimes_are_started_is_read_whole() -> None:
    settings = read(
        'runtime = "claude-code"\n'
        '[runtimes.claude-code]\ncommand = ["npx", "claude"]\nenv = ["ANTHROPIC_API_KEY"]\n'
        'permissions = "edits"\n'
        '[runtimes.docker]\nbaseImage = "a:1"\nproxyImage = "b:2"\nmemory = 512\ncpus = 0.5\n'
        'pids = 64\nallowedDomains = ["*.example.com"]\n'
    ).settings.runtime
    assert settings.programs == {
        "claude-code": ProgramSettings(
            command=("npx", "claude"), env=("ANTHROPIC_API_KEY",), permissions="edits"
        )
    }
    assert settings.docker == DockerSettings(
        base_image="a:1",
        proxy_image="b:2",
        memory=512,
        cpus=0.5,
        pids=64,
        allowed_domains=("*.example.com",),
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[runtimes.codex]\ncommand = []\n", "runtimes.codex.command"),
        ('[runtimes.codex]\ncommand = [" "]\n', "must name a program"),
        ('[runtimes.codex]\nenv = ["A=b"]\n', "runtimes.codex.env"),
        ('[runtimes.codex]\npermissions = "yolo"\n', "ask, edits, all"),
        ("[runtimes.codxe]\n", "runtimes.codxe"),
        ("[runtimes.docker]\nmemory = 0\n", "runtimes.docker.memory"),
        ('[runtimes.docker]\nallowedDomains = ["a b"]\n', "runtimes.docker.allowedDomains"),
        ('[experts."a"]\ninstruction = "x"\nruntime = "docker"\n', "experts.a.runtime"),
    ],
)
def test_a_mistake_about_runtimes_is_refused_by_key(text: str, said: str) -> None:
    assert said in problem_of(text)


def test_a_variable_is_named_and_never_given_a_value() -> None:
    with pytest.raises(UsageError) as refused:
        apply_overrides(read(""), Overrides(pass_env=("NPM_TOKEN=abc",)))
    assert "is not the name of a variable" in refused.value.message
    runtime = apply_overrides(read(""), Overrides(pass_env=("NPM_TOKEN",))).settings.runtime
    assert runtime.program("gemini").env == ("NPM_TOKEN",)


def test_an_expert_has_a_runtime_of_its_own_unless_one_is_typed() -> None:
    config = read(EXPERT + 'runtime = "claude-code"\n')
    assert config.experts[ExpertKey("a")].runtime == "claude-code"
    typed = apply_overrides(config, Overrides(runtime="perstack"))
    assert typed.experts[ExpertKey("a")].runtime is None


# ---------------------------------------------------------------- consent


def test_a_found_file_asks_before_it_has_a_program_started() -> None:
    assert asked(read("")) == []
    assert asked(read('runtime = "claude-code"')) == ["start claude-code to run Experts"]
    assert asked(read(EXPERT + 'runtime = "codex"\n')) == [
        "start codex to run Experts, and let it edit files unasked"
    ]


def test_a_found_file_asks_for_command_variables_and_what_is_done_unasked() -> None:
    says = '[runtimes.gemini]\ncommand = ["./g", "a b"]\nenv = ["TOKEN"]\npermissions = "all"\n'
    expected = 'start ./g "a b" with TOKEN to run Experts, and let it do anything unasked'
    assert asked(read(says)) == [expected]
    milder = asked(read(says.replace('"all"', '"edits"')))
    assert milder == [expected.replace("do anything", "edit files")]


def test_a_typed_runtime_asks_for_nothing_but_what_the_file_says_of_it_still_does() -> None:
    found = read('runtime = "claude-code"')
    assert asked(apply_overrides(found, Overrides(runtime="claude-code"))) == []
    assert asked(apply_overrides(read(""), Overrides(runtime="codex"))) == []
    says = read('[runtimes.codex]\ncommand = ["./evil"]\n')
    assert asked(apply_overrides(says, Overrides(runtime="codex"))) == [
        "start ./evil to run Experts, and let it edit files unasked"
    ]


def test_nothing_is_said_about_a_program_that_may_do_no_more_than_is_usual() -> None:
    asks = read('runtime = "codex"\n[runtimes.codex]\npermissions = "ask"\n')
    assert asked(asks) == ["start codex to run Experts"]


def test_what_containers_are_made_of_and_may_reach_is_asked_for() -> None:
    assert asked(read('runtime = "docker"')) == []
    config = read('[runtimes.docker]\nallowedDomains = ["example.com"]\nbaseImage = "evil:1"\n')
    assert asked(config) == ["let containers reach example.com", "start containers made of evil:1"]


# ---------------------------------------------------------------- what a definition became


def expert_of(text: str) -> Expert:
    return read(text).experts[ExpertKey("a")]


def test_that_an_expert_came_to_run_elsewhere_is_told() -> None:
    plain, elsewhere = expert_of(EXPERT), expert_of(EXPERT + 'runtime = "codex"\n')
    (told,) = diff_experts(plain, elsewhere)
    assert (told.field, told.before, told.after) == ("runtime", "", "codex")
    assert told.powers == ("runs on codex, with tools of its own",)
    assert [change.powers for change in diff_experts(elsewhere, plain)] == [()]


BEFORE = """
runtime = "docker"
[runtimes.claude-code]
env = ["A"]
[runtimes.docker]
memory = 512
"""
AFTER = """
runtime = "claude-code"
model = "claude-haiku-5-5"
[runtimes.claude-code]
command = ["./other"]
env = ["A", "B"]
permissions = "all"
[runtimes.docker]
memory = 1024
baseImage = "other:1"
allowedDomains = ["example.com"]
"""


def test_what_settings_of_runtimes_came_to_allow_is_told_by_their_names_in_the_file() -> None:
    told = {one.field: one.powers for one in diff_definitions(read(BEFORE), read(AFTER)).settings}
    assert told.pop("model") == ()
    assert told == {
        "runtime": ("claude-code runs Experts, with tools of its own",),
        "runtimes.claude-code.command": ("starts another program",),
        "runtimes.claude-code.env": ("is given B",),
        "runtimes.claude-code.permissions": ("does anything unasked",),
        "runtimes.docker.memory": ("limit raised",),
        "runtimes.docker.baseImage": ("containers are made of another image",),
        "runtimes.docker.allowedDomains": ("containers reach example.com",),
    }


def test_what_settings_of_runtimes_take_away_is_no_power() -> None:
    back = diff_definitions(read(AFTER), read(BEFORE)).settings
    gained = {power for one in back for power in one.powers}
    assert gained == {"starts another program", "containers are made of another image"}


def test_leaving_the_container_is_a_power() -> None:
    (told,) = diff_definitions(read('runtime = "docker"'), read("")).settings
    assert told.powers == ("Experts are no longer shut in a container",)
