"""What hostile clients send to a node that may use 1 GiB, and what it has to cost: them, and nobody else.

A test here sends one kind of hostile input to a real node and holds the node to its bounds. To add one:

    async def test_the_kind_in_a_sentence(node: Node1GiB, eve: Raw) -> None:
        async with costs(node) as cost:              # a bystander says `me`, comments and asks /health/live meanwhile
            for number in range(TIMES):              # ten repeats: what is kept of each adds up
                answer = await cost.ask(eve, number, "command", '{"raw": "JSON"}')
                assert (answer["error"]["code"], answer["error"].get("field")) == ("invalid", "raw")

`costs` fails the test when

* a turn of the loop took more than `HELD_SECONDS` of its thread's CPU time (`collab_server.pulse`, over `/metrics`);
* the node's memory (RSS) has grown by more than `GROWN_BYTES` in all;
* the node logged more bytes than were sent to it (`cost.sent` counts them: `cost.ask` and `cost.call` do that);
* the bystander was refused anything, or the node is gone.

Wall clock is printed (`pytest -s`), never asserted: the machine may be busy. What is in a turn of the loop is what came
in one look at the network, so send costly things one at a time, or tell `costs(node, at_once=n)` how many come
together.

Commands are covered by `test_generated.py`, which makes its payloads from the table of commands: a new one needs no
test of its own there. `make hostile SECONDS=600 SEED=7` lets that run for longer. `HOSTILE_TRANSPORT=asgi` in the
environment tries the shared node without the lean transport.

`node` is shared, and lets one person send as much as they like: it is the cost of each input that is tested. Where the
limit on how often matters, make a node with the defaults: `await make_node({})`, `await make_node({"limits": {…}})`.
"""
