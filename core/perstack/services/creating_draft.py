"""What `create-expert` drafts: a TOML text of Experts, judged as `perstack.toml` is. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from perstack.config.builtin import builtin_experts, reachable
from perstack.config.creator import CREATOR
from perstack.config.delegates import foreign_keys
from perstack.config.load import LoadedConfig, parse_config, parse_toml
from perstack.config.positions import locate_keys
from perstack.config.report import RefusedConfigError, listed, printable
from perstack.config.toml_edit import with_experts
from perstack.domain.expert import BASE_SKILL, BaseSkill, Expert
from perstack.domain.ids import ExpertKey
from perstack.errors import ConfigError

MOST_CHARACTERS: Final = 100_000
_NAME: Final = Path("draft")
_EXPERTS: Final = "experts"


@dataclass(frozen=True, slots=True)
class Ground:
    """What a draft is joined with: the `text` of the file at `path`, "" for one not yet there.

    `name` is the Expert that is wanted, None where the draft may choose. With `improves` it is in
    the file already, and it and those that it reaches may be replaced; nothing else of it may.
    `fetched` are the Experts of the registry that it leads to as it is.
    """

    path: Path
    text: str
    config: LoadedConfig
    name: ExpertKey | None = None
    fetched: Mapping[ExpertKey, Expert] = field(default_factory=dict[ExpertKey, Expert])

    @property
    def improves(self) -> bool:
        """Whether the Expert is there already."""
        return self.name in self.config.experts

    @property
    def replaceable(self) -> frozenset[ExpertKey]:
        """The Experts of the file that a draft may replace."""
        known = self.config.experts
        if self.name is None or self.name not in known:
            return frozenset()
        return frozenset(reachable(known[self.name], known))


@dataclass(frozen=True, slots=True)
class Draft:
    """A draft that can be used: `text` is the whole file with it, `config` what that says."""

    toml: str
    text: str
    config: LoadedConfig
    drafted: tuple[ExpertKey, ...]
    fetched: Mapping[ExpertKey, Expert]
    remarks: tuple[str, ...] = ()

    @property
    def known(self) -> Mapping[ExpertKey, Expert]:
        """The Experts of the file with the draft, built-in ones, and the registry's it led to."""
        return {**self.fetched, **builtin_experts(), **self.config.experts}

    def team_of(self, key: ExpertKey) -> dict[ExpertKey, Expert]:
        """Return the Expert and all that it can reach.

        Raises:
            ValueError: it is none of the draft, or leads to what a trial cannot have.
        """
        if key not in self.drafted:
            raise ValueError(
                f"{printable(key)} is no Expert of the draft; it defines: {listed(self.drafted)}"
            )
        team = reachable(self.known[key], self.known)
        for expert in team.values():
            if lacking := [one for one in expert.delegates if one not in team]:
                raise ValueError(
                    f"{expert.key} delegates to {listed(lacking)} of the registry, which trials do "
                    "not fetch: this cannot be tried"
                )
        return team


def check_draft(ground: Ground, toml: str) -> Draft:
    """Return a draft that can be used.

    Raises:
        ValueError: it cannot; the message lists every problem with its line and a remedy.
    """
    if len(toml) > MOST_CHARACTERS:
        raise ValueError(f"the draft has more than {MOST_CHARACTERS:,} characters: shorten it")
    toml = toml.replace("\r\n", "\n")
    config, told = _parsed(toml)
    problems = [*told, *_top_problems(toml)]
    if config is not None:
        problems += _problems(ground, config)
    if problems or config is None:
        listed_ = "\n".join(f"- {problem}" for problem in problems)
        raise ValueError(f"The draft cannot be used:\n{listed_}\nCorrect it and hand it in again.")
    text = _joined(ground, toml)
    remarks = (*(warning.with_hint() for warning in config.warnings), *_remarks(config))
    whole = parse_config(ground.path, text.encode())
    return Draft(toml, text, whole, tuple(config.experts), ground.fetched, tuple(remarks))


def has_exec(experts: Mapping[ExpertKey, Expert]) -> bool:
    """Tell whether one of them may start programs of a model's choosing."""
    return any(
        isinstance(skill, BaseSkill) and skill.offers("exec")
        for expert in experts.values()
        for skill in expert.skills.values()
    )


def without_exec(experts: Mapping[ExpertKey, Expert]) -> dict[ExpertKey, Expert]:
    """Return the Experts with `exec` taken from their base skill."""
    return {key: _without_exec(expert) for key, expert in experts.items()}


def _without_exec(expert: Expert) -> Expert:
    skill = expert.skills.get(BASE_SKILL)
    if not isinstance(skill, BaseSkill) or not skill.offers("exec"):
        return expert
    # What is gated has to be there; what is picked may be nothing but `exec`.
    less = skill.model_copy(
        update={
            "omit": (*skill.omit, "exec"),
            "require_approval": tuple(one for one in skill.require_approval if one != "exec"),
        }
    )
    return expert.model_copy(update={"skills": {**expert.skills, BASE_SKILL: less}})


def _parsed(toml: str) -> tuple[LoadedConfig | None, list[str]]:
    try:
        return parse_config(_NAME, toml.encode("utf-8", "replace")), []
    except RefusedConfigError as error:
        return None, [one.with_hint() for one in (*error.problems, *error.warnings)]
    except ConfigError as error:
        return None, [f"{error.message}; {error.hint}" if error.hint else error.message]


def _top_problems(toml: str) -> Iterator[str]:
    try:
        top = parse_toml(str(_NAME), toml)
    except ConfigError:
        return
    lines = locate_keys(toml)
    for key in top:
        if key != _EXPERTS:
            line = lines.get((key,))
            place = f" (line {line})" if line else ""
            yield f"{printable(key)}{place}: a draft holds [experts.NAME] tables alone; remove it"


def _problems(ground: Ground, config: LoadedConfig) -> Iterator[str]:
    drafted = config.experts
    if not drafted:
        yield 'it defines no Expert; write one as [experts."NAME"]'
        return
    if ground.name is not None and ground.name not in drafted:
        yield f'the wanted Expert is missing; define [experts."{ground.name}"]'
    if CREATOR in drafted:
        yield f"{CREATOR} is the program's own; choose another name"
    for key in sorted(drafted.keys() & ground.config.experts.keys() - ground.replaceable):
        yield f"{key} is in perstack.toml already; choose another name, or delegate to it as it is"
    known = {**ground.fetched, **ground.config.experts, **drafted}
    for expert in drafted.values():
        for key in foreign_keys(expert, known):
            yield (
                f"delegate {printable(key)} of {expert.key} is neither in the draft nor in "
                f"perstack.toml nor built in; define it, or take it out"
            )


def _remarks(config: LoadedConfig) -> Iterator[str]:
    for expert in config.experts.values():
        if not expert.description:
            yield f"{expert.key} has no description, which is all that other Experts see of it"


def _joined(ground: Ground, toml: str) -> str:
    try:
        text = with_experts(ground.text, toml)
        parse_config(ground.path, text.encode())
    except ConfigError as error:
        raise ValueError(f"Joined with perstack.toml it cannot be used: {error.message}") from error
    return text
