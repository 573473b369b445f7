"""Tools that show a picture or a document to the model."""

from __future__ import annotations

import base64
from typing import Final

from perstack.domain.messages import FileInlinePart, ImageInlinePart
from perstack.skills.base.arguments import PathArguments
from perstack.skills.base.failure import ToolFailure
from perstack.skills.base.files import read_bytes
from perstack.skills.base.paths import Workspace

MAX_IMAGE_BYTES: Final = 15_000_000
MAX_PDF_BYTES: Final = 30_000_000


def read_image_file(workspace: Workspace, args: PathArguments) -> ImageInlinePart:
    """Return a png, jpeg, gif or webp picture; what it is, is read from it, not from its name."""
    data = read_bytes(workspace, args.path, at_most=MAX_IMAGE_BYTES)
    mime_type = image_type(data)
    if mime_type is None:
        raise ToolFailure("WrongType", f"{args.path} is no png, jpeg, gif or webp image.")
    return ImageInlinePart(encoded_data=_encoded(data), mime_type=mime_type)


def read_pdf_file(workspace: Workspace, args: PathArguments) -> FileInlinePart:
    """Return a PDF document."""
    data = read_bytes(workspace, args.path, at_most=MAX_PDF_BYTES)
    if b"%PDF-" not in data[:1024]:
        raise ToolFailure("WrongType", f"{args.path} is no PDF document.")
    return FileInlinePart(encoded_data=_encoded(data), mime_type="application/pdf")


def image_type(data: bytes) -> str | None:
    """Return which kind of picture that models see it is, None if it is none."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return None


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
