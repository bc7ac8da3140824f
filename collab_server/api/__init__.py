"""The HTTP door. Only importer of fastapi."""

from __future__ import annotations

from collab_server.api import _libraries as _libraries  # before anybody else imports them
