"""The files a node serves: the page to try it with at `/`, and at `/clients` the clients for pages of anybody.

What is text comes zipped to those who take that: a third of the bytes. It is the same for everybody, so how small it
becomes tells nobody anything.
"""

from __future__ import annotations

import asyncio
import gzip
import re
from functools import cache, lru_cache
from os import PathLike, fspath, stat_result
from pathlib import Path
from typing import Final

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope
from typing_extensions import override

from collab_server.web import CLIENT_HEADERS, CLIENTS, HEADERS, SERVED, STATIC, tarball


class Pages(StaticFiles):
    """The files of `collab_server.web`, `index.html` for a folder."""

    def __init__(self) -> None:
        super().__init__(directory=STATIC, html=True)

    @override
    def file_response(
        self, full_path: str | PathLike[str], stat_result: stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        """A file, or that it has not changed."""
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers.update(HEADERS)
        return _in_few_bytes(response, full_path, stat_result, scope)


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
        return _in_few_bytes(response, full_path, stat_result, scope)


_TEXTS: Final = frozenset({".css", ".html", ".js", ".json", ".svg"})
_GZIP: Final = re.compile(r"(?:^|,)\s*gzip\s*(?:;\s*q=(?!0(?:\.0*)?\s*(?:,|$))|,|$)", re.IGNORECASE)


def _in_few_bytes(
    response: Response, full_path: str | PathLike[str], stat: stat_result, scope: Scope
) -> Response:
    """The same file, or that it has not changed, for whoever takes it zipped."""
    response.headers.add_vary_header("Accept-Encoding")
    path = Path(full_path)
    if path.suffix not in _TEXTS or not _GZIP.search(Headers(scope=scope).get("accept-encoding", "")):
        return response
    response.headers["etag"] = f"W/{response.headers['etag']}"
    if not isinstance(response, FileResponse):
        return response
    headers = {**response.headers, "content-encoding": "gzip"}
    for name in ("content-length", "accept-ranges"):
        headers.pop(name, None)
    return Response(_zipped(fspath(path), stat.st_mtime_ns, stat.st_size), response.status_code, headers)


@lru_cache(256)
def _zipped(path: str, mtime_ns: int, size: int) -> bytes:
    return gzip.compress(Path(path).read_bytes(), 6, mtime=0)


@cache
def _packed(name: str) -> bytes:
    return tarball(name)
