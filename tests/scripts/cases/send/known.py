"""What `send` must give and change for an id that was sent before."""

from __future__ import annotations

from headrace import EventConflict
from tests.scripts.cases.case import FUTURE, IN_60_S, IN_120_S, PAST, Step, case, header, seed_record
from tests.scripts.cases.send.events import BEYOND, entry, later, outgoing, seed_sent, send, text
from tests.scripts.state import NOW, Keyspace, moment_of


@case
def its_own_retry(keyspace: Keyspace) -> Step:
    """The same call again, its reply having been lost, changes nothing and answers as the first time."""
    event = outgoing("e1")
    seed_sent(keyspace, event, header("tok.1"))
    return Step(send(keyspace, event), [event.sent(delivered_at=moment_of(PAST))], {})


@case
def its_own_retry_after_dispatch(keyspace: Keyspace) -> Step:
    """The same call again is recognised even when the event has been dispatched meanwhile."""
    event = outgoing("e1")
    seed_sent(keyspace, event, header("tok.1", runs="2"))
    return Step(send(keyspace, event), [event.sent(delivered_at=moment_of(PAST))], {})


@case
def its_own_retry_of_a_delay(keyspace: Keyspace) -> Step:
    """The same call again does not move a delay: it answers with the time that the first one set."""
    event = later("e1", after_s=60)
    seed_sent(keyspace, event, header("tok.1", due=FUTURE, delivered=0))
    keyspace.seed("ZADD", "due", FUTURE, "e:e1")
    return Step(send(keyspace, event), [event.sent(deliver_at=moment_of(FUTURE))], {})


@case
def its_own_retry_with_a_longer_dedupe(keyspace: Keyspace) -> Step:
    """The mark of the header is no part of the call's token."""
    event = outgoing("e1", dedupe_for=3_600)
    seed_sent(keyspace, event, header("+tok.1"))
    return Step(send(keyspace, event), [event.sent(delivered_at=moment_of(PAST))], {})


@case
def a_delayed_id_again_with_a_longer_dedupe(keyspace: Keyspace) -> Step:
    """What the last send says counts."""
    seed_sent(keyspace, later("e1", at=BEYOND), header("other.1", due=BEYOND, delivered=0))
    keyspace.seed("ZADD", "due", BEYOND, "e:e1")
    event = outgoing("e1", dedupe_for=3_600)
    return Step(
        send(keyspace, event),
        [event.sent(delivered_at=NOW)],
        {
            "event:e1 m": header("+tok.1", delivered=NOW),
            "event:e1 d": "3600000",
            "due e:e1": None,
            "events new-1": entry(event),
        },
        full="refused",
    )


@case
def its_own_retry_after_promotion(keyspace: Keyspace) -> Step:
    """The same call again for an event that was delayed and delivered since answers with its due time."""
    event = later("e1", after_s=60)
    seed_sent(keyspace, event, header("tok.1", due=PAST, delivered=PAST + 1))
    return Step(send(keyspace, event), [event.sent(deliver_at=moment_of(PAST))], {})


@case
def a_delivered_id(keyspace: Keyspace) -> Step:
    """The id of a delivered event triggers nothing again: the answer is what is stored."""
    stored = outgoing("e1", "stored")
    seed_sent(keyspace, stored, header("other.1", runs="1"))
    answer = stored.sent(delivered_at=moment_of(PAST), duplicate=True, status="dispatched")
    return Step(send(keyspace, outgoing("e1", "sent again")), [answer], {})


@case
def a_delivered_id_for_later(keyspace: Keyspace) -> Step:
    """The id of a delivered event is not delayed either."""
    stored = outgoing("e1", "stored")
    seed_sent(keyspace, stored, header("other.1", runs="1"))
    answer = stored.sent(delivered_at=moment_of(PAST), duplicate=True, status="dispatched")
    return Step(send(keyspace, later("e1", after_s=60)), [answer], {})


@case
def a_canceled_id(keyspace: Keyspace) -> Step:
    """The id of a canceled event is not sent again."""
    stored = outgoing("e1", "stored")
    seed_sent(keyspace, stored, header("other.1", due=FUTURE, delivered=0, canceled=PAST, runs="0"))
    answer = stored.sent(deliver_at=moment_of(FUTURE), duplicate=True, status="canceled")
    return Step(send(keyspace, outgoing("e1", "sent again")), [answer], {})


