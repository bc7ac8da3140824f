"""Judges a history: what of the promises was not kept. Pure; tried with planted bugs in `test_checker`.

`check` returns a finding for every single violation, with the time it is to be blamed on:

lost            acknowledged, and not stored as it was acknowledged
doubled         one `requestId`, more than one row, event or answer
gap             the `seq` of a topic are not 1, 2, 3 … up to its head, or rows and events contradict each other
undelivered     a reader never got an event that it should have
delivered twice a reader got an event again
out of order    a reader got an event after a later one, or outside of its subscription
phantom         stored without an intent, or delivered and not stored
not allowed     delivered to somebody without the right
miscounted      an unread, reply or comment count differs from the rows
refused         a write was refused that should not have been, or was stored though refused
stuck           a write was never answered
sent afresh     the epoch was renewed, though the database had not gone back in time

Where the database went back in time, what was lost is nobody's fault if the epoch was renewed: then, of what was
written, told or refused between the copy and its return, only that is held against the server which it could know.
Clients of the last epoch have to have everything that is stored.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from tests.faults.history import (
    Delivery,
    History,
    Revocation,
    Rewind,
    Session,
    StoredEvent,
    StoredTopic,
    Write,
)

__all__ = ["KINDS", "Finding", "check"]

LOST = "lost"
DOUBLED = "doubled"
GAP = "gap"
UNDELIVERED = "undelivered"
REPEATED = "delivered twice"
DISORDER = "out of order"
PHANTOM = "phantom"
NOT_ALLOWED = "not allowed"
MISCOUNTED = "miscounted"
REFUSED = "refused"
STUCK = "stuck"
AFRESH = "sent afresh"

KINDS = (
    LOST,
    DOUBLED,
    GAP,
    UNDELIVERED,
    REPEATED,
    DISORDER,
    PHANTOM,
    NOT_ALLOWED,
    MISCOUNTED,
    REFUSED,
    STUCK,
    AFRESH,
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One violation. `at` is None where no moment can be blamed."""

    kind: str
    at: float | None
    what: str


def check(history: History) -> list[Finding]:
    """Every violation in the history; empty when all promises were kept."""
    stored = {topic.name: topic for topic in history.stored}
    return [
        *_check_writes(history.writes, stored, _renewed(history)),
        *(finding for topic in history.stored for finding in _check_topic(topic)),
        *_check_strangers(history),
        *_check_readers(history, stored),
        *_check_unread(history, stored),
        *_check_epochs(history),
    ]


def _renewed(history: History) -> list[Rewind]:
    """The rewinds after which the epoch was renewed, in order."""
    epochs = [*(rewind.epoch for rewind in history.rewinds[1:]), history.epoch]
    return [rewind for rewind, after in zip(history.rewinds, epochs, strict=False) if rewind.epoch != after]


def _check_epochs(history: History) -> Iterator[Finding]:
    """Each epoch but the first begins after one more time that the database went back."""
    began: dict[str, float] = {}
    for session in sorted(history.sessions, key=lambda session: session.began_at):
        began.setdefault(session.epoch, session.began_at)
    for number, (epoch, at) in enumerate(began.items()):
        if sum(rewind.back_at < at for rewind in history.rewinds) < number:
            yield Finding(AFRESH, at, f"{epoch} is the epoch number {number + 1}, for no reason")


# --- what was asked against what is stored


