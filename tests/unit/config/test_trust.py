"""What a found configuration asks for, and what was accepted of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perstack.config.load import parse_config
from perstack.config.overrides import apply_overrides
from perstack.config.trust import (
    Acceptances,
    Trust,
    acceptances,
    demands_of,
    variable_demand,
)
from perstack.config.typed import Overrides
from perstack.config.untrusted import Demand, UntrustedError
from perstack.domain.coordination import CoordinationSettings, ServerSettings
from perstack.domain.expert import Expert, McpHttpSkill, McpStdioSkill, SkillSpec
from perstack.domain.ids import ExpertKey
from perstack.domain.settings import NotifySettings, ProviderSettings, Settings
from perstack.errors import StorageError

START = Demand("command", "start npx -y server")


def expert(**skills: SkillSpec) -> Expert:
    return Expert(key=ExpertKey("one"), name="one", instruction="x", skills=skills)


def texts(settings: Settings | None = None, **skills: SkillSpec) -> list[str]:
    return [demand.text for demand in demands_of([expert(**skills)], settings or Settings())]


def test_an_expert_with_its_own_tools_alone_asks_for_nothing() -> None:
    assert texts() == []


def test_a_command_is_shown_whole_with_the_variables_it_gets() -> None:
    skill = McpStdioSkill(command="npx", args=("-y", "some server"), required_env=("TOKEN", "KEY"))
    assert texts(files=skill) == ['start npx -y "some server" with KEY, TOKEN']


def test_what_a_server_far_away_is_sent_is_shown() -> None:
    skill = McpHttpSkill(endpoint="https://mcp.example/x", bearer_token_env="MCP_TOKEN")
    assert texts(far=skill) == ["connect to https://mcp.example/x with MCP_TOKEN"]


def test_what_may_be_a_secret_in_an_address_is_not_shown_but_told_apart() -> None:
    one, other = (
        texts(far=McpHttpSkill(endpoint=f"https://mcp.example/x?key=canary-{key}")) for key in "ab"
    )
    assert one != other
    assert [text.partition("… (")[0] for text in one] == ["connect to https://mcp.example/x?"]
    hook = Settings(notify=NotifySettings(webhook="https://hooks.example/canary/1"))
    assert "canary" not in str([one, other, texts(hook)])


def test_that_a_server_may_use_the_model_unasked_is_shown() -> None:
    started = McpStdioSkill(command="a", args=("b",), sampling="allow")
    assert texts(s=started) == ["start a b, and let it ask your model unasked"]
    far = McpHttpSkill(endpoint="https://mcp.example/x", bearer_token_env="T", sampling="allow")
    assert texts(s=far) == [
        "connect to https://mcp.example/x with T, and let it ask your model unasked"
    ]


def test_that_an_address_may_be_private_is_shown() -> None:
    skill = McpHttpSkill(endpoint="https://mcp.example/x", allow_private=True)
    assert texts(s=skill) == [
        "connect to https://mcp.example/x (which may be this machine or in a private network)"
    ]


@pytest.mark.parametrize(
    ("settings", "shown"),
    [
        (
            Settings(provider=ProviderSettings(base_url="https://evil.example/v1")),
            "send your anthropic key to https://evil.example/v1",
        ),
        (
            Settings(provider=ProviderSettings(name="azure-openai", resource_name="theirs")),
            "send your azure-openai key to the Azure resource theirs",
        ),
        (
            Settings(provider=ProviderSettings(headers={"X-Api-Key": "theirs", "X-Team": "a"})),
            "send its own X-Api-Key to anthropic with your conversations",
        ),
        (
            Settings(provider=ProviderSettings(name="scripted", scenario="evil plan.toml")),
            'do what "evil plan.toml" says, without a model',
        ),
        (Settings(notify=NotifySettings(command=("sh", "-c", "x"))), "start sh -c x"),
        (
            Settings(notify=NotifySettings(webhook="https://evil.example/h")),
            "send notices to https://evil.example/… (aaa9402664f1a41f)",
        ),
        (Settings(base_skill_command=("node", "base.js")), "start node base.js"),
    ],
)
def test_each_setting_that_leads_elsewhere_is_a_demand(settings: Settings, shown: str) -> None:
    assert texts(settings) == [shown]


def test_a_scenario_that_was_typed_is_nothing_that_the_file_asks_for() -> None:
    scripted = '[provider]\nproviderName = "scripted"\nsetting = { scenario = "theirs.toml" }\n'
    theirs = parse_config(Path("perstack.toml"), scripted.encode())
    assert [demand.kind for demand in theirs.demands()] == ["command"]
    typed = apply_overrides(theirs, Overrides(scenario="mine.toml"))
    assert typed.settings.provider.scenario == "mine.toml"
    assert typed.demands() == ()


def test_what_is_not_accepted_yet_is_listed_whole_however_long(tmp_path: Path) -> None:
    skill = McpStdioSkill(command="sh", args=("-c", "x " * 16_000 + "; evil"))
    (demand,) = demands_of([expert(s=skill)], Settings())
    assert "; evil" in UntrustedError(tmp_path / "perstack.toml", (demand,)).message


def test_only_what_the_file_itself_asks_for_is_said_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "perstack.toml"
    variable = Demand("variable", "set HTTPS_PROXY=http://proxy from .env")
    fetched = Demand("expert", "run @acme/x@1.0.0 of acme")
    said = UntrustedError(path, (variable, fetched))
    assert "was found, not named" not in said.message
    assert "An env file has not been accepted yet" in said.message
    assert "--config" not in (said.hint or "")
    assert {"--trust", "--yes"} <= set((said.hint or "").split())
    both = UntrustedError(path, (START, variable))
    assert "was found, not named" in both.message
    assert variable.text in both.message


def test_which_variable_an_env_file_would_set_is_no_part_of_what_was_accepted() -> None:
    demand = variable_demand(".env", "HTTPS_PROXY", "http://proxy")
    assert demand.variable == "HTTPS_PROXY"
    assert demand == Demand("variable", "set HTTPS_PROXY=http://proxy from .env")
    # As it stands in the records of users: another would ask all of them again.
    assert demand.digest == "5721251647ad3183afe5520284fe428fb95b33ee5e77b63db3a4d6291a779a8e"


@pytest.mark.parametrize("url", [None, "https://api.anthropic.com", "http://127.0.0.1:8080"])
def test_the_vendors_own_address_and_this_machine_are_no_demand(url: str | None) -> None:
    assert texts(Settings(provider=ProviderSettings(base_url=url))) == []


@given(st.lists(st.text(min_size=1), min_size=2), st.lists(st.text(min_size=1), min_size=2))
def test_two_commands_are_shown_alike_only_if_they_are_the_same(
    one: list[str], other: list[str]
) -> None:
    def shown(words: list[str]) -> list[str]:
        return texts(s=McpStdioSkill(command=words[0], args=tuple(words[1:])))

    assert (shown(one) == shown(other)) == (one == other)
    assert all(text.isprintable() for text in shown(one))


def test_what_was_accepted_is_asked_once_for_one_file(tmp_path: Path) -> None:
    store, config = Acceptances(tmp_path / "state"), tmp_path / "perstack.toml"
    other = Demand("command", "start npx -y other")
    assert store.lacking(config, [START, other]) == (START, other)
    store.accept(config, [START])
    assert store.lacking(config, [START, other]) == (other,)
    assert store.lacking(tmp_path / "elsewhere.toml", [START]) == (START,)


def test_another_process_reads_what_was_accepted(tmp_path: Path) -> None:
    env = {"HOME": str(tmp_path)}
    acceptances(env).accept(tmp_path / "a.toml", [START])
    assert acceptances(env).lacking(tmp_path / "a.toml", [START]) == ()


def test_the_record_is_the_users_alone(tmp_path: Path) -> None:
    Acceptances(tmp_path / "state").accept(tmp_path / "a.toml", [START])
    (file,) = (tmp_path / "state").iterdir()
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_the_record_is_never_looked_for_in_the_project(tmp_path: Path) -> None:
    acceptances({"HOME": str(tmp_path)}).accept(tmp_path / "a.toml", [START])
    env = {"HOME": str(tmp_path), "XDG_STATE_HOME": "state"}
    assert acceptances(env).lacking(tmp_path / "a.toml", [START]) == ()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"formatVersion":2,"accepted":{}}', "\x00"])
def test_a_record_that_cannot_be_understood_accepts_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "trust.json").write_text(text)
    assert Acceptances(tmp_path).lacking(tmp_path / "a.toml", [START]) == (START,)


def test_a_state_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        Acceptances(tmp_path / "file" / "perstack").accept(tmp_path / "a.toml", [START])


def test_a_named_file_may_do_what_it_says_but_not_what_its_history_says(tmp_path: Path) -> None:
    trust = Trust(Acceptances(tmp_path), tmp_path / "a.toml", named=True)
    from_history = Demand("command", "start sh -c evil")
    assert trust.lacking([START], own=[START]) == ()
    assert trust.lacking([from_history], own=[START]) == (from_history,)


def test_a_path_that_is_no_text_is_remembered_like_any_other(tmp_path: Path) -> None:
    demand = Demand("command", "start server")
    odd, other = tmp_path / "inv\udcffalid" / "perstack.toml", tmp_path / "perstack.toml"
    accepted = Acceptances(tmp_path / "state")
    accepted.accept(odd, [demand])
    assert accepted.lacking(odd, [demand]) == ()
    assert accepted.lacking(other, [demand]) == (demand,)


def test_folders_that_a_server_shows_outside_of_the_workspace_are_asked_for() -> None:
    told = ServerSettings(filesystem_roots=("docs", "/srv/data", "a/../..", "a..b"))
    settings = Settings(coordination=CoordinationSettings(server=told))
    assert texts(settings) == [
        "show /srv/data to whoever is signed in at its server",
        "show a/../.. to whoever is signed in at its server",
    ]
