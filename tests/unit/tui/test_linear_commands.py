"""The screen-reader conversation's words: what is typed, what numbers mean, what is printed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from perstack.domain.ids import RunId
from perstack.projection.inert import has_hidden
from perstack_tui.linear.answering import chosen_numbers
from perstack_tui.linear.commands import (
    USAGES,
    Command,
    Refused,
    cleaned,
    help_lines,
    parse,
    subtasks_left_out,
)
from perstack_tui.linear.lists import (
    Listing,
    Numbers,
    expert_lines,
    find_job,
    find_run,
    item_line,
    job_lines,
    number_of,
    runs_to_list,
)
from perstack_tui.linear.paper import Paper
from perstack_tui.state.inbox import ItemKey, items_of
from perstack_tui.state.index import index_of
from tests.fakes.gateway import NOW, busy_view, definitions

CHOICES = ("10", "20", "2")


@given(st.text(max_size=200))
def test_any_line_is_a_command_or_refused_in_words_that_are_safe_to_print(line: str) -> None:
    match parse(line):
        case Command(verb=verb, what=what, text=text):
            assert verb in USAGES
            assert (what + text).replace(" ", "").isprintable()
        case Refused(why=why):
            assert not has_hidden(why)
            assert len(why) < 200


@given(st.sampled_from(sorted(USAGES)), st.text(max_size=40))
def test_what_follows_a_command_never_raises(verb: str, rest: str) -> None:
    found = parse(f"{verb} {rest}")
    assert isinstance(found, Refused) or found.verb == verb


def test_a_command_is_a_word_what_it_is_about_and_the_rest() -> None:
    assert parse("  start  lead  write the notes ") == Command("start", "lead", "write the notes")
    assert parse("QUIT") == Command("quit")
    assert parse("jobs") == Command("jobs")
    assert parse("approve 3 except s2, s3") == Command("approve", "3", "except s2, s3")


def test_a_word_that_is_none_is_told_with_the_nearest_one() -> None:
    assert parse("aprove 1") == Refused("There is no command aprove: did you mean approve?")
    assert parse("xyzzy") == Refused("There is no command xyzzy: help lists the commands")
    assert parse("approve") == Refused("Say which: approve N [except s2,s3]")
    assert parse("answer 2 yes") == Refused("That is more than answer takes: answer N")
    assert parse("   ") == Refused("")


def test_help_names_every_command() -> None:
    told = "\n".join(help_lines())
    assert [verb for verb in USAGES if verb not in told] == []


def test_what_no_keyboard_types_is_left_out() -> None:
    assert cleaned("a\x1b[31m\u202eb\tc\ud800") == "a[31mb c"


def test_subtasks_that_are_left_out_have_commas_or_spaces_between() -> None:
    assert subtasks_left_out("except s2,s3") == {"s2", "s3"}
    assert subtasks_left_out("except s2, s3 s4") == {"s2", "s3", "s4"}
    assert subtasks_left_out("except") is None
    assert subtasks_left_out("s2") is None


@given(st.text(max_size=20), st.booleans())
def test_any_answer_is_numbers_text_or_told_what_is_wrong(text: str, several: bool) -> None:
    found = chosen_numbers(text, CHOICES, several=several)
    if isinstance(found, list):
        assert all(1 <= number <= len(CHOICES) for number in found)


def test_a_number_chooses_unless_it_is_a_choice_itself() -> None:
    assert chosen_numbers("1", CHOICES, several=False) == [1]
    assert chosen_numbers("#2", CHOICES, several=False) == [2]
    assert chosen_numbers("3,1,3", CHOICES, several=True) == [3, 1]
    assert chosen_numbers("something else", CHOICES, several=False) is None
    assert chosen_numbers("4", CHOICES, several=False) == "There is no choice 4: there are 3."
    asked = chosen_numbers("2", CHOICES, several=False)
    assert asked == "2 is a choice itself, number 3. Type #3 for it, or #2 for 20."


def test_an_item_keeps_its_number_whatever_comes_and_goes() -> None:
    numbers = Numbers()
    first, second = ItemKey("gate", "a"), ItemKey("gate", "b")
    assert (numbers.of(first), numbers.of(second), numbers.of(first)) == (1, 2, 1)
    assert numbers.key("2") == second
    assert numbers.key("3") is None
    assert numbers.key("²") is None


def test_numbers_mean_what_was_listed_last_and_a_job_its_coordinators_run() -> None:
    index = index_of(busy_view())
    runs = runs_to_list(index, None)
    assert {run.expert_key for run in runs} >= {"coordinator", "auditor"}
    assert "fetcher" not in {run.expert_key for run in runs}
    listing = Listing("jobs", ("job-8f3a", "job-5c1e"))
    found = find_run("1", listing, index)
    assert not isinstance(found, str)
    assert found.run_id == RunId("run-coordinator")
    assert find_run("3", listing, index) == "The last list, jobs, has no number 3."
    told = find_run("1", Listing("inbox"), index)
    assert told == "List jobs or runs first: numbers are those of the last list."
    job = find_job("1", Listing("runs", ("run-auditor",)), index)
    assert not isinstance(job, str)
    assert job.job_id == "job-5c1e"


def test_beginnings_of_ids_and_experts_at_work_are_understood() -> None:
    index = index_of(busy_view())
    job = find_job("job-5", Listing("inbox"), index)
    assert not isinstance(job, str)
    assert job.job_id == "job-5c1e"
    assert find_job("job-", Listing("inbox"), index) == "job- could be 3 jobs: jobs lists them."
    assert find_run("nobody", Listing("inbox"), index) == (
        "There is no run nobody: runs lists them."
    )
    run = find_run("writer", Listing("inbox"), index)
    assert not isinstance(run, str)
    assert run.expert_key == "writer"


@given(st.text(max_size=12))
def test_any_word_finds_something_or_says_why_not(word: str) -> None:
    index = index_of(busy_view())
    for listing in (Listing("jobs", ("job-8f3a",)), Listing("runs", ("gone",)), Listing("inbox")):
        assert find_run(word, listing, index)
        assert find_job(word, listing, index)
    assert number_of(word) is None or word.isdecimal()


def test_what_waits_names_the_command_to_type() -> None:
    items = items_of(busy_view().inbox)
    lines = [item_line(item, at, NOW) for at, item in enumerate(items, 1)]
    assert "approve 1 or reject 1" in lines[0]
    assert "answer 2" in lines[1]


def test_lists_say_states_in_words() -> None:
    view = busy_view()
    lines = job_lines(view.jobs, frozenset({view.jobs[0].job_id}), 3)
    assert lines[0].endswith("steps, runs here")
    assert "asks you" in lines[1]
    assert lines[-1] == "3 older: jobs all lists them, too."
    assert expert_lines(definitions())[0] == "1 coordinator: Plans and hands out work"


def test_paper_says_a_standing_prompt_again_and_makes_everything_inert() -> None:
    written: list[str] = []
    paper = Paper(written.append)
    paper.stand(lambda: "> appr")
    paper.announce(["run \x1b]0;evil\x07 began"])
    assert paper.settle(10)
    paper.stand(None)
    paper.hold()
    paper.announce(["later"])
    paper.say("now")
    assert paper.settle(10)
    paper.release()
    assert paper.settle(10)
    assert written == ["\nrun ‹U+001B›]0;evil‹U+0007› began\n> appr", "now\n", "later\n"]


def test_paper_whose_terminal_is_gone_says_so_once() -> None:
    told: list[str] = []

    def gone(text: str) -> None:
        raise OSError(5, "gone")

    paper = Paper(gone)
    paper.on_broken = lambda: told.append("gone")
    paper.say("one")
    paper.say("two")
    assert not paper.settle(0.05)
    assert told == ["gone"]