def _check_writes(
    writes: Sequence[Write], stored: dict[str, StoredTopic], renewed: Sequence[Rewind]
) -> Iterator[Finding]:
    events = {(name, event.seq): event for name, topic in stored.items() for event in topic.events}
    rows: Counter[str] = Counter()
    logged: Counter[str] = Counter()
    for topic in stored.values():
        rows.update(request_id for comment in topic.comments for request_id in comment.request_ids)
        for event in topic.events:
            if event.request_id is not None:
                logged[event.request_id] += 1
            elif event.type == "comment.deleted":
                logged[f"delete {event.comment_id}"] += 1
    for write in writes:
        name = f"{write.kind} {write.request_id}"
        at = write.acknowledged_at
        may_be_lost = any(
            write.began_at <= rewind.back_at and (at is None or rewind.copied_at <= at) for rewind in renewed
        )
        if may_be_lost and (write.refused is not None or write.answers):
            if rows[write.request_id] > 1:
                yield Finding(DOUBLED, at or write.began_at, f"{name} is there more than once")
            continue
        if write.refused is not None:
            yield Finding(REFUSED, write.began_at, f"{name} was refused: {write.refused}")
            if rows[write.request_id]:
                yield Finding(REFUSED, write.began_at, f"{name} is stored though it was refused")
        elif not write.answers:
            yield Finding(STUCK, write.began_at, f"{name} was never answered in {write.attempts} attempts")
        if len(set(write.answers)) > 1:
            yield Finding(DOUBLED, at, f"{name} was answered in different ways: {set(write.answers)}")
        for answer in set(write.answers):
            acknowledged = events.get((write.topic, answer.seq))
            if acknowledged is None or not _fits(acknowledged, write, answer.comment_id):
                yield Finding(LOST, at, f"{name} was acknowledged as seq {answer.seq} of {write.topic}")
        logged_as = f"delete {write.comment_id}" if write.kind == "delete" else write.request_id
        most = max(rows[write.request_id], logged[logged_as])
        if most > 1:
            yield Finding(DOUBLED, at or write.began_at, f"{name} is there {most} times")
        if write.kind in ("add", "reply", "edit") and rows[write.request_id] != logged[write.request_id]:
            yield Finding(GAP, at or write.began_at, f"{name} has a row without an event, or the reverse")
    yield from _check_memberships(writes, stored)
    known = {write.request_id for write in writes}
    for request_id in (rows.keys() | {id for id in logged if not id.startswith("delete ")}) - known:
        yield Finding(PHANTOM, None, f"{request_id} is stored, and nobody meant to write it")
    deleted = {f"delete {write.comment_id}" for write in writes if write.kind == "delete"}
    for name in {id for id in logged if id.startswith("delete ")} - deleted:
        yield Finding(PHANTOM, None, f"{name} is stored, and nobody meant to")


_OF_MEMBERS = {"remove": "member.removed", "invite": "member.added"}


def _check_memberships(writes: Sequence[Write], stored: dict[str, StoredTopic]) -> Iterator[Finding]:
    """Each removal and each invitation took effect once: their events carry no `requestId`, so they are counted."""
    meant = Counter((write.topic, _OF_MEMBERS[write.kind]) for write in writes if write.kind in _OF_MEMBERS)
    for (name, type), count in meant.items():
        events = stored[name].events if name in stored else ()
        there = sum(event.type == type for event in events)
        if there > count:
            yield Finding(DOUBLED, None, f"{name} has {there} {type}, {count} were meant")


def _fits(event: StoredEvent, write: Write, comment_id: str) -> bool:
    if write.kind in _OF_MEMBERS:
        changed = event.removed if write.kind == "remove" else event.added
        return event.type == _OF_MEMBERS[write.kind] and comment_id in changed
    types = {"add": "comment.added", "reply": "comment.added", "edit": "comment.edited"}
    if event.type != types.get(write.kind, "comment.deleted") or event.comment_id != comment_id:
        return False
    return write.kind == "delete" or event.request_id == write.request_id


