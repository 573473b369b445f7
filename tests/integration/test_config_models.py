"""Our tables of models against those of the pinned SDKs."""

from __future__ import annotations

import subprocess
import sys

from perstack.config.models import DEFAULT_MODELS, doubt_about_model, suggest_model

SCRIPT = """
import typing
from anthropic.resources.messages.messages import DEPRECATED_MODELS
from anthropic.types.model import Model
from openai.types.shared import chat_model
known = [name for arm in typing.get_args(Model) for name in typing.get_args(arm)]
print("\\n".join(DEPRECATED_MODELS))
print("--")
print("\\n".join(known))
print("--")
print("\\n".join(typing.get_args(chat_model.ChatModel)))
"""


def test_defaults_and_retirements_agree_with_the_pinned_sdks() -> None:
    found = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True
    )
    retired, anthropic, openai = (part.split() for part in found.stdout.split("--"))
    assert DEFAULT_MODELS["anthropic"] in anthropic
    assert DEFAULT_MODELS["openai"] in openai
    for name in retired:
        assert doubt_about_model(name, "anthropic", own_url=False), name
        assert suggest_model(name, "anthropic") in set(anthropic) - set(retired), name
    for name in set(anthropic) - set(retired):
        assert not doubt_about_model(name, "anthropic", own_url=False), name
    for name in openai:
        successor = suggest_model(name, "openai")
        assert successor in openai
        assert not doubt_about_model(successor, "openai", own_url=False)
