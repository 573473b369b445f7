"""An Expert's definition as another agent's program can be told it."""

from __future__ import annotations

from perstack.domain.expert import BaseSkill, InteractiveSkill, MemorySkill, delegate_tool_name
from perstack.domain.runtimes import ProgramName, takes_model
from perstack.ports.programs import Talk


def instruction_text(talk: Talk) -> str:
    """Return the Expert's instruction, its delegates as described context, and the past if any.

    No program delegates to our Experts: the model is told to think as the one that fits.
    """
    expert = talk.expert
    sections = [expert.instruction.strip()]
    if expert.delegates:
        lines = ["You can think as one of these Experts where it fits better than you do:"]
        for key in expert.delegates:
            known = talk.experts.get(key)
            described = (known.description or "").strip() if known else ""
            lines.append(f"- {delegate_tool_name(key)}: {described or 'no description'}")
        sections.append("\n".join(lines))
    sections.append(past_section(talk))
    return "\n\n".join(section for section in sections if section)


def past_section(talk: Talk) -> str:
    """Return what was said so far for a program whose session does not hold it, "" for nothing."""
    if not talk.past:
        return ""
    return f"What was said and done in this conversation so far:\n\n{talk.past}"


def one_prompt(talk: Talk) -> str:
    """Return instruction and request as one text, for programs that take no system prompt."""
    return f"## Instructions\n\n{instruction_text(talk)}\n\n## User Request\n\n{talk.prompt}"


def model_told(program: ProgramName, talk: Talk) -> str | None:
    """Return the model to be named, None where it is another vendor's or nobody named one."""
    model = talk.model
    told = model is not None and takes_model(program, model, talk.settings.provider.name)
    return model if told else None


def dropped_parts(talk: Talk, *, asks: bool) -> tuple[str, ...]:
    """Say what of the definition no program honours; `asks`: it is given interactive tools."""
    found: list[str] = []
    if talk.expert.delegates:
        found.append("delegates are described, not called")
    for name, skill in talk.expert.skills.items():
        if isinstance(skill, BaseSkill) and not (skill.pick or skill.omit or skill.rule):
            continue
        if isinstance(skill, MemorySkill | BaseSkill):
            found.append(f"skill {name} (it has tools of its own)")
        elif not isinstance(skill, InteractiveSkill):
            found.append(f"skill {name} (set up its MCP servers in the program)")
        elif not (asks and talk.may_ask):
            found.append(f"interactive skill {name}")
    if talk.expert.provider_tools or talk.expert.provider_skills:
        found.append("the provider's own tools")
    return tuple(found)
