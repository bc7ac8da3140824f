"""Frames of RFC 6455, without a network."""

from __future__ import annotations

import asyncio
import contextlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collab_server.realtime.engine import frames
from collab_server.realtime.engine.lanes import Lane

from .test_bounds import masked


def read(
    data: bytes, *, pieces: list[int] | None = None, max_bytes: int = 1000
) -> list[tuple[int, str | bytes]]:
    """Everything a reader makes of `data`, fed in pieces of these sizes."""
    reader = frames.FrameReader(max_bytes)
    messages: list[tuple[int, str | bytes]] = []
    for size in pieces or []:
        messages += reader.feed(data[:size])
        data = data[size:]
    messages += reader.feed(data)
    return messages


def code_of(data: bytes) -> int:
    with pytest.raises(frames.FrameError) as error:
        read(data)
    return error.value.code


messages = st.lists(
    st.one_of(
        st.tuples(st.just(frames.TEXT), st.text(max_size=200)),
        st.tuples(st.just(frames.BINARY), st.binary(max_size=200)),
        st.tuples(st.sampled_from([frames.PING, frames.PONG]), st.binary(max_size=125)),
    ),
    max_size=8,
)


@given(messages, st.lists(st.integers(1, 60), max_size=60), st.binary(min_size=4, max_size=4))
def test_messages_are_read_whatever_the_pieces(
    sent: list[tuple[int, str | bytes]], pieces: list[int], mask: bytes
) -> None:
    data = b"".join(
        masked(opcode, payload.encode() if isinstance(payload, str) else payload, mask=mask)
        for opcode, payload in sent
    )
    assert read(data, pieces=pieces) == sent


sizes = st.one_of(st.integers(0, 300), st.sampled_from([125, 126, 65_535, 65_536, 70_000]))
kinds = st.sampled_from([frames.TEXT, frames.BINARY, frames.CLOSE])


@given(st.lists(st.tuples(kinds, sizes), max_size=6), st.lists(st.integers(1, 40_000), max_size=20))
def test_what_a_server_has_joined_is_cut_again_whatever_the_pieces(
    sent: list[tuple[int, int]], pieces: list[int]
) -> None:
    ready = [frames.frame(kind, b"x" * size) for kind, size in sent]
    data, cutter = b"".join(ready), frames.FrameCutter()
    found: list[bytes] = []
    for size in [*pieces, len(data)]:
        found += cutter.feed(data[:size])
        data = data[size:]
    assert found == ready
    assert [(frames.opcode_of(one), len(frames.payload_of(one))) for one in found] == sent


@given(st.binary(max_size=10), sizes)
def test_a_frame_of_a_client_is_read_as_one(start: bytes, size: int) -> None:
    payload = start + b"y" * size
    assert read(frames.frame_of_client(frames.BINARY, payload), max_bytes=80_000) == [
        (frames.BINARY, payload)
    ]


@given(
    st.text(max_size=120), st.lists(st.integers(0, 9), max_size=9), st.lists(st.integers(1, 9), max_size=50)
)
def test_fragments_make_a_message_with_control_frames_in_between(
    text: str, cuts: list[int], pieces: list[int]
) -> None:
    payload, data, opcode = text.encode(), b"", frames.TEXT
    for cut in cuts:
        data += masked(opcode, payload[:cut], is_final=False) + masked(frames.PING, b"p")
        payload, opcode = payload[cut:], 0
    data += masked(opcode, payload)
    received = read(data, pieces=pieces)
    assert received == [(frames.PING, b"p")] * len(cuts) + [(frames.TEXT, text)]


@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(frames.FrameError):
        read(data)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\x81\x01x", 1002),  # not masked
        (b"\xc1\x80\x00\x00\x00\x00", 1002),  # an extension nobody agreed on
        (masked(3, b""), 1002),
        (masked(11, b""), 1002),
        (masked(9, b"", is_final=False), 1002),
        (b"\x89\xfe\x00\x80", 1002),  # a ping of 128 bytes
        (masked(0, b"x"), 1002),  # continues nothing
        (masked(1, b"x", is_final=False) + masked(1, b"x"), 1002),
        (masked(1, b"\xff"), 1007),
        (masked(1, b"\xc3", is_final=False) + masked(0, b"("), 1007),
        (masked(1, b"\xc3"), 1007),
        (masked(2, b"x" * 1001), 1009),
        (b"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff", 1009),
        (masked(2, b"x" * 600, is_final=False) + masked(0, b"x" * 600), 1009),
    ],
)
def test_broken_frame_is_refused_with_its_code(data: bytes, code: int) -> None:
    assert code_of(data) == code


