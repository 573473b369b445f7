"""What containers are made of: images, the compose file, the proxy's rules and lists."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from perstack.domain.runtimes import DockerSettings
from perstack.errors import ConfigError
from perstack.runtimes.docker import proxy
from perstack.runtimes.docker.compose import Layout, check_folder, check_place, compose_file
from perstack.runtimes.docker.images import Images, dockerfile
from perstack.runtimes.docker.sources import (
    copy_sources,
    digest_of_sources,
    pinned_requirements,
)


def layout(**update: Any) -> Layout:
    given: dict[str, Any] = {
        "project": "perstack-x",
        "labels": {"perstack.project": "perstack-x"},
        "images": Images("perstack-runtime:1", "perstack-proxy:1"),
        "settings": DockerSettings(memory=512, cpus=1.5, pids=99),
        "workspace": Path("/home/me/work"),
        "user": (1000, 1001),
        "variables": ("ANTHROPIC_API_KEY",),
        "mounts": {"/perstack/order.json": Path("/tmp/x/order.json")},
        "lists": {"allowed_domains.txt": Path("/tmp/x/proxy/allowed_domains.txt")},
    }
    return Layout(**(given | update))


def written(made: Layout) -> Any:
    return json.loads(compose_file(made))


def test_the_runtime_has_no_rights_no_way_out_and_bounded_means() -> None:
    runtime = written(layout())["services"]["runtime"]
    assert runtime["cap_drop"] == ["ALL"]
    assert runtime["security_opt"] == ["no-new-privileges:true"]
    assert runtime["read_only"] is True
    assert runtime["user"] == "1000:1001"
    assert (runtime["mem_limit"], runtime["cpus"], runtime["pids_limit"]) == ("512m", 1.5, 99)
    assert runtime["memswap_limit"] == runtime["mem_limit"]
    assert runtime["dns"] == ["127.0.0.1"]
    assert list(runtime["networks"]) == ["inside"]
    assert runtime["depends_on"] == {"proxy": {"condition": "service_healthy"}}
    sizes = {place.split(":")[0]: place.split(":")[1].split(",")[0] for place in runtime["tmpfs"]}
    assert sizes == {
        "/tmp": "size=256m",
        "/home/perstack/.npm": "size=512m",
        "/home/perstack/.cache": "size=256m",
    }


def test_only_the_workspace_can_be_written_to_and_nothing_else_of_the_host_is_there() -> None:
    services = written(layout())["services"]
    binds = {bind["target"]: bind for bind in services["runtime"]["volumes"]}
    assert set(binds) == {"/workspace", "/perstack/order.json"}
    assert binds["/workspace"]["source"] == "/home/me/work"
    assert [target for target, bind in binds.items() if not bind["read_only"]] == ["/workspace"]
    assert all(bind["read_only"] for bind in services["proxy"]["volumes"])


def test_the_inner_network_leads_nowhere_and_only_the_proxy_is_on_the_outer_one() -> None:
    made = written(layout())
    inside = made["networks"]["inside"]
    assert inside["internal"] is True
    assert inside["driver_opts"] == {"com.docker.network.bridge.inhibit_ipv4": "true"}
    assert set(made["services"]["proxy"]["networks"]) == {"inside", "outside"}


def test_variables_stand_in_the_file_without_their_values() -> None:
    environment = written(layout())["services"]["runtime"]["environment"]
    assert "ANTHROPIC_API_KEY" in environment
    assert "HTTPS_PROXY=http://proxy:3128" in environment
    assert "https_proxy=http://proxy:3128" in environment


def test_the_folder_of_a_forked_job_is_there_at_its_own_place() -> None:
    made = written(layout(folders=(Path("/home/me/fork"),)))
    binds = {bind["target"]: bind for bind in made["services"]["runtime"]["volumes"]}
    assert binds["/home/me/fork"]["source"] == "/home/me/fork"
    assert binds["/home/me/fork"]["read_only"] is False


def test_podman_is_spared_what_only_docker_knows() -> None:
    made = written(layout(podman=True))
    assert "driver_opts" not in made["networks"]["inside"]
    assert made["services"]["runtime"]["userns_mode"] == "keep-id"


def test_no_text_of_ours_is_a_variable_for_compose() -> None:
    made = compose_file(layout(labels={"perstack.host": "a$HOME-b"}))
    assert "a$$HOME-b" in made


@pytest.mark.parametrize("bad", ["/a;b", "/a$b", "/a\nb", "/a/../b", "/a:b", "/a\x1bb"])
def test_a_folder_that_could_mean_something_else_is_refused_with_a_hint(bad: str) -> None:
    with pytest.raises(ConfigError, match="cannot be given to a container") as raised:
        check_place(Path(bad))
    assert raised.value.hint


@pytest.mark.parametrize("good", ["/home/me/my work", "/a/b..c", "/päth/x_1-2"])
def test_other_folders_are_taken(good: str) -> None:
    check_place(Path(good))


@pytest.mark.parametrize("own", [".", "..", ".ssh", "work/.git", "/", "/etc/x", "/usr", "link"])
def test_a_history_gets_no_folder_that_is_no_projects(tmp_path: Path, own: str) -> None:
    home = tmp_path / "people" / "ana"
    home.mkdir(parents=True)
    (home / "link").symlink_to(home / ".ssh")
    with pytest.raises(ConfigError, match="no container is given") as refused:
        check_folder(home / own, {"HOME": str(home)})
    assert refused.value.hint


def test_a_fork_gets_its_folder(tmp_path: Path) -> None:
    check_folder(tmp_path / "work-fork-1", {"HOME": str(tmp_path)})
    check_folder(tmp_path / "work-fork-1", {"HOME": str(tmp_path / "ana")})


def test_squid_judges_method_port_name_and_address_in_that_order() -> None:
    rules = [line for line in proxy.squid_conf().splitlines() if line.startswith("http_access")]
    assert rules == [
        "http_access deny !CONNECT",
        "http_access deny !tls",
        "http_access deny !listed !below",
        "http_access deny private",
        "http_access allow CONNECT listed",
        "http_access allow CONNECT below",
        "http_access deny all",
    ]


@pytest.mark.parametrize(
    "network",
    [
        *("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"),
        *("100.64.0.0/10", "::1/128", "fe80::/10", "fc00::/7", "64:ff9b::/96", "2002::/16"),
    ],
)
def test_squid_refuses_private_addresses_of_both_families(network: str) -> None:
    private = [line for line in proxy.squid_conf().splitlines() if "acl private dst" in line]
    assert network in " ".join(private).split()


def test_squid_asks_no_name_server_for_the_name_of_an_address() -> None:
    lists = [line for line in proxy.squid_conf().splitlines() if " dstdom" in line]
    assert len(lists) == 2
    assert all(" -n " in line for line in lists)


def test_lists_tell_names_from_what_is_below_them() -> None:
    made = proxy.lists(["API.Example.com", "api.example.com.", "*.wild.example"])
    assert made["allowed_domains.txt"] == "api.example.com\n"
    assert made["allowed_subdomains.txt"] == "^[a-z0-9._-]+\\.wild\\.example$\n"
    assert proxy.lists([])["allowed_domains.txt"] == "nothing.invalid\n"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("TCP_TUNNEL 200 CONNECT a.example:443 203.0.113.1", "allowed a.example:443"),
        ("TCP_TUNNEL 503 CONNECT a.example:443 -", "failed a.example:443"),
        ("NONE_NONE 000 - error:transaction-end-before-headers -", None),
        ("WARNING: something else", None),
    ],
)
def test_the_proxys_log_is_understood(line: str, says: str | None) -> None:
    found = proxy.decision(line)
    assert (None if found is None else str(found)) == says


def test_the_proxys_log_tells_why_something_is_blocked() -> None:
    named = proxy.decision("TCP_DENIED 403 CONNECT evil.example:443 -")
    assert named is not None
    assert str(named).startswith("blocked evil.example:443 (Domain not in allowlist")
    assert (named.action, named.domain, named.port) == ("blocked", "evil.example", 443)
    plain = proxy.decision("TCP_DENIED 403 GET http://a.example/ -")
    assert plain is not None
    assert str(plain) == "blocked http://a.example/ (only HTTPS is let through)"
    assert (plain.domain, plain.port) == ("a.example", None)


def test_the_image_fetches_node_and_uv_only_where_they_are_wanted_and_missing() -> None:
    plain = dockerfile("base:1", arguments=("PIP_INDEX_URL",), node=False, uv=False)
    assert plain.startswith("FROM base:1\n")
    assert 'ARG PIP_INDEX_URL=""' in plain
    assert 'ARG PIP_INSTALL_ARGS=""' in plain
    assert "node" not in plain.partition("ENTRYPOINT")[0].replace("node_modules", "node")
    full = dockerfile("base:1", arguments=(), node=True, uv=True)
    assert "COPY --from=node" in full
    assert "requirements.txt uv==" in full


def test_libraries_go_in_with_the_versions_that_are_installed_here() -> None:
    pinned = pinned_requirements()
    assert f"pydantic=={version('pydantic')}" in pinned
    assert f"anthropic=={version('anthropic')}" in pinned
    assert not any(line.startswith(("textual==", "pytest==", "perstack==")) for line in pinned)
    assert len(pinned) == len(set(pinned))


def test_our_own_modules_go_in_whole_and_have_one_digest(tmp_path: Path) -> None:
    copy_sources(tmp_path)
    assert (tmp_path / "perstack" / "cli" / "contained.py").is_file()
    assert (tmp_path / "perstack" / "config" / "models.data.toml").is_file()
    assert not list(tmp_path.rglob("*.pyc"))
    assert digest_of_sources() == digest_of_sources()
