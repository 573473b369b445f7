"""When a vendor is left alone, for how long, and who tries whether it is back."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perstack.domain.ids import ExpertKey, RunId
from perstack.errors import ProviderError
from perstack.ports.model import Generation, ModelRequest, Spoken
from perstack.providers.breaker import ANSWERS, FAILURES, Breaker, Breakers, Outcome
from perstack.providers.guarded import GuardedModel, is_vendors_fault
from tests.fakes.engine import FakeModel, says

pytestmark = pytest.mark.anyio

REQUEST = ModelRequest(run_id=RunId("r"), expert_key=ExpertKey("e"), messages=(), tools=())
DOWN = ProviderError("the vendor is down (HTTP 529)", retryable=True, status=529)


@dataclass
class Watch:
    """A clock that is turned by hand."""

    s: float = 1000.0

    def __call__(self) -> float:
        return self.s


@dataclass
class Rig:
    """A breaker and its clock."""

    watch: Watch = field(default_factory=Watch)

    def __post_init__(self) -> None:
        self.breaker = Breaker("some-model of a vendor", now_s=self.watch)

    async def ask(self, outcome: Outcome, reason: str = "HTTP 529") -> None:
        self.breaker.leave(await self.breaker.enter(), outcome, reason)

    async def fail(self, times: int) -> None:
        for _ in range(times):
            await self.ask("failed")

    async def ask_many(self, *outcomes: Outcome) -> None:
        for outcome in outcomes:
            await self.ask(outcome)


@pytest.fixture
def rig() -> Rig:
    return Rig()


async def test_agentstack_row_150_five_failures_open_it_a_minute_half_opens_it_two_answers_close_it(
    rig: Rig,
) -> None:
    await rig.fail(4)
    assert rig.breaker.state == "closed"
    await rig.ask("failed")
    assert rig.breaker.state == "open"
    rig.watch.s += 59.9
    assert rig.breaker.state == "open"
    rig.watch.s += 0.2
    assert rig.breaker.state == "half open"
    await rig.ask("answered")
    assert rig.breaker.state == "half open"
    await rig.ask("answered")
    assert rig.breaker.state == "closed"


async def test_an_answer_in_between_begins_the_count_anew(rig: Rig) -> None:
    await rig.fail(4)
    await rig.ask("answered")
    await rig.fail(4)
    assert rig.breaker.state == "closed"


async def test_open_it_refuses_at_once_and_says_why_and_for_how_long(rig: Rig) -> None:
    await rig.fail(5)
    rig.watch.s += 18
    with pytest.raises(ProviderError, match="some-model of a vendor keeps failing") as caught:
        await rig.breaker.enter()
    assert "another 42 s; the last time: HTTP 529" in caught.value.message
    assert caught.value.retryable
    assert caught.value.retry_after_s == pytest.approx(42)


async def test_each_failed_trial_doubles_the_pause_up_to_five_minutes(rig: Rig) -> None:
    await rig.fail(5)
    pauses: list[float | None] = []
    for _ in range(5):
        with pytest.raises(ProviderError) as caught:
            await rig.breaker.enter()
        pauses.append(caught.value.retry_after_s)
        rig.watch.s += caught.value.retry_after_s or 0
        await rig.ask("failed")
    assert pauses == [60, 120, 240, 300, 300]


async def test_once_closed_again_the_pause_is_the_first_one(rig: Rig) -> None:
    await rig.fail(5)
    rig.watch.s += 60
    await rig.ask("failed")
    rig.watch.s += 120
    await rig.ask_many("answered", "answered")
    await rig.fail(5)
    with pytest.raises(ProviderError) as caught:
        await rig.breaker.enter()
    assert caught.value.retry_after_s == 60


async def test_half_open_one_tries_while_the_others_wait_for_how_it_ends(rig: Rig) -> None:
    await rig.fail(5)
    rig.watch.s += 60
    trial = await rig.breaker.enter()
    entered: list[int] = []
    refused: list[int] = []

    async def wait(number: int) -> None:
        try:
            await rig.breaker.enter()
        except ProviderError:
            refused.append(number)
        else:
            entered.append(number)

    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            for number in range(8):
                group.start_soon(wait, number)
            await anyio.wait_all_tasks_blocked()
            assert (entered, refused) == ([], [])
            rig.breaker.leave(trial, "failed")
    assert entered == []
    assert len(refused) == 8


async def test_after_a_good_trial_the_next_one_tries_and_then_all_go_on(rig: Rig) -> None:
    await rig.fail(5)
    rig.watch.s += 60
    busy = most = 0

    async def ask() -> None:
        nonlocal busy, most
        permit = await rig.breaker.enter()
        busy += rig.breaker.state == "half open"
        most = max(most, busy)
        await anyio.lowlevel.checkpoint()
        busy -= rig.breaker.state == "half open"
        rig.breaker.leave(permit, "answered")

    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(ask)
    assert rig.breaker.state == "closed"
    assert most == 1


async def test_a_trial_that_was_given_up_leaves_its_place_to_the_next(rig: Rig) -> None:
    await rig.fail(5)
    rig.watch.s += 60
    await rig.ask("unknown")
    assert rig.breaker.state == "half open"
    with anyio.fail_after(5):
        await rig.ask_many("answered", "answered")
    assert rig.breaker.state == "closed"


async def test_those_that_were_under_way_when_it_opened_change_nothing_as_they_end(
    rig: Rig,
) -> None:
    permits = [await rig.breaker.enter() for _ in range(20)]
    for permit in permits[:5]:
        rig.breaker.leave(permit, "failed")
    for permit in permits[5:12]:
        rig.breaker.leave(permit, "failed")
    for permit in permits[12:]:
        rig.breaker.leave(permit, "answered")
    assert rig.breaker.state == "open"
    with pytest.raises(ProviderError) as caught:
        await rig.breaker.enter()
    assert caught.value.retry_after_s == 60


@given(st.lists(st.sampled_from(["failed", "answered", "unknown", "wait"]), max_size=60))
async def test_it_is_open_exactly_after_five_failures_in_a_row_or_a_failed_trial(
    happened: list[str],
) -> None:
    rig = Rig()
    state, failures, answers = "closed", 0, 0
    for what in happened:
        if what == "wait":
            rig.watch.s += 300
            state = "half open" if state == "open" else state
        elif state == "open":
            with pytest.raises(ProviderError):
                await rig.breaker.enter()
        else:
            rig.breaker.leave(await rig.breaker.enter(), _outcome(what))
            failures = failures + 1 if what == "failed" else 0 if what == "answered" else failures
            answers = answers + 1 if what == "answered" else answers
            if what == "failed" and (state == "half open" or failures >= FAILURES):
                state, failures, answers = "open", 0, 0
            elif state == "half open" and answers >= ANSWERS:
                state, answers = "closed", 0
            elif state == "closed":
                answers = 0
        assert rig.breaker.state == state


def _outcome(what: str) -> Outcome:
    return "failed" if what == "failed" else "answered" if what == "answered" else "unknown"


# ---------------------------------------------------------------- around a model


async def drink(model: GuardedModel) -> list[Spoken | Generation]:
    async with aclosing(model.stream(REQUEST)) as pieces:
        return [piece async for piece in pieces]


def guarded(
    reply: Callable[[], Generation | Exception], watch: Watch
) -> tuple[FakeModel, GuardedModel]:
    inner = FakeModel(lambda _, __: reply())
    return inner, GuardedModel(inner, Breaker("m", now_s=watch), timeout_s=300)


async def test_a_vendor_that_is_down_is_asked_five_times_and_then_no_more() -> None:
    inner, model = guarded(lambda: DOWN, Watch())
    for _ in range(30):
        with pytest.raises(ProviderError):
            await drink(model)
    assert len(inner.requests) == 5


@pytest.mark.parametrize("status", [400, 401, 404, 409, 413, 429])
async def test_what_the_request_is_to_blame_for_never_opens_it(status: int) -> None:
    refusal = ProviderError("no", retryable=status in {409, 429}, status=status)
    inner, model = guarded(lambda: refusal, Watch())
    for _ in range(12):
        with pytest.raises(ProviderError):
            await drink(model)
    assert len(inner.requests) == 12


@pytest.mark.parametrize("status", [None, 408, 500, 502, 503, 504, 529])
def test_broken_connections_timeouts_and_5xx_are_the_vendors_fault(status: int | None) -> None:
    assert is_vendors_fault(ProviderError("down", retryable=True, status=status))


def test_an_answer_that_asking_again_does_not_mend_is_not_the_vendors_fault() -> None:
    assert not is_vendors_fault(ProviderError("the scenario has nothing"))


async def test_an_answer_passes_through_piece_by_piece() -> None:
    _, model = guarded(lambda: says("hello"), Watch())
    pieces = await drink(model)
    assert pieces[0] == Spoken("text", "hello")
    assert isinstance(pieces[-1], Generation)


class Silent(FakeModel):
    """A vendor that takes the request and never says anything."""

    async def stream(self, request: ModelRequest) -> AsyncGenerator[Spoken | Generation, None]:
        self.requests.append(request)
        await anyio.sleep_forever()
        yield Spoken("text", "")


@pytest.mark.parametrize(("took_s", "state"), [(300, "open"), (2, "closed")])
async def test_silence_counts_when_it_lasted_until_the_timeout_not_when_the_user_stopped(
    took_s: float, state: str
) -> None:
    watch = Watch()
    breaker = Breaker("m", now_s=watch)
    model = GuardedModel(Silent(lambda _, __: DOWN), breaker, timeout_s=300)
    for _ in range(5):
        async with anyio.create_task_group() as group:
            group.start_soon(drink, model)
            await anyio.wait_all_tasks_blocked()
            watch.s += took_s
            group.cancel_scope.cancel()
    assert breaker.state == state


def test_a_process_has_one_breaker_for_each_provider_address_and_model() -> None:
    breakers = Breakers()
    first = breakers.of("anthropic", "", "claude-sonnet-5-5")
    assert breakers.of("anthropic", "", "claude-sonnet-5-5") is first
    assert breakers.of("anthropic", "", "claude-opus-5-5") is not first
    assert breakers.of("anthropic", "http://127.0.0.1:1", "claude-sonnet-5-5") is not first
    assert breakers.of("openai", "", "claude-sonnet-5-5") is not first
