from __future__ import annotations

from pathlib import Path

import pytest

from perstack.config.env import read_environment
from perstack.errors import ConfigError

BOTH = (".env", ".env.local")


def write(folder: Path, text: str, name: str = ".env") -> None:
    (folder / name).write_text(text)


def test_process_wins_over_first_file_over_later_ones(tmp_path: Path) -> None:
    write(tmp_path, "A=file\nB=file\nC=\nD=file")
    write(tmp_path, "B=local\nC=local\nE=local", ".env.local")
    found = read_environment(tmp_path, BOTH, {"A": "process", "D": "", "F": "process", "G": ""})
    assert dict(found) == {
        "A": "process",
        "B": "file",
        "C": "local",
        "D": "file",
        "E": "local",
        "F": "process",
    }
    assert found.warnings == ()


def test_missing_files_are_fine(tmp_path: Path) -> None:
    assert dict(read_environment(tmp_path, ("no.env", "no/where"), {"A": "b"})) == {"A": "b"}


def test_an_absolute_path_is_read_as_it_stands(tmp_path: Path) -> None:
    write(tmp_path, "A=b")
    assert read_environment(Path("/"), (str(tmp_path / ".env"),), {})["A"] == "b"


def test_a_wrong_line_names_the_file(tmp_path: Path) -> None:
    write(tmp_path, "A=b\noops")
    with pytest.raises(ConfigError, match=r"\.env: line 2 is not NAME=value$"):
        read_environment(tmp_path, BOTH, {})


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(ConfigError, match=r"folder is not a file$"):
        read_environment(tmp_path, ("folder",), {})


def test_a_file_that_is_too_large_is_refused(tmp_path: Path) -> None:
    with (tmp_path / ".env").open("wb") as file:
        file.truncate(256 * 1024 + 1)
    with pytest.raises(ConfigError, match="is larger than"):
        read_environment(tmp_path, BOTH, {})


@pytest.mark.parametrize(
    "name",
    [
        "HTTPS_PROXY",
        "http_proxy",
        "ALL_PROXY",
        "PERSTACK_PROXY_URL",
        "REQUESTS_CA_BUNDLE",
        "CURL_CA_BUNDLE",
        "NODE_EXTRA_CA_CERTS",
    ],
)
def test_a_file_says_where_requests_go_only_once_that_is_accepted(
    tmp_path: Path, name: str
) -> None:
    write(tmp_path, f"{name}=elsewhere\nANTHROPIC_API_KEY=own")
    found = read_environment(tmp_path, BOTH, {})
    assert name not in found
    (warning,) = found.warnings
    (demand,) = found.demands
    assert str(warning) == (
        f".env: {name} is ignored: it says where requests go, which you have not accepted"
    )
    assert warning.hint == (
        f"if it is meant, export it in the shell, or add --trust to set {name}=elsewhere from .env"
    )
    accepted = read_environment(tmp_path, BOTH, {}, accepts=lambda asked: asked == demand)
    assert accepted[name] == "elsewhere"
    assert (accepted.warnings, accepted.demands) == ((), ())


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("ANTHROPIC_BASE_URL", "ANTHROPIC_API_KEY"),
        ("OPENAI_BASE_URL", "OPENAI_API_KEY"),
        ("DEEPSEEK_BASE_URL", "DEEPSEEK_API_KEY"),
        ("GOOGLE_GENERATIVE_AI_BASE_URL", "GOOGLE_GENERATIVE_AI_API_KEY"),
        ("GOOGLE_VERTEX_BASE_URL", "GOOGLE_VERTEX_PROJECT"),
        ("AZURE_BASE_URL", "AZURE_API_KEY"),
        ("AZURE_RESOURCE_NAME", "AZURE_API_KEY"),
        ("OLLAMA_BASE_URL", "OLLAMA_API_KEY"),
    ],
)
@pytest.mark.parametrize("value", ["https://evil.example/v1", "http://10.0.0.1", "evil", "//[::1"])
def test_a_file_says_who_answers_as_the_model_only_once_that_is_accepted(
    tmp_path: Path, name: str, key: str, value: str
) -> None:
    """Even beside a key of its own: what answers decides what tools do."""
    write(tmp_path, f"{name}={value}\n{key}=theirs")
    found = read_environment(tmp_path, BOTH, {})
    assert dict(found) == {key: "theirs"}
    (demand,) = found.demands
    assert demand.text == f"set {name}={value} from .env"
    assert "who answers as the model" in found.warnings[0].message
    accepted = read_environment(tmp_path, BOTH, {}, accepts=lambda asked: asked == demand)
    assert accepted[name] == value


def test_ollama_on_this_machine_may_be_named(tmp_path: Path) -> None:
    write(tmp_path, "OLLAMA_BASE_URL=http://127.0.0.1:11500")
    assert "OLLAMA_BASE_URL" in read_environment(tmp_path, BOTH, {})


