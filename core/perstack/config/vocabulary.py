"""The words that `perstack.toml` may hold: providers, runtimes, levels, kinds of skills.

The reader, the command line and the editors' schema all take them from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, get_args

from perstack.domain.expert import Consent, ExpertRuntime
from perstack.domain.runtimes import PROGRAMS, Permissions, RuntimeName
from perstack.domain.settings import ReviewerStrategy, RiskLevel, VendorName

ReasoningWord = Literal["none", "minimal", "low", "medium", "high"]

PROVIDERS: Final[tuple[VendorName, ...]] = (
    "anthropic",
    "google",
    "openai",
    "ollama",
    "azure-openai",
    "amazon-bedrock",
    "google-vertex",
    "deepseek",
    "scripted",
)
_ADDRESS: Final = ("baseUrl", "headers", "allowPrivate")
# A plugin's provider has none: its plugin has a configuration of its own.
PROVIDER_SETTINGS: Final[Mapping[str, tuple[str, ...]]] = {
    "anthropic": _ADDRESS,
    "google": _ADDRESS,
    "openai": (*_ADDRESS, "organization", "project", "name", "api"),
    "ollama": ("baseUrl", "headers"),
    "azure-openai": (*_ADDRESS, "resourceName", "apiVersion", "useDeploymentBasedUrls"),
    "amazon-bedrock": ("region",),
    "google-vertex": (*_ADDRESS, "project", "location"),
    "deepseek": _ADDRESS,
    "scripted": ("scenario", "pace"),
}
_GOOGLE_TOOLS: Final = ("googleSearch", "codeExecution", "urlContext", "fileSearch", "googleMaps")
PROVIDER_TOOLS: Final[Mapping[str, tuple[str, ...]]] = {
    "anthropic": ("webSearch", "webFetch", "codeExecution"),
    "google": _GOOGLE_TOOLS,
    "openai": ("webSearch", "fileSearch", "codeInterpreter", "imageGeneration"),
    "azure-openai": ("webSearchPreview", "fileSearch", "codeInterpreter", "imageGeneration"),
    "google-vertex": (*_GOOGLE_TOOLS, "enterpriseWebSearch"),
}
OPENAI_APIS: Final[tuple[Literal["auto", "chat", "responses"], ...]] = ("auto", "chat", "responses")
DOCUMENT_SKILLS: Final = ("pdf", "docx", "pptx", "xlsx")

RUNTIMES: Final[tuple[RuntimeName, ...]] = get_args(RuntimeName)
EXPERT_RUNTIMES: Final[tuple[ExpertRuntime, ...]] = ("perstack", *PROGRAMS)
PERMISSIONS: Final[tuple[Permissions, ...]] = get_args(Permissions)

REASONING_WORDS: Final[tuple[ReasoningWord, ...]] = ("none", "minimal", "low", "medium", "high")
RISKS: Final[tuple[RiskLevel, ...]] = ("low", "medium", "high")
STRATEGIES: Final[tuple[ReviewerStrategy, ...]] = ("adversarial", "different-model", "human")
SANDBOXES: Final[tuple[Literal["none", "bubblewrap"], ...]] = ("none", "bubblewrap")

SKILL_TYPES: Final = ("mcpStdioSkill", "mcpSseSkill", "mcpHttpSkill", "interactiveSkill")
BASE_SKILL_TYPES: Final = ("mcpStdioSkill", "baseSkill")
MEMORY_SKILL_TYPES: Final = ("memorySkill",)
SAMPLING: Final[tuple[Consent, ...]] = ("deny", "ask", "allow")
ELICITATION: Final[tuple[Literal["deny", "ask"], ...]] = ("deny", "ask")

DEFAULT_ENV_PATHS: Final = (".env", ".env.local")

VECTOR_PROVIDERS: Final[tuple[Literal["openai", "ollama", "embedded", "hashed"], ...]] = (
    "openai",
    "ollama",
    "embedded",
    "hashed",
)
DRIFT_BEHAVIORS: Final[tuple[Literal["warn", "prevent"], ...]] = ("warn", "prevent")
# What a reviewing Expert may approve by itself.
MAY_APPROVE: Final[tuple[Literal["none", "low", "medium", "high"], ...]] = ("none", *RISKS)

# Tables that later versions act on.
LATER_TABLES: Final = ("web",)