def _check_topic(topic: StoredTopic) -> Iterator[Finding]:
    seqs = [event.seq for event in topic.events]
    if sorted(seqs) != list(range(1, topic.last_seq + 1)):
        missing = sorted(set(range(1, topic.last_seq + 1)) - set(seqs))
        yield Finding(
            GAP, None, f"{topic.name} has {len(seqs)} events, head {topic.last_seq}, lacks {missing[:5]}"
        )
    added = {event.comment_id: event.seq for event in topic.events if event.type == "comment.added"}
    for comment in topic.comments:
        if added.get(comment.id) != comment.seq:
            yield Finding(
                GAP, None, f"comment {comment.id} has seq {comment.seq}, its event {added.get(comment.id)}"
            )
    if len(added) != len(topic.comments):
        yield Finding(GAP, None, f"{topic.name} has {len(added)} added, {len(topic.comments)} comments")
    replies = Counter(comment.thread_id for comment in topic.comments if comment.thread_id != comment.id)
    for comment in topic.comments:
        if comment.thread_id == comment.id and comment.reply_count != replies[comment.id]:
            yield Finding(
                MISCOUNTED,
                None,
                f"comment {comment.id}: {comment.reply_count} replies, {replies[comment.id]} rows",
            )
    alive = sum(not comment.is_deleted for comment in topic.comments)
    if topic.comment_count != alive:
        yield Finding(MISCOUNTED, None, f"{topic.name} counts {topic.comment_count} comments and has {alive}")


def _check_unread(history: History, stored: dict[str, StoredTopic]) -> Iterator[Finding]:
    for told in history.unread:
        topic = stored.get(told.topic)
        expected = 0
        if topic is not None:
            read = topic.read.get(told.user_id, 0)
            expected = sum(
                comment.seq > read and not comment.is_deleted and comment.author_id != told.user_id
                for comment in topic.comments
            )
        if told.unread != expected:
            yield Finding(
                MISCOUNTED,
                None,
                f"{told.node} tells {told.user_id} {told.unread} unread of {told.topic}, not {expected}",
            )


# --- what was delivered against what is stored


def _check_readers(history: History, stored: dict[str, StoredTopic]) -> Iterator[Finding]:
    ends = {rewind.epoch: rewind.copied_at for rewind in _renewed(history)}
    sessions: dict[tuple[str, str], list[Session]] = defaultdict(list)
    for session in history.sessions:
        sessions[session.reader, session.topic].append(session)
    for reader, name, delivery in history.early:
        yield Finding(DISORDER, delivery.at, f"{reader} got {name} {delivery.seq} outside of a subscription")
    for (reader, name), own in sessions.items():
        topic = stored.get(name) or StoredTopic(name, 0, 0, (), ())
        keys = {event.seq: event.keys for event in topic.events}
        membership = _Membership(topic)
        position, epoch = 0, None
        for whole in sorted(own, key=lambda session: session.began_at):
            if whole.epoch != epoch:
                position, epoch = 0, whole.epoch
            lost_from = ends.get(whole.epoch)
            kept = whole if lost_from is None else _before(whole, lost_from)
            if kept is None:
                continue
            session = kept
            is_where_it_was = session.after == position or (session.is_again and session.after < position)
            if not session.is_recovered or not is_where_it_was:
                yield Finding(
                    UNDELIVERED,
                    session.began_at,
                    f"{reader} came back to {name} at {position}, was taken for one at {session.after},"
                    f" recovered: {session.is_recovered}",
                )
            yield from _check_session(session)
            yield from _check_phantoms(session, keys)
            yield from _check_rights(session, history.revocations, membership)
            position = session.position
        if (reader, name) in history.must_have:
            if epoch != history.epoch and history.epoch:
                position = 0  # it has never come back
            for seq in range(position + 1, topic.last_seq + 1):
                yield Finding(UNDELIVERED, None, f"{reader} lacks {name} {seq}, the end")
    for reader, name in history.must_have - sessions.keys():
        for seq in range(1, stored[name].last_seq + 1 if name in stored else 1):
            yield Finding(UNDELIVERED, None, f"{reader} lacks {name} {seq}, for it never subscribed")


def _before(session: Session, at: float) -> Session | None:
    """What there was of a session when the copy was made that its epoch ended with; None if it began later."""
    if session.began_at >= at:
        return None
    return replace(
        session,
        caught_up=[delivery for delivery in session.caught_up if delivery.at < at],
        has_caught_up=session.has_caught_up and all(delivery.at < at for delivery in session.caught_up),
        live=[delivery for delivery in session.live if delivery.at < at],
        _looked_at=0,
        _highest=0,
    )


