"""Where Anthropic keeps the skills of an account."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit


@dataclass
class SkillsApi:
    """The skills by id: label and the uploaded form. `status` other than 200 refuses."""

    skills: dict[str, tuple[str, bytes]] = field(default_factory=dict[str, tuple[str, bytes]])
    asked: list[str] = field(default_factory=list[str])
    status: int = 200

    def answer(self, method: str, path: str, body: bytes) -> bytes:
        """Return the whole response."""
        self.asked.append(method)
        if self.status != 200:
            error = {"type": "error", "error": {"type": "api_error", "message": "no skills today"}}
            return _response(self.status, error)
        return _response(200, self._list(path) if method == "GET" else self._create(body))

    def _list(self, path: str) -> dict[str, object]:
        query = parse_qs(urlsplit(path).query)
        start = int(query.get("page", ["0"])[0])
        size = int(query["limit"][0])
        ids = list(self.skills)
        data = [_skill(one, self.skills[one][0]) for one in ids[start : start + size]]
        more = start + size < len(ids)
        return {"data": data, "has_more": more, "next_page": str(start + size) if more else None}

    def _create(self, body: bytes) -> dict[str, object]:
        label = re.search(rb'name="display_name"\r\n\r\n(.*?)\r\n', body)
        assert label is not None
        new = f"skill_{len(self.skills)}"
        self.skills[new] = (label.group(1).decode(), body)
        return _skill(new, label.group(1).decode())


def _skill(skill_id: str, label: str) -> dict[str, object]:
    moment = "2026-11-20T12:00:00Z"
    return {
        "type": "skill",
        "id": skill_id,
        "display_name": label,
        "latest_version_id": "1",
        "source": {"type": "custom"},
        "created_at": moment,
        "updated_at": moment,
    }


def _response(status: int, value: object) -> bytes:
    body = json.dumps(value).encode()
    head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body
