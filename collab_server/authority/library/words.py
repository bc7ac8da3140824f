"""What clients hear when Library, or the way to it, fails them."""

from __future__ import annotations

from collab_server.ports import Busy, Silent


def silent() -> Silent:
    return Silent("Library does not answer")


def busy() -> Busy:
    return Busy("too many questions wait for Library just now")
