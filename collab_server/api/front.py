"""`/`: the page to try a node with, or where there is none what answers here, and where the rest is.

That is the same on every node and for everybody; nothing in it is from outside, and nothing that is not told without a
token elsewhere. Whoever opens it in a browser gets a page, everybody else JSON. Its links are beside it.
"""

from __future__ import annotations

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse

from collab_server.api.pages import Pages

_WHAT = "A node of a collaboration server for dashboards"

_PLACES = {
    "status": "how it is",
    "docs": "its REST calls, to read and to try",
    "openapi.json": "its REST calls, for tools",
    "asyncapi.json": "what goes over Socket.IO, for tools",
    "clients/collab-panel/index.js": "the comments of a dashboard, as one element for any page",
    "clients/collab-client/index.js": "a client for pages and programs in JavaScript",
}

_PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Collaboration server</title>
<h1>Collaboration server</h1>
<p>{what} answers here. Comments are read and written where the dashboards are.</p>
<ul>
{places}
</ul>
<p>An administrator who wants to try it sets <code>demoPage</code>: a page for that is here then.</p>
</html>
"""


def add_front(app: FastAPI, *, has_page: bool, has_docs: bool) -> None:
    """Serve `/`: the page to try it with, or what there is, `/docs` among it where that is served."""
    if has_page:
        app.mount("/", Pages(), name="pages")
        return
    places = {path: what for path, what in _PLACES.items() if has_docs or path != "docs"}
    items = (f'<li><a href="{path}">/{path}</a>: {what}</li>' for path, what in places.items())
    page = _PAGE.format(what=_WHAT, places="\n".join(items))
    told = {"what": _WHAT, "places": places}

    async def get_front(request: Request) -> Response:
        is_page = "text/html" in request.headers.get("accept", "")
        headers = {"Vary": "Accept"}
        return HTMLResponse(page, headers=headers) if is_page else JSONResponse(told, headers=headers)

    app.add_api_route("/", get_front, methods=["GET", "HEAD"], include_in_schema=False)
