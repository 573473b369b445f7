"""/api/v1/filesystem: the folders that this server shows, and nothing outside of them."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Depends, Query
from pydantic import Field

from perstack.domain.base import Model
from perstack.domain.folder_views import Above, Folder, PathReport, Root
from perstack.serving.folders import HOME, Folders
from perstack.serving.rest.context import Served, Services, needs
from perstack.serving.rest.envelope import Envelope, ok
from perstack.serving.rest.parameters import Body

router = APIRouter(
    prefix="/filesystem", tags=["filesystem"], dependencies=[Depends(needs("filesystem", "read"))]
)
LONGEST_PATH = 4_096
PathQuery = Annotated[str, Query(min_length=1, max_length=LONGEST_PATH)]


class PathBody(Body):
    """A path."""

    path: Annotated[str, Field(min_length=1, max_length=LONGEST_PATH)]


class RootList(Model):
    """The folders that are shown."""

    count: int
    roots: tuple[Root, ...]


@router.get("/roots")
async def roots(services: Services) -> Envelope[RootList]:
    """List the folders that are shown, with all that is below them."""
    found = await to_thread.run_sync(_folders(services).roots)
    return ok(RootList(count=len(found), roots=found))


@router.get("/browse")
async def browse(
    services: Services,
    path: PathQuery = HOME,
    show_hidden: Annotated[bool, Query(alias="showHidden")] = False,
    show_files: Annotated[bool, Query(alias="showFiles")] = True,
) -> Envelope[Folder]:
    """Return what lies in a folder, folders first; "home" is the first root."""
    look = partial(_folders(services).browse, path, show_hidden=show_hidden, show_files=show_files)
    return ok(await to_thread.run_sync(look))


@router.post("/validate")
async def validate(services: Services, body: PathBody) -> Envelope[PathReport]:
    """Say whether a path is a folder that can be read and written."""
    return ok(await to_thread.run_sync(partial(_folders(services).validate, body.path)))


@router.get("/parent")
async def parent(services: Services, path: PathQuery) -> Envelope[Above]:
    """Say where a path lies."""
    return ok(await to_thread.run_sync(partial(_folders(services).above, path)))


def _folders(services: Served) -> Folders:
    project = services.runtime.project
    server = project.config.settings.coordination.server
    return Folders(project.workspace, server.filesystem_roots)
