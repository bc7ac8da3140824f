"""The files a node serves: the page to try it with at `/`, and at `/clients` the clients for pages of anybody."""

from __future__ import annotations

import asyncio
from functools import cache
from os import PathLike, stat_result
from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope
from typing_extensions import override

from collab_server.web import CLIENT_HEADERS, CLIENTS, HEADERS, SERVED, STATIC, tarball


class Pages(StaticFiles):
    """The files of `collab_server.web`, `index.html` for a folder."""

    def __init__(self) -> None:
        super().__init__(directory=STATIC, html=True)

    @override
    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        """A file, or that it has not changed."""
        response = super().file_response(*args, **kwargs)
        response.headers.update(HEADERS)
        return response


class ClientFiles(StaticFiles):
    """The JavaScript clients: their modules (`/clients/collab-client/index.js`), and each as a package for npm
    (`/clients/collab-client.tgz`).

    A module that names another package is that itself here, as `SERVED` has it.
    """

    def __init__(self) -> None:
        super().__init__(directory=next(iter(CLIENTS.values())))
        self._tarballs = {f"{name}.tgz": name for name in CLIENTS}

    @override
    async def get_response(self, path: str, scope: Scope) -> Response:
        """What there is at a path below `/clients`.

        Raises `HTTPException` where there is nothing.
        """
        if path not in self._tarballs:
            return await super().get_response(path, scope)
        if scope["method"] not in ("GET", "HEAD"):
            raise HTTPException(405)
        packed = await asyncio.to_thread(_packed, self._tarballs[path])
        return Response(packed, media_type="application/gzip", headers=dict(CLIENT_HEADERS))

    @override
    def lookup_path(self, path: str) -> tuple[str, stat_result | None]:
        """The file for a path below `/clients`; an empty one where there is none."""
        package, _, name = path.partition("/")
        if package not in CLIENTS or not name.endswith((".js", ".json")):
            return "", None
        modules = (CLIENTS[package] / "src").resolve()
        served = SERVED.get(path)
        file = served or (modules / name).resolve()
        if not (served or file.is_relative_to(modules)) or not file.is_file():
            return "", None
        return str(file), file.stat()

    @override
    def file_response(
        self, full_path: str | PathLike[str], stat_result: stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        """A file, or that it has not changed."""
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers.update(CLIENT_HEADERS)
        return response


@cache
def _packed(name: str) -> bytes:
    return tarball(name)
