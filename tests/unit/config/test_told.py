from __future__ import annotations

from perstack.config.watch import ConfigChange, Told
from perstack.errors import ConfigError
from tests.unit.config.reading import WRITER, read

GOOD = read(WRITER)
BETTER = read("maxSteps = 5\n" + WRITER + "[experts.b]\ninstruction = 'x'\n")
BAD = ConfigError("line 1 is wrong")


def test_the_same_content_is_told_once() -> None:
    told = Told(good=GOOD)
    assert told.compare(GOOD) is None
    assert told.compare(BETTER) is not None
    assert told.compare(BETTER) is None


def test_the_same_error_is_told_once_and_another_again() -> None:
    told = Told(good=GOOD)
    assert told.compare(BAD) == ConfigChange(config=None, error=BAD)
    assert told.compare(ConfigError("line 1 is wrong")) is None
    assert told.compare(ConfigError("line 2 is wrong")) is not None


def test_after_an_error_the_changes_are_those_since_the_last_good_file() -> None:
    told = Told(good=GOOD)
    told.compare(BAD)
    change = told.compare(BETTER)
    assert change is not None
    assert change.changes == ("maxSteps 100 → 5", "b new")


def test_a_mended_error_is_told_even_without_a_change() -> None:
    told = Told(good=GOOD)
    told.compare(BAD)
    assert told.compare(GOOD) == ConfigChange(config=GOOD, error=None, changes=())
    assert told.compare(GOOD) is None