@case
def a_delivered_id_under_another_name(keyspace: Keyspace) -> Step:
    """The id of a delivered event is not another event's."""
    seed_sent(keyspace, outgoing("e1"), header("other.1", runs="1"))
    return Step(send(keyspace, outgoing("e1", name="user.gone")), [EventConflict("e1", status="dispatched")], {})


@case
def a_canceled_id_from_another_source(keyspace: Keyspace) -> Step:
    """Nor is that of a canceled one."""
    seed_sent(keyspace, outgoing("e1"), header("other.1", due=FUTURE, delivered=0, canceled=PAST, runs="0"))
    return Step(send(keyspace, outgoing("e1", source="bank")), [EventConflict("e1", status="canceled")], {})


@case
def a_derived_id_under_another_name(keyspace: Keyspace) -> Step:
    """What a run has sent under a key stays what it was, whatever a later attempt sends under that key."""
    stored = outgoing("e1", kind="d")
    seed_sent(keyspace, stored, header("other.1", runs="1"))
    answer = stored.sent(delivered_at=moment_of(PAST), duplicate=True, status="dispatched")
    return Step(send(keyspace, outgoing("e1", kind="d", name="user.gone")), [answer], {})


@case
def a_remembered_id_without_contents(keyspace: Keyspace) -> Step:
    """An id of which only the header is left (retention 0) is known as well."""
    keyspace.seed("HSET", "event:e1", "m", header("other.1", runs="1"))
    event = outgoing("e1", "sent again")
    answer = event.sent(delivered_at=moment_of(PAST), duplicate=True, status="dispatched")
    return Step(send(keyspace, event), [answer], {})


@case
def another_name(keyspace: Keyspace) -> Step:
    """A delayed event is not replaced by one with another name."""
    seed_sent(keyspace, outgoing("e1"), header("other.1", due=FUTURE, delivered=0))
    return Step(send(keyspace, outgoing("e1", name="user.gone")), [EventConflict("e1")], {})


@case
def another_source(keyspace: Keyspace) -> Step:
    """A delayed event is not replaced by one with another source."""
    seed_sent(keyspace, outgoing("e1"), header("other.1", due=FUTURE, delivered=0))
    return Step(send(keyspace, outgoing("e1", source="shop2")), [EventConflict("e1")], {})


@case
def a_delay_is_rescheduled(keyspace: Keyspace) -> Step:
    """A delayed event that is sent again gets the new payload and time; `recent` has it already."""
    seed_sent(keyspace, outgoing("e1", "old"), header("other.1", due=FUTURE, delivered=0))
    keyspace.seed("ZADD", "due", FUTURE, "e:e1")
    event = later("e1", after_s=60, payload="new")
    return Step(
        send(keyspace, event),
        [event.sent(deliver_at=IN_60_S)],
        {
            "event:e1 m": header("tok.1", due=IN_60_S, delivered=0),
            "event:e1 e": text(event),
            "due e:e1": IN_60_S,
            "wake 0": "1",
        },
        full="refused",
    )


@case
def a_delay_is_put_off(keyspace: Keyspace) -> Step:
    """A delayed event can be moved to a later time, which wakes no promoter."""
    seed_sent(keyspace, outgoing("e1", "old"), header("other.1", due=FUTURE, delivered=0))
    keyspace.seed("ZADD", "due", FUTURE, "e:e1")
    event = later("e1", at=BEYOND)
    return Step(
        send(keyspace, event),
        [event.sent(deliver_at=moment_of(BEYOND))],
        {
            "event:e1 m": header("tok.1", due=BEYOND, delivered=0),
            "event:e1 e": text(event),
            "due e:e1": str(BEYOND),
        },
        full="refused",
    )


