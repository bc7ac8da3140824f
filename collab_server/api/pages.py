"""The pages a node serves at `/`: plain files, with the headers that keep foreign scripts out."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from typing_extensions import override

from collab_server.web import HEADERS, STATIC


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
