"""Which project and place of Google Cloud is asked."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from perstack.errors import ConfigError
from perstack.providers.setup import Setup
from perstack.providers.urls import base_url

VENDOR: Final = "Vertex AI"
_PROJECT: Final = re.compile(r"[a-zA-Z0-9_-][a-zA-Z0-9_.:-]*")
_LOCATION: Final = re.compile(r"[a-z0-9-]+")


@dataclass(frozen=True, slots=True)
class GoogleCloud:
    """`root` is the address up to and with the API's version."""

    root: str
    project: str
    location: str

    @property
    def path(self) -> str:
        """The path of the project's place, below the root."""
        return f"/projects/{self.project}/locations/{self.location}"


def read_google_cloud(setup: Setup) -> GoogleCloud:
    """Return where Vertex is asked.

    Raises:
        ConfigError: project or location is missing or no such thing, or the address is one that
            no token may be sent to.
    """
    settings, env = setup.settings, setup.env
    project = settings.project or env.get("GOOGLE_VERTEX_PROJECT", "").strip()
    location = settings.location or env.get("GOOGLE_VERTEX_LOCATION", "").strip()
    for name, value, pattern, key in (
        ("GOOGLE_VERTEX_PROJECT", project, _PROJECT, "project"),
        ("GOOGLE_VERTEX_LOCATION", location, _LOCATION, "location"),
    ):
        if not value:
            raise ConfigError(f"{name} is not set", hint=f"export {name}=..., or set {key} = ...")
        if not pattern.fullmatch(value):
            raise ConfigError(f"{value!a} is not the name of a {key} of Google Cloud")
    root = base_url(setup, "GOOGLE_VERTEX_BASE_URL", f"https://{_host(location)}/v1")
    # Some set it with the project, which is named by variables of its own.
    return GoogleCloud(root.partition("/projects/")[0], project, location)


def _host(location: str) -> str:
    if location == "global":
        return "aiplatform.googleapis.com"
    if location in {"us", "eu"}:
        return f"aiplatform.{location}.rep.googleapis.com"
    return f"{location}-aiplatform.googleapis.com"
