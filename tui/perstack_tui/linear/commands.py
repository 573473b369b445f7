"""What is typed at the prompt: a word, mostly what it is about, sometimes more words. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from perstack.config.report import meant
from perstack_tui.text import crop, flat

Verb: TypeAlias = Literal[
    "help",
    "experts",
    "start",
    "jobs",
    "runs",
    "inbox",
    "show",
    "approve",
    "reject",
    "answer",
    "registry",
    "read",
    "add",
    "say",
    "stop",
    "pause",
    "resume",
    "follow",
    "watch",
    "quit",
]


@dataclass(frozen=True, slots=True)
class Usage:
    """How a command is typed and what it does.

    `needs`: it is about something that has to be named; `more`: words may follow.
    """

    form: str
    says: str
    needs: bool = False
    more: bool = False


USAGES: Final[dict[Verb, Usage]] = {
    "help": Usage("help", "these lines"),
    "experts": Usage("experts", "the Experts of perstack.toml, numbered"),
    "start": Usage("start EXPERT [TEXT]", "starts a job; asks for what is left out", True, True),
    "jobs": Usage("jobs [all]", "the newest jobs, numbered"),
    "runs": Usage("runs [JOB]", "the runs at work, or those of a job, numbered"),
    "inbox": Usage("inbox", "what waits for you; an item keeps its number"),
    "show": Usage("show N", "all there is about number N of what was listed last", True),
    "approve": Usage("approve N [except s2,s3]", "reads an item to you, then asks", True, True),
    "reject": Usage("reject N [NOTE]", "rejects an item; the note goes to the agent", True, True),
    "answer": Usage("answer N", "answers a question, or a form field by field", True),
    "registry": Usage("registry [WORDS]", "Experts of the registry, numbered", more=True),
    "read": Usage("read KEY", "all about an Expert of the registry, or its number", True),
    "add": Usage(
        "add KEY EXPERT", "KEY as a delegate of your EXPERT; shows the change", True, True
    ),
    "say": Usage("say RUN TEXT", "a run at work reads it before its next step", True, True),
    "stop": Usage("stop RUN [now]", "at its next step, or at once", True, True),
    "pause": Usage("pause RUN", "it waits before its next step", True),
    "resume": Usage("resume RUN", "a paused run goes on", True),
    "follow": Usage("follow JOB [TEXT]", "goes on with a job that has ended", True, True),
    "watch": Usage("watch on|off", "whether what the runs do is printed", True),
    "quit": Usage("quit", "leaves; asks when runs are at work here"),
}
_MEANT_TOO: Final[dict[str, Verb]] = {"?": "help", "exit": "quit", "q": "quit"}
_OPTIONAL: Final[frozenset[Verb]] = frozenset({"jobs", "runs"})
_LONGEST_QUOTE: Final = 40


@dataclass(frozen=True, slots=True)
class Command:
    """A command: `what` is the word that it is about, `text` the rest; "" where there is none."""

    verb: Verb
    what: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a line is no command, in words that are safe to print; "" for an empty line."""

    why: str


def parse(line: str) -> Command | Refused:
    """Return what `line` says."""
    word, _, rest = cleaned(line).strip().partition(" ")
    if not word:
        return Refused("")
    verb = _verb(word)
    if verb is None:
        near = meant(word, list(USAGES))
        hint = f"did you mean {near}?" if near else "help lists the commands"
        return Refused(f"There is no command {crop(flat(word), _LONGEST_QUOTE)}: {hint}")
    usage = USAGES[verb]
    what, _, text = rest.strip().partition(" ")
    text = text.strip()
    if usage.needs and not what:
        return Refused(f"Say which: {usage.form}")
    too_much = text if usage.needs or verb in _OPTIONAL else what
    if too_much and not usage.more:
        return Refused(f"That is more than {verb} takes: {usage.form}")
    return Command(verb, what, text)


def _verb(word: str) -> Verb | None:
    lower = word.lower()
    if lower in _MEANT_TOO:
        return _MEANT_TOO[lower]
    return next((verb for verb in USAGES if verb == lower), None)


def cleaned(line: str) -> str:
    """Return `line` with what no keyboard types left out: control characters, half characters."""
    spaced = line.replace("\t", " ")
    return "".join(each for each in spaced if each.isprintable())


def help_lines() -> list[str]:
    """Return the commands, a line each."""
    return [f"{usage.form}: {usage.says}." for usage in USAGES.values()] + [
        "RUN and JOB: a number of the last list, the beginning of an id, or an Expert at work.",
        "What waits for you says which command to type. Ctrl+C twice stops what runs here.",
        "While the registry is asked, Ctrl+C gives that up.",
    ]


def subtasks_left_out(text: str) -> frozenset[str] | None:
    """Return the subtasks that `except s2,s3` names, None when `text` is something else."""
    word, _, names = text.strip().partition(" ")
    found = frozenset(name for part in names.split(",") for name in part.split())
    return found if word.lower() == "except" and found else None
