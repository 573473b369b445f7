"""Announcements to a real webhook on loopback."""

from __future__ import annotations

import logging
from collections.abc import Generator
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perstack.domain.coordination import SlackSettings
from perstack.integrations.slack import WAITING, SlackAnnouncer
from perstack.integrations.slack_text import MOST, is_wanted, mrkdwn_of
from perstack.ports.announcements import Announcement, AnnouncementKind
from tests.fakes.consensus import until
from tests.fakes.webhook import Webhook, webhook

pytestmark = pytest.mark.anyio

SPAWNED: Final = Announcement("agent_spawned", "coder-1", (("Type", "coder"),))
FAILED: Final = Announcement("agent_error", "coder-1", text="the disk is full")
FLAGS: Final[dict[str, set[AnnouncementKind]]] = {
    "notify_on_agent_spawn": {"agent_spawned", "agent_stopped"},
    "notify_on_errors": {"agent_error", "workflow_error", "task_failed"},
    "notify_on_workflow_complete": {"workflow_started", "workflow_completed", "task_completed"},
    "notify_on_review_loop": {"review_started", "review_approved", "review_completed"},
    "notify_on_resource_warning": {"resource_warning"},
    "notify_on_resource_intervention": {"resource_intervention", "resource_termination"},
}
OWN: Final[set[AnnouncementKind]] = {"info", "success", "warning", "error"}
KINDS: Final[set[AnnouncementKind]] = {*OWN, *(kind for kinds in FLAGS.values() for kind in kinds)}


def unchanged(text: str) -> str:
    return text


@pytest.fixture
def channel() -> Generator[Webhook]:
    with webhook() as received:
        yield received


def announcer(url: str, *, bound_s: float = 5.0, **settings: object) -> SlackAnnouncer:
    values = {"enabled": True, "webhook_url": "${SLACK_URL}", **settings}
    return SlackAnnouncer(
        SlackSettings.model_validate(values),
        env={"SLACK_URL": url},
        redact=lambda text: text.replace("hunter2hunter2", "[redacted]"),
        bound_s=bound_s,
    )


async def test_a_message_has_slacks_shape(channel: Webhook) -> None:
    slack = announcer(f"{channel.url}/services/T/B/x", channel="#ops")
    async with slack.open():
        slack.announce(FAILED)
    assert channel.paths == ["/services/T/B/x"]
    text = ":x: *Agent failed* coder-1\n> the disk is full"
    assert channel.bodies == [
        {
            "blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": text}}],
            "username": "AgentStack Bot",
            "icon_emoji": ":robot_face:",
            "channel": "#ops",
        }
    ]


async def test_announcements_keep_their_order_and_are_all_sent_at_the_end(
    channel: Webhook,
) -> None:
    slack = announcer(channel.url)
    async with slack.open():
        for n in range(20):
            slack.announce(Announcement("info", f"number {n}"))
    told = [str(body) for body in channel.bodies]
    assert [f"number {n}'" in text for n, text in enumerate(told)] == [True] * 20


@pytest.mark.parametrize("flag", sorted(FLAGS))
def test_each_flag_gates_its_kinds_alone(flag: str) -> None:
    all_on = dict.fromkeys(FLAGS, True)
    off = SlackSettings.model_validate({**all_on, "enabled": True, flag: False})
    assert {kind for kind in KINDS if not is_wanted(kind, off)} == FLAGS[flag]


def test_without_enabled_nothing_is_wanted() -> None:
    assert not any(is_wanted(kind, SlackSettings()) for kind in KINDS)


async def test_spawns_are_not_told_unless_asked_for(channel: Webhook) -> None:
    quiet = announcer(channel.url)
    async with quiet.open():
        quiet.announce(SPAWNED)
    assert channel.bodies == []
    loud = announcer(channel.url, notify_on_agent_spawn=True)
    async with loud.open():
        loud.announce(SPAWNED)
    assert len(channel.bodies) == 1


async def test_before_and_after_it_is_open_nothing_is_told_and_nothing_raised(
    channel: Webhook,
) -> None:
    slack = announcer(channel.url)
    slack.announce(FAILED)
    async with slack.open():
        pass
    slack.announce(FAILED)
    assert channel.bodies == []


@pytest.mark.parametrize("status", [302, 404, 429, 500])
async def test_a_refusal_is_logged_without_the_url(
    channel: Webhook, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    channel.status, channel.location = status, f"{channel.url}/elsewhere"
    slack = announcer(f"{channel.url}/services/secret-path")
    async with slack.open():
        slack.announce(FAILED)
    assert f"the slack webhook at 127.0.0.1 answered {status}" in caplog.text
    assert channel.paths == ["/services/secret-path"]
    assert "secret-path" not in caplog.text


async def test_a_channel_that_is_gone_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    slack = announcer("http://127.0.0.1:9/services/secret-path")
    async with slack.open():
        slack.announce(FAILED)
    assert "could not be reached" in caplog.text
    assert "secret-path" not in caplog.text


async def test_a_channel_that_never_answers_holds_nobody_up(
    channel: Webhook, caplog: pytest.LogCaptureFixture
) -> None:
    channel.answering.clear()
    slack = announcer(channel.url, bound_s=0.2)
    async with slack.open():
        slack.announce(FAILED)
        await until(lambda: len(channel.bodies) == 1)
        for _ in range(WAITING + 50):
            slack.announce(FAILED)
        await until(lambda: "did not answer in 0.2 s" in caplog.text)
    assert "slack is slow: an announcement (agent_error) was dropped" in caplog.text


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "its webhookUrl is empty"),
        ("http://hooks.example.com/services/secret-path", "must be https"),
        ("file:///etc/passwd", "must be a URL"),
        ("https://user:secret-path@example.com/", "must not hold a user name"),
    ],
)
async def test_an_address_that_cannot_be_used_is_said_and_not_shown(
    url: str, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    slack = announcer(url)
    async with slack.open():
        slack.announce(FAILED)
    assert why in caplog.text
    assert "secret-path" not in caplog.text


async def test_a_switched_off_channel_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "perstack")
    slack = announcer("", enabled=False)
    async with slack.open():
        slack.announce(FAILED)
    assert caplog.text == ""


async def test_secrets_are_taken_out_of_texts(channel: Webhook) -> None:
    slack = announcer(channel.url)
    async with slack.open():
        slack.announce(
            Announcement(
                "task_failed",
                "hunter2hunter2",
                (("hunter2hunter2", "hunter2hunter2"),),
                "key hunter2hunter2 refused",
            )
        )
    assert "hunter2" not in str(channel.bodies)
    assert str(channel.bodies).count("[redacted]") == 4


def test_text_mentions_nobody_and_links_nowhere() -> None:
    said = Announcement("error", "<!channel> <@U1> & co", text="<http://evil|bank>\x1b[31m")
    told = mrkdwn_of(said, unchanged)
    assert "<" not in told
    assert "&lt;!channel&gt; &lt;@U1&gt; &amp; co" in told
    assert "\x1b" not in told


@given(
    st.sampled_from(sorted(KINDS)),
    st.text(),
    st.lists(st.tuples(st.text(), st.text(max_size=2_000)), max_size=30),
    st.none() | st.text(max_size=10_000),
)
def test_any_text_becomes_a_bounded_harmless_message(
    kind: AnnouncementKind, subject: str, details: list[tuple[str, str]], text: str | None
) -> None:
    told = mrkdwn_of(Announcement(kind, subject, tuple(details), text), unchanged)
    assert len(told) <= MOST
    assert "<" not in told
    told.encode()
