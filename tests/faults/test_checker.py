"""The checker finds every kind of bug in a history that is right but for that bug."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.faults.checker import check
from tests.faults.history import (
    Answer,
    Delivery,
    History,
    Revocation,
    Rewind,
    Session,
    StoredComment,
    StoredEvent,
    StoredTopic,
    UnreadTold,
    Write,
    make_key,
)

TOPIC = "content:P:O"
ANN, BOB = "A" * 32, "B" * 32


def good_history() -> History:
    """Ann adds two comments, edits and replies to the first, deletes the second; Bob reads, with one absence."""
    writes = [
        Write("r1", "add", ANN, TOPIC, 1.0, None, 1, [Answer(1, "c1")], 1.1),
        Write("r2", "add", ANN, TOPIC, 2.0, None, 2, [Answer(2, "c2"), Answer(2, "c2")], 2.1),
        Write("r3", "edit", ANN, TOPIC, 3.0, "c1", 1, [Answer(3, "c1")], 3.1),
        Write("r4", "delete", ANN, TOPIC, 4.0, "c2", 1, [Answer(4, "c2")], 4.1),
        Write("r5", "reply", ANN, TOPIC, 5.0, None, 1, [Answer(5, "c3")], 5.1),
    ]
    log = [
        ("comment.added", "c1", "r1"),
        ("comment.added", "c2", "r2"),
        ("comment.edited", "c1", "r3"),
        ("comment.deleted", "c2", None),
        ("comment.added", "c3", "r5"),
    ]
    events = [
        StoredEvent(
            seq,
            type,
            frozenset({make_key(type, comment, request), make_key(type, comment, None)})
            if comment == "c2"
            else frozenset({make_key(type, comment, request)}),
            comment,
            request,
        )
        for seq, (type, comment, request) in enumerate(log, 1)
    ]
    deliveries = [
        Delivery(seq, make_key(type, comment, request), float(seq) + 0.2)
        for seq, (type, comment, request) in enumerate(log, 1)
    ]
    comments = [
        StoredComment("c1", 1, "c1", ANN, ["r1", "r3"], False, 1),
        StoredComment("c2", 2, "c2", ANN, ["r2"], True, 0),
        StoredComment("c3", 5, "c1", ANN, ["r5"], False, 0),
    ]
    first = Session("bob", BOB, TOPIC, "one", 0, 0, True, 0.5, [], True, deliveries[:2])
    second = Session("bob", BOB, TOPIC, "two", 2, 4, True, 4.5, deliveries[2:4], True, deliveries[4:])
    return History(
        writes=writes,
        sessions=[first, second],
        stored=[StoredTopic(TOPIC, 5, 2, events, comments)],
        unread=[UnreadTold("one", BOB, TOPIC, 2), UnreadTold("two", ANN, TOPIC, 0)],
        must_have={("bob", TOPIC)},
    )


def kinds(history: History) -> set[str]:
    return {finding.kind for finding in check(history)}


def change_topic(history: History, **changes: object) -> None:
    history.stored[0] = replace(history.stored[0], **changes)  # type: ignore[arg-type]


def test_a_history_that_is_right_has_no_findings() -> None:
    assert check(good_history()) == []


LOST_COMMENT = make_key("comment.added", "c9", "r9")


def put_back_history() -> History:
    """As the good one, but that the database went back, and a comment was lost that Bob had been told of."""
    history = good_history()
    first, second = history.sessions
    told = [Delivery(6, LOST_COMMENT, 6.2)]
    again = replace(
        second, after=0, epoch="new", began_at=8.0, seq=5, caught_up=[*first.live, *second.caught_up]
    )
    again.caught_up += second.live
    again.live = []
    history.sessions = [
        replace(first, epoch="old"),
        replace(second, epoch="old", live=[*second.live, *told]),
        Session("bob", BOB, TOPIC, "one", 6, 5, False, 7.1, [], True, [], epoch="old"),  # not noticed yet
        again,
    ]
    history.writes.append(Write("r9", "add", ANN, TOPIC, 6.0, None, 1, [Answer(6, "c9")], 6.1))
    history.rewinds = [Rewind("old", 5.9, 7.0)]
    history.epoch = "new"
    return history


def test_what_was_lost_is_allowed_if_the_epoch_was_renewed() -> None:
    assert check(put_back_history()) == []


def keep_the_epoch(history: History) -> None:
    history.epoch = "old"
    history.sessions.pop()


def lose_what_was_in_the_copy(history: History) -> None:
    history.writes[-1].began_at, history.writes[-1].acknowledged_at = 5.3, 5.4


def lose_what_was_written_afterwards(history: History) -> None:
    history.writes[-1].began_at, history.writes[-1].acknowledged_at = 7.5, 7.6


def tell_of_what_is_lost_in_the_new_epoch(history: History) -> None:
    history.sessions[-1].live.append(Delivery(6, LOST_COMMENT, 9.0))


def never_come_back(history: History) -> None:
    history.sessions.pop()


def renew_for_no_reason(history: History) -> None:
    history.rewinds.clear()


@pytest.mark.parametrize(
    ("spoil", "kind"),
    [
        (keep_the_epoch, "lost"),
        (keep_the_epoch, "phantom"),
        (lose_what_was_in_the_copy, "lost"),
        (lose_what_was_written_afterwards, "lost"),
        (tell_of_what_is_lost_in_the_new_epoch, "phantom"),
        (never_come_back, "undelivered"),
        (renew_for_no_reason, "sent afresh"),
    ],
)
def test_what_a_renewed_epoch_does_not_excuse_is_found(spoil: Callable[[History], None], kind: str) -> None:
    history = put_back_history()
    spoil(history)
    assert kind in kinds(history)


def drop_a_hint(history: History) -> None:
    history.sessions[0].live[:] = history.sessions[0].live[1:]


def drop_the_last_hint(history: History) -> None:
    history.sessions[1].live.clear()


def leave_a_hole_in_what_is_caught_up(history: History) -> None:
    del history.sessions[1].caught_up[0]


def end_catching_up_too_early(history: History) -> None:
    del history.sessions[1].caught_up[1]


def start_afresh_without_reason(history: History) -> None:
    history.sessions[1].is_recovered = False


def forget_a_reader(history: History) -> None:
    history.sessions.clear()


def swap_two_events(history: History) -> None:
    history.sessions[0].live.reverse()


def deliver_before_the_acknowledgement(history: History) -> None:
    history.early.append(("bob", TOPIC, history.sessions[0].live[0]))


def deliver_twice(history: History) -> None:
    history.sessions[0].live.append(history.sessions[0].live[-1])


def deliver_again_what_was_caught_up(history: History) -> None:
    history.sessions[1].live.insert(0, history.sessions[1].caught_up[-1])


def acknowledge_before_the_commit(history: History) -> None:
    """The last write was acknowledged and told, and then rolled back."""
    topic = history.stored[0]
    change_topic(
        history,
        last_seq=4,
        comment_count=1,
        events=topic.events[:4],
        comments=[replace(topic.comments[0], reply_count=0), topic.comments[1]],
    )
    history.unread = []


def acknowledge_something_else(history: History) -> None:
    history.writes[0].answers[0] = Answer(2, "c2")


def forget_a_request_id(history: History) -> None:
    """The repetition of the last write was stored once more."""
    topic = history.stored[0]
    again = StoredEvent(6, "comment.added", frozenset({make_key("comment.added", "c4", "r5")}), "c4", "r5")
    change_topic(
        history,
        last_seq=6,
        comment_count=3,
        events=[*topic.events, again],
        comments=[
            replace(topic.comments[0], reply_count=2),
            *topic.comments[1:],
            StoredComment("c4", 6, "c1", ANN, ["r5"], False, 0),
        ],
    )
    history.sessions[1].live.append(Delivery(6, make_key("comment.added", "c4", "r5"), 6.2))
    history.unread = []


def answer_a_repetition_differently(history: History) -> None:
    history.writes[1].answers[1] = Answer(1, "c1")


def delete_twice(history: History) -> None:
    topic = history.stored[0]
    key = make_key("comment.deleted", "c2", None)
    again = StoredEvent(6, "comment.deleted", frozenset({key}), "c2", None)
    change_topic(history, last_seq=6, events=[*topic.events, again])
    history.sessions[1].live.append(Delivery(6, key, 6.2))


def deliver_what_was_rolled_back(history: History) -> None:
    history.sessions[1].live.append(Delivery(6, make_key("comment.added", "c9", "r9"), 6.0))


def deliver_another_event_under_a_seq(history: History) -> None:
    live = history.sessions[0].live
    live[0] = live[0]._replace(key=make_key("comment.added", "c1", "r7"))


def store_what_nobody_wrote(history: History) -> None:
    history.writes.pop()


def leave_a_gap_in_the_log(history: History) -> None:
    topic = history.stored[0]
    change_topic(history, events=[*topic.events[:2], *topic.events[3:]])


def store_a_row_without_its_event(history: History) -> None:
    topic = history.stored[0]
    change_topic(history, comments=[*topic.comments, StoredComment("c8", 6, "c8", ANN, ["r8"], False, 0)])


def tell_a_wrong_unread_count(history: History) -> None:
    history.unread[0] = replace(history.unread[0], unread=1)


def miscount_replies(history: History) -> None:
    topic = history.stored[0]
    change_topic(history, comments=[replace(topic.comments[0], reply_count=2), *topic.comments[1:]])


def miscount_comments(history: History) -> None:
    change_topic(history, comment_count=3)


def deliver_after_the_right_was_taken(history: History) -> None:
    history.revocations.append(Revocation(BOB, TOPIC, 1.0, 2.0))


def deliver_after_removal(history: History) -> None:
    """The topic is a discussion; its second event put Bob out, and he went on receiving."""
    topic = history.stored[0]
    events = list(topic.events)
    events[0] = replace(events[0], added=frozenset({ANN, BOB}))
    events[3] = replace(events[3], removed=frozenset({BOB}))
    change_topic(history, events=events)


def remove_a_member_twice(history: History) -> None:
    topic = history.stored[0]
    key = make_key("member.removed", None, None)
    twice = [StoredEvent(seq, "member.removed", frozenset({key}), removed=frozenset({BOB})) for seq in (6, 7)]
    created = replace(topic.events[0], added=frozenset({ANN, BOB}))
    change_topic(history, last_seq=7, events=[created, *topic.events[1:], *twice])
    history.writes.append(Write("r6", "remove", ANN, TOPIC, 6.0, BOB, 2, [Answer(6, BOB)], 6.1))
    history.must_have.clear()


def let_a_stranger_subscribe(history: History) -> None:
    history.never.add((BOB, TOPIC))


def refuse_without_reason(history: History) -> None:
    history.writes[0] = replace(history.writes[0], answers=[], refused="conflict")


def never_answer(history: History) -> None:
    history.writes[0] = replace(history.writes[0], answers=[], acknowledged_at=None)


PLANTS: list[tuple[Callable[[History], None], str]] = [
    (drop_a_hint, "undelivered"),
    (drop_the_last_hint, "undelivered"),
    (leave_a_hole_in_what_is_caught_up, "undelivered"),
    (end_catching_up_too_early, "undelivered"),
    (start_afresh_without_reason, "undelivered"),
    (forget_a_reader, "undelivered"),
    (swap_two_events, "out of order"),
    (deliver_before_the_acknowledgement, "out of order"),
    (deliver_twice, "delivered twice"),
    (deliver_again_what_was_caught_up, "delivered twice"),
    (acknowledge_before_the_commit, "lost"),
    (acknowledge_something_else, "lost"),
    (forget_a_request_id, "doubled"),
    (answer_a_repetition_differently, "doubled"),
    (delete_twice, "doubled"),
    (remove_a_member_twice, "doubled"),
    (deliver_what_was_rolled_back, "phantom"),
    (deliver_another_event_under_a_seq, "phantom"),
    (store_what_nobody_wrote, "phantom"),
    (leave_a_gap_in_the_log, "gap"),
    (store_a_row_without_its_event, "gap"),
    (tell_a_wrong_unread_count, "miscounted"),
    (miscount_replies, "miscounted"),
    (miscount_comments, "miscounted"),
    (deliver_after_the_right_was_taken, "not allowed"),
    (deliver_after_removal, "not allowed"),
    (let_a_stranger_subscribe, "not allowed"),
    (refuse_without_reason, "refused"),
    (never_answer, "stuck"),
]


@pytest.mark.parametrize(("plant", "kind"), PLANTS, ids=[plant.__name__ for plant, _ in PLANTS])
def test_the_checker_finds(plant: Callable[[History], None], kind: str) -> None:
    history = good_history()
    plant(history)
    assert kind in kinds(history)


def test_an_event_that_came_before_removal_is_allowed() -> None:
    history = good_history()
    events = list(history.stored[0].events)
    events[0] = replace(events[0], added=frozenset({ANN, BOB}))
    events[4] = replace(events[4], removed=frozenset({BOB}))
    change_topic(history, events=events)
    history.sessions[1].live.clear()
    history.must_have.clear()
    assert "not allowed" not in kinds(history)


def test_a_tombstone_may_have_been_seen_with_its_words_or_without() -> None:
    history = good_history()
    live = history.sessions[0].live
    live[1] = live[1]._replace(key=make_key("comment.added", "c2", None))
    assert check(history) == []


def test_a_reader_that_subscribes_again_may_have_got_more_meanwhile() -> None:
    history = good_history()
    history.sessions[1].after = 1
    history.sessions[1].caught_up.insert(0, history.sessions[0].live[1])
    assert kinds(history) == {"undelivered"}
    history.sessions[1].is_again = True
    assert check(history) == []


def test_a_reader_that_was_cut_while_it_caught_up_goes_on_from_there() -> None:
    history = good_history()
    whole = history.sessions.pop()
    cut = replace(whole, caught_up=whole.caught_up[:1], has_caught_up=False, live=list(whole.live))
    back = replace(whole, after=3, seq=5, began_at=6.0, caught_up=[whole.caught_up[1], *whole.live], live=[])
    history.sessions += [cut, back]
    assert check(history) == []
