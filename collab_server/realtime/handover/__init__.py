"""Sessions of other nodes: requests that belong to them are handed over, so that no balancer has to keep clients apart.

A session's id names its home, sealed (`ids`). A node that gets a request of a session which is not its own asks the
home by one connection between the two, on which many requests are under way at once (`links`); a websocket that
wants to carry such a session gets a connection of its own, by which its bytes go through (`tunnels`). The home listens
for that on an address that is not the public port (`listener`). What goes between them is sealed under a key of the
installation's (`channel`), and it is requests in parts, never HTTP written again (`words`): where one ends is known.

    client ──► any node: uvicorn, engine ── not mine ──► elsewhere ──► link, or tunnel
                                                                            │  sealed
    client ◄── the answer, as it is ◄────── engine ◄──── listener of the home ◄──┘
"""