@pytest.mark.parametrize("size", [1, 2, 7, 8, 14, 71, 72, 5000])
@pytest.mark.parametrize("most", [10, 1000])
def test_of_a_text_that_is_too_big_the_begin_is_told_however_it_comes(size: int, most: int) -> None:
    text = b"421[" + bytes(range(32, 127)) * 20
    reader, data = frames.FrameReader(most, tells_begin=True), masked(1, text)

    def read_on() -> None:
        for at in range(0, len(data), size):
            list(reader.feed(data[at : at + size]))

    with pytest.raises(frames.FrameError) as error:
        read_on()
    assert (error.value.code, error.value.begin) == (1009, text[: frames.BEGIN_BYTES])
    assert reader.held_bytes <= 100


def test_broken_text_is_noticed_before_the_message_ends() -> None:
    assert code_of(masked(1, b"ok \xff", is_final=False)) == 1007


def test_small_pieces_of_a_large_frame_cost_little() -> None:
    reader = frames.FrameReader(1_000_000)
    data = masked(2, bytes(100_000))
    messages = [message for index in range(len(data)) for message in reader.feed(data[index : index + 1])]
    assert [len(payload) for _, payload in messages] == [100_000]


@given(st.integers(0, 200_000))
def test_payload_of_a_ready_frame(size: int) -> None:
    assert frames.payload_of(frames.frame(frames.TEXT, bytes(size))) == bytes(size)


@pytest.mark.parametrize(("payload", "answer"), [(b"", b"\x88\x00"), (b"\x03\xe8bye", b"\x88\x02\x03\xe8")])
def test_close_is_answered_in_kind(payload: bytes, answer: bytes) -> None:
    assert frames.close_answer(payload) == answer


@pytest.mark.parametrize(
    "payload", [b"\x03", b"\x03\xec", b"\x03\xed", b"\x03\xee", b"\x00\x00", b"\x13\x88", b"\x03\xe8\xff"]
)
def test_close_that_is_broken_is_refused(payload: bytes) -> None:
    with pytest.raises(frames.FrameError):
        frames.close_answer(payload)


# --- lanes


async def test_lane_expires_each_in_its_order_and_time() -> None:
    loop = asyncio.get_running_loop()
    expired: list[tuple[str, float]] = []
    done = asyncio.Event()

    def expire(who: str, due: float) -> None:
        expired.append((who, loop.time() - due))
        if who == "last":
            done.set()

    lane: Lane[str] = Lane(0.05, expire)
    for who in ("a", "b", "stopped", "a"):  # `a` begins again, behind `b`
        lane.start(who)
    assert lane.stop("stopped")
    assert not lane.stop("stopped")
    lane.start("last")
    await asyncio.wait_for(done.wait(), 5)
    assert [who for who, _ in expired] == ["b", "a", "last"]
    assert all(-0.001 < late < 0.1 for _, late in expired)


async def test_lane_may_be_started_again_while_it_expires() -> None:
    turns: list[float] = []
    done = asyncio.Event()

    def expire(who: str, due: float) -> None:
        turns.append(due)
        if len(turns) == 3:
            done.set()
        else:
            lane.start(who, since=due)

    lane: Lane[str] = Lane(0.02, expire)
    lane.start("x")
    await asyncio.wait_for(done.wait(), 5)
    assert [round(later - earlier, 6) for earlier, later in itertools.pairwise(turns)] == [
        0.02,
        0.02,
    ]


async def test_lane_that_slept_lets_what_lies_unread_come_first() -> None:
    loop = asyncio.get_running_loop()
    expired: list[str] = []
    lane: Lane[str] = Lane(0.01, lambda who, due: expired.append(who))
    lane.start("answers", since=loop.time() - 5)
    loop.call_later(0.02, lane.stop, "answers")
    lane.start("silent", since=loop.time() - 5)
    async with asyncio.timeout(20):
        while not expired:
            await asyncio.sleep(0.005)
    assert expired == ["silent"]
