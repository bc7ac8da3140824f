"""Where a node listens is what it was told, or an error in words."""

from __future__ import annotations

import errno

import pytest

from collab_server.realtime.lean import listening


def test_an_address_of_one_link_alone_is_asked_for_with_its_link() -> None:
    # Nobody has it; without its link it would not be valid at all.
    with pytest.raises(OSError, match=rf"^(?!\[Errno {errno.EINVAL}\])"):
        listening.sockets_at("fe80::1%lo", 0)


@pytest.mark.parametrize("host", ["a..b", "x" * 64])
def test_a_name_that_no_host_can_have_is_an_error_as_any_other(host: str) -> None:
    with pytest.raises(OSError, match="no host can have this name"):
        listening.sockets_at(host, 0)