def _check_session(session: Session) -> Iterator[Finding]:
    where = f"{session.reader} at {session.node}, {session.topic}"
    yield from _check_run(session.caught_up, session.after, where)
    reached = max((delivery.seq for delivery in session.caught_up), default=session.after)
    if reached > session.seq:
        yield Finding(DISORDER, session.began_at, f"{where}: caught up to {reached}, head {session.seq}")
    if session.has_caught_up:
        for seq in range(reached + 1, session.seq + 1):
            yield Finding(UNDELIVERED, session.began_at, f"{where}: {seq} was not among what it caught up on")
    yield from _check_run(session.live, session.seq, where)


def _check_run(deliveries: Sequence[Delivery], base: int, where: str) -> Iterator[Finding]:
    """Each `seq` after `base`, in order, once, without a hole."""
    highest = base
    seen: set[int] = set()
    missing: dict[int, float] = {}
    for seq, _, at in deliveries:
        if seq in seen or seq <= base:
            yield Finding(REPEATED, at, f"{where}: {seq} came again")
        elif seq < highest:
            missing.pop(seq, None)
            yield Finding(DISORDER, at, f"{where}: {seq} came after {highest}")
        else:
            missing.update(dict.fromkeys(range(highest + 1, seq), at))
            highest = seq
        seen.add(seq)
    for seq, at in missing.items():
        yield Finding(UNDELIVERED, at, f"{where}: {seq} never came")


def _check_phantoms(session: Session, keys: dict[int, frozenset[str]]) -> Iterator[Finding]:
    for seq, key, at in (*session.caught_up, *session.live):
        if key not in keys.get(seq, ()):
            yield Finding(
                PHANTOM, at, f"{session.reader} got {session.topic} {seq} as {key}: not what is stored"
            )


# --- rights


class _Membership:
    """Who was a member of a topic at which `seq`, told by the log itself. A topic without members has none to check."""

    def __init__(self, topic: StoredTopic) -> None:
        self._changes: dict[str, list[tuple[int, bool]]] = defaultdict(list)
        for event in sorted(topic.events, key=lambda event: event.seq):
            for user in event.added:
                self._changes[user].append((event.seq, True))
            for user in event.removed:
                self._changes[user].append((event.seq, False))

    def may_have(self, user_id: str, seq: int) -> bool:
        """Whether the event is for the user; whoever is put out may hear just that."""
        if not self._changes:
            return True
        changes = self._changes.get(user_id, [])
        number = bisect_right(changes, (seq, True))
        if number and changes[number - 1] == (seq, False):
            number -= 1
        return number > 0 and changes[number - 1][1]


def _check_rights(
    session: Session, revocations: Sequence[Revocation], membership: _Membership
) -> Iterator[Finding]:
    def finding(delivery: Delivery, why: str) -> Finding:
        return Finding(
            NOT_ALLOWED,
            delivery.at,
            f"{session.reader} got {session.topic} {delivery.seq} at {session.node}: {why}",
        )

    for revocation in revocations:
        if (revocation.user_id, revocation.topic) == (session.user_id, session.topic):
            for delivery in (*session.caught_up, *session.live):
                if delivery.at > revocation.at + revocation.grace_seconds:
                    yield finding(delivery, f"{delivery.at - revocation.at:.1f} s after the right was taken")
    for delivery in session.live:
        if not membership.may_have(session.user_id, delivery.seq):
            yield finding(delivery, "no member then")
    if session.caught_up and not membership.may_have(session.user_id, session.seq):
        yield finding(session.caught_up[-1], "no member when it subscribed")


def _check_strangers(history: History) -> Iterator[Finding]:
    for session in history.sessions:
        if (session.user_id, session.topic) in history.never:
            yield Finding(
                NOT_ALLOWED, session.began_at, f"{session.reader} could subscribe to {session.topic}"
            )