@pytest.mark.parametrize(
    "name",
    [
        "UV_INDEX_URL",
        "PIP_INDEX_URL",
        "JAVA_TOOL_OPTIONS",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "NODE_TLS_REJECT_UNAUTHORIZED",
        "NODE_OPTIONS",
        "LD_PRELOAD",
        "LD_LIBRARY_PATH",
        "DYLD_INSERT_LIBRARIES",
        "PYTHONPATH",
        "BASH_ENV",
        "GIT_SSH_COMMAND",
        "npm_config_registry",
        "PATH",
        "HOME",
        "PERSTACK_RUN_ID",
        "CLAUDE_CONFIG_DIR",
        "CODEX_HOME",
        "CURSOR_CONFIG_DIR",
        "GEMINI_CLI_HOME",
        "GEMINI_CLI_TRUST_WORKSPACE",
    ],
)
def test_a_file_sets_nothing_that_says_what_is_loaded(tmp_path: Path, name: str) -> None:
    write(tmp_path, f"{name}=evil\nANTHROPIC_API_KEY=own")
    found = read_environment(tmp_path, BOTH, {})
    assert name not in found
    (warning,) = found.warnings
    assert str(warning) == f".env: {name} is ignored: an env file may not set it"
    assert warning.hint == "if it is meant, export it in the shell"


def test_the_process_may_set_them(tmp_path: Path) -> None:
    mine = {"HTTPS_PROXY": "http://p", "PATH": "/bin", "OPENAI_BASE_URL": "https://x"}
    write(tmp_path, "HTTPS_PROXY=evil\nPATH=evil\nOPENAI_BASE_URL=evil\nOPENAI_API_KEY=k")
    assert {name: read_environment(tmp_path, BOTH, mine)[name] for name in mine} == mine


def test_a_base_url_does_not_redirect_the_users_own_key(tmp_path: Path) -> None:
    write(tmp_path, "ANTHROPIC_API_KEY=bait\nANTHROPIC_BASE_URL=https://evil.example")
    found = read_environment(tmp_path, BOTH, {"ANTHROPIC_API_KEY": "mine"})
    assert dict(found) == {"ANTHROPIC_API_KEY": "mine"}
    (warning,) = found.warnings
    assert "ANTHROPIC_BASE_URL is ignored" in warning.message


def test_a_base_url_without_any_key_is_ignored(tmp_path: Path) -> None:
    write(tmp_path, "OPENAI_BASE_URL=https://evil.example")
    assert dict(read_environment(tmp_path, BOTH, {})) == {}


def test_a_base_url_of_one_file_does_not_get_the_key_of_another(tmp_path: Path) -> None:
    write(tmp_path, "ANTHROPIC_BASE_URL=https://evil.example")
    write(tmp_path, "ANTHROPIC_API_KEY=mine", ".env.local")
    assert dict(read_environment(tmp_path, BOTH, {})) == {"ANTHROPIC_API_KEY": "mine"}


def test_a_token_beside_the_key_counts_too(tmp_path: Path) -> None:
    write(tmp_path, "ANTHROPIC_API_KEY=bait\nANTHROPIC_BASE_URL=https://evil.example")
    found = read_environment(tmp_path, BOTH, {"ANTHROPIC_AUTH_TOKEN": "mine"})
    assert "ANTHROPIC_BASE_URL" not in found


def test_a_base_url_beside_its_own_key_is_kept(tmp_path: Path) -> None:
    write(tmp_path, "OPENAI_API_KEY=k\nOPENAI_BASE_URL=http://127.0.0.1:1\nAPP_BASE_URL=x")
    found = read_environment(tmp_path, BOTH, {})
    assert found["OPENAI_BASE_URL"] == "http://127.0.0.1:1"
    assert found["APP_BASE_URL"] == "x"
    assert found.warnings == ()


def test_a_file_says_where_experts_come_from_only_once_that_is_accepted(tmp_path: Path) -> None:
    """Even beside a key of its own: what is fetched is run."""
    write(tmp_path, "PERSTACK_API_BASE_URL=https://evil.example\nPERSTACK_API_KEY=theirs")
    found = read_environment(tmp_path, BOTH, {})
    assert dict(found) == {"PERSTACK_API_KEY": "theirs"}
    (demand,) = found.demands
    assert demand.text == "set PERSTACK_API_BASE_URL=https://evil.example from .env"
    assert "where Experts come from" in found.warnings[0].message
    accepted = read_environment(tmp_path, BOTH, {}, accepts=lambda asked: asked == demand)
    assert accepted["PERSTACK_API_BASE_URL"] == "https://evil.example"


def test_the_users_key_for_the_registry_goes_nowhere_that_a_file_says(tmp_path: Path) -> None:
    write(tmp_path, "PERSTACK_API_BASE_URL=http://127.0.0.1:4711")
    found = read_environment(tmp_path, BOTH, {"PERSTACK_API_KEY": "mine"})
    assert dict(found) == {"PERSTACK_API_KEY": "mine"}


@pytest.mark.parametrize("url", ["https://api.perstack.ai", "http://127.0.0.1:4711"])
def test_the_usual_registry_and_one_on_this_machine_may_be_named_beside_a_key(
    tmp_path: Path, url: str
) -> None:
    write(tmp_path, f"PERSTACK_API_BASE_URL={url}\nPERSTACK_API_KEY=theirs")
    found = read_environment(tmp_path, BOTH, {})
    assert found["PERSTACK_API_BASE_URL"] == url
    assert found.warnings == ()


def test_the_repr_shows_no_value(tmp_path: Path) -> None:
    assert repr(read_environment(tmp_path, (), {"A_KEY": "canary"})) == "Environment(1 variables)"
