"""What a job's container may reach and what it is given: of all Experts that can take part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from perstack.domain.expert import Expert, McpHttpSkill, McpStdioSkill, SkillSpec
from perstack.domain.ids import ExpertKey
from perstack.domain.runtimes import DockerSettings, RuntimeSettings
from perstack.domain.settings import ProviderSettings, Settings
from perstack.errors import ConfigError
from perstack.runtimes.docker.domains import allowed_domains, commands_of
from perstack.runtimes.docker.engine import find_engine, installed_docker, steering
from perstack.runtimes.docker.indexes import build_arguments, find_indexes
from perstack.runtimes.docker.variables import variables_for
from perstack.services.contained import taking_part

pytestmark = pytest.mark.anyio


def expert(key: str, *delegates: str, **skills: SkillSpec) -> Expert:
    return Expert(
        key=ExpertKey(key),
        name=key,
        instruction="Do.",
        skills=dict(skills),
        delegates=tuple(map(ExpertKey, delegates)),
    )


def settings(name: str = "anthropic", **provider: Any) -> Settings:
    return Settings(provider=ProviderSettings(name=name, **provider))  # pyright: ignore[reportArgumentType]


def test_everybody_whom_the_expert_can_delegate_to_takes_part() -> None:
    team = {e.key: e for e in (expert("a", "b"), expert("b", "c", "a"), expert("c"), expert("d"))}
    assert set(taking_part(team, ExpertKey("a"))) == {"a", "b", "c"}


def test_domains_of_all_skills_the_provider_and_the_settings_are_joined() -> None:
    one = McpStdioSkill(command="npx", package_name="x", allowed_domains=("one.example",))
    two = McpHttpSkill(endpoint="https://two.example/mcp", allowed_domains=("*.three.example",))
    docker = RuntimeSettings(docker=DockerSettings(allowed_domains=("four.example",)))
    given = settings().model_copy(update={"runtime": docker})
    team = [expert("a", one=one), expert("b", two=two)]
    assert allowed_domains(team, given, {}, ["index.example"]) == (
        "*.three.example",
        "api.anthropic.com",
        "four.example",
        "index.example",
        "one.example",
        "two.example",
    )
    assert "api.perstack.ai" in allowed_domains(team, given, {"PERSTACK_API_KEY": "k"}, [])


@pytest.mark.parametrize(
    ("name", "provider", "env", "host"),
    [
        ("openai", {}, {}, "api.openai.com"),
        ("google", {}, {}, "generativelanguage.googleapis.com"),
        ("deepseek", {}, {}, "api.deepseek.com"),
        ("anthropic", {"base_url": "https://own.example/v1"}, {}, "own.example"),
        ("openai", {}, {"OPENAI_BASE_URL": "https://gate.example:443/v1"}, "gate.example"),
        ("azure-openai", {}, {"AZURE_RESOURCE_NAME": "mine"}, "mine.openai.azure.com"),
        (
            "amazon-bedrock",
            {"region": "eu-west-1"},
            {},
            "bedrock-runtime.eu-west-1.amazonaws.com",
        ),
        ("google-vertex", {"location": "us-central1"}, {}, "us-central1-aiplatform.googleapis.com"),
    ],
)
def test_the_provider_is_reached_where_it_is_asked(
    name: str, provider: dict[str, str], env: dict[str, str], host: str
) -> None:
    assert host in allowed_domains([], settings(name, **provider), env, [])


@pytest.mark.parametrize("url", ["http://own.example", "https://own.example:8443/v1", "nonsense"])
def test_a_provider_that_the_proxy_lets_nobody_reach_is_refused_beforehand(url: str) -> None:
    with pytest.raises(ConfigError, match="only https on port 443"):
        allowed_domains([], settings(base_url=url), {}, [])


def test_a_model_on_this_machine_is_out_of_reach_and_that_is_said() -> None:
    with pytest.raises(ConfigError, match="cannot reach an Ollama"):
        allowed_domains([], settings("ollama"), {}, [])


def test_the_container_gets_the_keys_that_our_providers_read() -> None:
    env = {"GOOGLE_GENERATIVE_AI_API_KEY": "g", "GOOGLE_API_KEY": "x", "AZURE_API_KEY": "a"}
    assert set(variables_for([], settings("google"), env)) == {"GOOGLE_GENERATIVE_AI_API_KEY"}
    assert set(variables_for([], settings("azure-openai"), env)) == {"AZURE_API_KEY"}


def test_all_that_is_missing_is_said_at_once() -> None:
    skill = McpStdioSkill(command="x", args=("y",), required_env=("NEEDED",))
    with pytest.raises(ConfigError) as raised:
        variables_for([expert("a", one=skill)], settings(), {"UNRELATED": "1"})
    assert raised.value.message == (
        "Missing required environment variables: ANTHROPIC_API_KEY, NEEDED"
    )


def test_header_variables_and_named_ones_are_given_and_a_containers_own_are_not() -> None:
    skill = McpHttpSkill(
        endpoint="https://x.example", header_env={"X": "TOKEN_A"}, bearer_token_env="TOKEN_B"
    )
    names: tuple[str, ...] = ("TOKEN_A", "TOKEN_B", "NAMED", "ANTHROPIC_API_KEY", "PATH")
    env: dict[str, str] = dict.fromkeys(names, "v")
    asked = settings().model_copy(update={"runtime": RuntimeSettings(env=("NAMED", "PATH"))})
    given = variables_for([expert("a", one=skill)], asked, env)
    assert set(given) == {"ANTHROPIC_API_KEY", "TOKEN_A", "TOKEN_B", "NAMED"}


@pytest.mark.parametrize("name", ["DOCKER_HOST", "COMPOSE_FILE", "LD_PRELOAD", "PYTHONPATH"])
def test_nothing_that_steers_the_engine_is_taken_from_a_project(name: str) -> None:
    asked = settings("scripted").model_copy(update={"runtime": RuntimeSettings(env=(name,))})
    with pytest.raises(ConfigError, match=f"cannot be given {name}"):
        variables_for([], asked, {name: "tcp://evil.example"})


def test_the_engines_commands_get_no_keys() -> None:
    env = {"PATH": "/bin", "DOCKER_HOST": "unix:///x", "ANTHROPIC_API_KEY": "k", "LC_ALL": "C"}
    assert set(steering(env)) == {"PATH", "DOCKER_HOST", "LC_ALL"}


def test_commands_are_known_by_their_last_part() -> None:
    skill = McpStdioSkill(command="/usr/bin/npx", package_name="x")
    assert commands_of([expert("a", one=skill)]) == {"npx"}


async def test_indexes_are_those_that_the_users_own_configuration_names() -> None:
    env = {
        "npm_config_registry": "https://user:secret@npm.example/path/",
        "UV_DEFAULT_INDEX": "https://py.example/simple",
        "PIP_EXTRA_INDEX_URL": "https://more.example/simple",
    }
    found = await find_indexes(["npx", "uvx"], env)
    assert found.hosts == ("npm.example", "py.example", "more.example")
    assert found.npmrc == "registry=https://npm.example/path/\n"
    assert found.uv_toml is not None
    assert 'url = "https://py.example/simple"' in found.uv_toml
    nothing = await find_indexes(["python3"], env)
    assert (nothing.hosts, nothing.npmrc, nothing.uv_toml) == ((), None, None)


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        (
            (
                '[[index]]\nurl = "https://own.example/simple"\nname = "own"\ndefault = true\n'
                '[[index]]\nurl = "https://more.example/simple"\n'
            ),
            ("own.example", "more.example"),
        ),
        ('index-url = "https://own.example/simple"\nnative-tls = true\n', ("own.example",)),
        ("no toml", ("pip.example",)),
        ("index = 3", ("pip.example",)),
    ],
)
async def test_uvs_own_configuration_says_where_packages_come_from(
    tmp_path: Path, text: str, hosts: tuple[str, ...]
) -> None:
    pip, uv = tmp_path / ".config" / "pip" / "pip.conf", tmp_path / ".config" / "uv" / "uv.toml"
    for path, said in ((pip, "[global]\nindex-url = https://pip.example/simple\n"), (uv, text)):
        path.parent.mkdir(parents=True)
        path.write_text(said)
    found = await find_indexes(["uvx"], {"HOME": str(tmp_path)})
    assert found.hosts == hosts
    assert found.uv_toml is not None
    assert f'url = "https://{hosts[0]}/simple"' in found.uv_toml


async def test_npm_itself_is_asked_where_no_variable_says(tmp_path: Path) -> None:
    npm = tmp_path / "npm"
    npm.write_text('#!/bin/sh\n[ "$*" = "config get registry" ] && echo https://own.example/npm/\n')
    npm.chmod(0o755)
    found = await find_indexes(["npx"], {"PATH": f"{tmp_path}:/usr/bin:/bin"})
    assert found.hosts == ("own.example",)


def test_builds_are_told_the_users_indexes_but_no_password(tmp_path: Path) -> None:
    folder = tmp_path / ".config" / "pip"
    folder.mkdir(parents=True)
    (folder / "pip.conf").write_text("[global]\nindex-url = https://mine.example/simple\n")
    home = {"HOME": str(tmp_path)}
    assert build_arguments(home)["PIP_INDEX_URL"] == "https://mine.example/simple"
    env = {
        **home,
        "PIP_INDEX_URL": "https://me:secret@mine.example/simple",
        "PIP_INSTALL_ARGS": "--no-index",
        "ANTHROPIC_API_KEY": "k",
    }
    assert build_arguments(env) == {"PIP_INSTALL_ARGS": "--no-index"}


async def test_where_neither_docker_nor_podman_is_there_that_is_said(tmp_path: Path) -> None:
    found = await installed_docker(DockerSettings(), {"PATH": str(tmp_path)})
    assert (found.name, found.kind) == ("docker", "cli-not-found")
    assert found.problem == "docker was not found"
    assert found.hint
    assert found.url


def command(folder: Path, name: str, body: str) -> None:
    script = folder / name
    script.write_text(f"#!/bin/sh\n{body}\n")
    script.chmod(0o755)


async def test_podman_is_taken_where_docker_is_absent(tmp_path: Path) -> None:
    command(tmp_path, "podman", '[ "$1" = compose ] && exit 1; echo podman version 5.2.1')
    command(tmp_path, "podman-compose", "echo 1.2.0")
    found = await installed_docker(DockerSettings(), {"PATH": str(tmp_path)})
    assert (found.problem, found.version) == (None, "5.2.1 (podman)")


async def test_the_older_compose_is_taken_and_without_any_that_is_said(tmp_path: Path) -> None:
    command(tmp_path, "docker", '[ "$1" = compose ] && exit 1; echo Docker version 20.10.24, x')
    without = await find_engine({"PATH": str(tmp_path)})
    assert (
        getattr(without, "problem", None) == "neither docker compose nor docker-compose was found"
    )
    command(tmp_path, "docker-compose", "echo docker-compose version 1.29.2")
    found = await find_engine({"PATH": str(tmp_path)})
    assert getattr(found, "compose", None) == ("docker-compose",)


@pytest.mark.parametrize(
    ("name", "provider", "env"),
    [
        ("amazon-bedrock", {}, {"AWS_REGION": "x\nevil.example\ny"}),
        ("amazon-bedrock", {"region": "x y"}, {}),
        ("google-vertex", {}, {"GOOGLE_VERTEX_LOCATION": ".\n.com\n"}),
        ("azure-openai", {}, {"AZURE_RESOURCE_NAME": "evil.example\n# "}),
    ],
)
def test_no_variable_lets_a_container_reach_more_than_its_provider(
    name: str, provider: dict[str, str], env: dict[str, str]
) -> None:
    with pytest.raises(ConfigError, match="no host's name") as refused:
        allowed_domains([], settings(name, **provider), env, [])
    assert refused.value.hint
    assert "\n" not in refused.value.message


@pytest.mark.parametrize("domain", [".com", ".de", "*", "a b", 'a"b', "#a", "a/b", "a:8443", ""])
def test_what_is_no_name_is_on_no_list(domain: str) -> None:
    with pytest.raises(ConfigError, match="no host's name"):
        allowed_domains([], settings(), {}, [domain])


@pytest.mark.parametrize("domain", ["a.example", "*.a.example", "a_b.example.", "::1", "10.0.0.1"])
def test_names_and_addresses_are_on_the_list(domain: str) -> None:
    assert domain in allowed_domains([], settings(), {}, [domain])