@case
def a_delay_is_pulled_forward(keyspace: Keyspace) -> Step:
    """A delayed event that is sent again for now is in `events` and not in `due` any more."""
    seed_sent(keyspace, outgoing("e1", "old"), header("other.1", due=FUTURE, delivered=0))
    keyspace.seed("ZADD", "due", FUTURE, "e:e1")
    event = outgoing("e1", "new")
    return Step(
        send(keyspace, event),
        [event.sent(delivered_at=NOW)],
        {
            "event:e1 m": header("tok.1", delivered=NOW),
            "event:e1 e": text(event),
            "events new-1": entry(event),
            "due e:e1": None,
        },
        full="refused",
    )


@case
def the_same_id_twice(keyspace: Keyspace) -> Step:
    """Of two events of a batch with one id the first is delivered, the second a duplicate of it."""
    first, second = outgoing("e1", "first"), outgoing("e1", "second")
    return Step(
        send(keyspace, first, second),
        [first.sent(delivered_at=NOW), first.sent(delivered_at=NOW, duplicate=True)],
        {
            "event:e1 m": header("tok.1", delivered=NOW),
            "event:e1 e": text(first),
            "events new-1": entry(first),
            "recent new-1": {"e1": "user.new"},
        },
        full="refused",
    )


@case
def the_same_id_twice_again(keyspace: Keyspace) -> Step:
    """The retry of a call that had one id twice answers as the first time, place by place."""
    first, second = outgoing("e1", "first"), outgoing("e1", "second")
    seed_sent(keyspace, first, header("tok.1"))
    sent = first.sent(delivered_at=moment_of(PAST))
    return Step(send(keyspace, first, second), [sent, first.sent(delivered_at=sent.delivered_at, duplicate=True)], {})


@case
def the_same_id_delayed_twice(keyspace: Keyspace) -> Step:
    """Of two delayed events of a batch with one id the second replaces the first."""
    first, second = later("e1", after_s=60, payload="first"), later("e1", after_s=120, payload="second")
    return Step(
        send(keyspace, first, second),
        [first.sent(deliver_at=IN_60_S), second.sent(deliver_at=IN_120_S)],
        {
            "event:e1 m": header("tok.2", due=IN_120_S, delivered=0),
            "event:e1 e": text(second),
            "due e:e1": IN_120_S,
            "recent new-1": {"e1": "user.new"},
            "wake 0": "1",
        },
        full="refused",
    )


@case
def the_same_id_delayed_twice_again(keyspace: Keyspace) -> Step:
    """The retry of a call that had delayed one id twice replaces nothing."""
    first, second = later("e1", after_s=60, payload="first"), later("e1", after_s=120, payload="second")
    seed_sent(keyspace, second, header("tok.2", due=FUTURE, delivered=0))
    keyspace.seed("ZADD", "due", FUTURE, "e:e1")
    when = moment_of(FUTURE)
    return Step(send(keyspace, first, second), [first.sent(deliver_at=when), second.sent(deliver_at=when)], {})


@case
def new_and_known_together(keyspace: Keyspace) -> Step:
    """Each event of a batch gets its own answer, in its place."""
    known, foreign = outgoing("known", "stored"), outgoing("foreign")
    seed_sent(keyspace, known, header("other.1", runs="1"))
    seed_sent(keyspace, foreign, header("other.2", due=FUTURE, delivered=0))
    fresh, last = outgoing("fresh"), outgoing("last")
    return Step(
        send(keyspace, outgoing("known"), fresh, outgoing("foreign", name="user.gone"), last),
        [
            known.sent(delivered_at=moment_of(PAST), duplicate=True, status="dispatched"),
            fresh.sent(delivered_at=NOW),
            EventConflict("foreign"),
            last.sent(delivered_at=NOW),
        ],
        {
            "event:fresh m": header("tok.2", delivered=NOW),
            "event:fresh e": text(fresh),
            "event:last m": header("tok.4", delivered=NOW),
            "event:last e": text(last),
            "events new-1": entry(fresh),
            "events new-2": entry(last),
            "recent new-1": {"fresh": "user.new", "last": "user.new"},
        },
        full="refused",
    )


@case
def a_lost_body(keyspace: Keyspace) -> Step:
    """A delayed event whose record has lost its body does not stop the batch: it counts as another one's."""
    seed_record(keyspace, "e1", due=FUTURE, delivered=0, body=None)
    return Step(send(keyspace, outgoing("e1")), [EventConflict("e1")], {})
