from __future__ import annotations

import pytest

from perstack.domain.expert import BASE_SKILL, BaseSkill
from perstack.domain.ids import ExpertKey
from tests.unit.config.reading import WRITER, read, refused_lines, warned

START = '[experts.a]\ninstruction = "x"\n'


def test_an_expert_of_the_getting_started_guide_is_read() -> None:
    config = read(
        '[experts."fitness-assistant"]\ndescription = "Assists"\ninstruction = """\nDo it\n"""\n'
        'delegates = ["pro-trainer"]\n[experts."pro-trainer"]\ninstruction = "Train"\n'
    )
    assistant = config.experts[ExpertKey("fitness-assistant")]
    assert assistant.name == "fitness-assistant"
    assert assistant.version == "1.0.0"
    assert assistant.description == "Assists"
    assert assistant.instruction == "Do it\n"
    assert assistant.delegates == ("pro-trainer",)
    assert assistant.skills == {BASE_SKILL: BaseSkill()}
    assert config.experts[ExpertKey("pro-trainer")].description is None
    assert config.warnings == ()


def test_version_tags_and_minimal_runtime_are_read() -> None:
    config = read(
        START + 'version = "1.2.3-rc.1+b.5"\ntags = ["x", "y_z-1"]\nminRuntimeVersion = "v1.0"\n'
    )
    expert = config.experts[ExpertKey("a")]
    assert (expert.version, expert.tags) == ("1.2.3-rc.1+b.5", ("x", "y_z-1"))
    assert config.warnings == ()


@pytest.mark.parametrize("name", ["a", "0", "@org/a_b-c", "@0/x"])
def test_names_of_the_published_form_are_accepted(name: str) -> None:
    assert list(read(f'[experts."{name}"]\ninstruction = "x"').experts) == [name]


@pytest.mark.parametrize("name", ["A", "-a", "a.b", "", "a b", "org/a", "@org/", "a\\n", "é"])
def test_other_names_are_refused(name: str) -> None:
    (line,) = refused_lines(f'[experts."{name}"]\ninstruction = "x"')
    assert "is not an Expert's name; use lower-case letters" in line


def test_a_version_in_the_name_is_refused_with_the_place_for_it() -> None:
    (line,) = refused_lines('[experts."a@1.0.0"]\ninstruction = "x"')
    assert line == (
        'experts."a@1.0.0" (line 1): an Expert\'s name holds no version; give it as a key: '
        'version = "1.0.0"'
    )


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("a" * 256, "must have 1 to 255 characters; it has 256"),
        ("@" + "o" * 129 + "/a", "an organisation has at most 128 characters"),
    ],
)
def test_names_are_bounded(name: str, problem: str) -> None:
    (line,) = refused_lines(f'[experts."{name}"]\ninstruction = "x"')
    assert line.endswith(f"(line 1): {problem}")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[experts]\na = 1", "experts.a (line 2): must be a table, not 1"),
        (
            "[experts.a]\n",
            'experts.a.instruction (line 1): is missing; write instruction = """..."""',
        ),
        (
            '[experts.a]\ninstruction = ""\n',
            "experts.a.instruction (line 2): must have 1 to 20,480 characters; it has 0",
        ),
        (
            '[experts.a]\ninstruction = "' + "x" * 20_481 + '"',
            "experts.a.instruction (line 2): must have 1 to 20,480 characters; it has 20,481",
        ),
        (
            START + 'description = "' + "x" * 2_049 + '"',
            "experts.a.description (line 3): must have 0 to 2,048 characters; it has 2,049",
        ),
        (
            START + 'version = "1.0"',
            'experts.a.version (line 3): must be a version of three numbers such as "1.0.0"',
        ),
        (
            START + 'version = "1.0.0\\n"',
            'experts.a.version (line 3): must be a version of three numbers such as "1.0.0"',
        ),
        (
            START + f"tags = {['x'] * 9}",
            "experts.a.tags (line 3): may have at most 8 items; it has 9",
        ),
        (
            START + 'tags = ["X"]',
            (
                'experts.a.tags (line 3): holds "X", which is not a tag; '
                "use lower-case letters, digits, '-' and '_'"
            ),
        ),
        (
            START + f"delegates = {['x'] * 256}",
            "experts.a.delegates (line 3): may have at most 255 items; it has 256",
        ),
        (
            START + 'requireApproval = ["exec"]',
            (
                "experts.a.requireApproval (line 3): has no effect here; write it into a skill's "
                'table, such as [experts.NAME.skills."@perstack/base"]'
            ),
        ),
        (START + "skills = 1", "experts.a.skills (line 3): must be a table, not 1"),
    ],
)
def test_a_wrong_expert_is_refused_by_key_and_line(text: str, problem: str) -> None:
    assert refused_lines(text) == [problem]


def test_a_malformed_delegate_is_refused() -> None:
    (line,) = refused_lines(START + 'delegates = ["B"]')
    says = 'experts.a.delegates (line 3): holds "B", which is not the key of an Expert; write NAME'
    assert line.startswith(says)


def test_a_misspelt_instruction_is_missing_and_told() -> None:
    assert refused_lines('[experts.a]\ninstrution = "x"')[0].startswith("experts.a.instruction")


def test_a_key_that_slid_into_an_expert_is_told_to_move_up() -> None:
    assert warned(WRITER + 'model = "x"\n') == [
        (
            "experts.writer.model (line 3): has no effect here: TOML puts keys below "
            "[experts.writer] into that table"
        )
    ]
