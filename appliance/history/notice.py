"""What a call's notices say (pure): the facts that the history knows; who gets them is :mod:`appliance.notifications`' business.

Notices of one call come in this order: started, answered, joined *or* missed, ended. Each at most once, started and ended of every
call; a call that was joined to another ends with that one, so ``joined`` is its last.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from appliance.history.model import Call, Direction, Outcome
from appliance.history.openstate import EMERGENCY_CONTEXT, OUTSIDE_CONTEXT, Channel, OpenCall

STARTED: Final = "call.started"
ANSWERED: Final = "call.answered"
JOINED: Final = "call.joined"
MISSED: Final = "call.missed"
ENDED: Final = "call.ended"
ALARM_RAISED: Final = "alarm.raised"
ALARM_CLEARED: Final = "alarm.cleared"
EVERY_NOTICE: Final = (STARTED, ANSWERED, JOINED, MISSED, ENDED, ALARM_RAISED, ALARM_CLEARED)

Facts = dict[str, Any]
_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))  # made once: thrice the price of one text


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that somebody may want to know.

    :param stream: what it is about: notices of one stream are delivered in order.
    :param time: when it happened, milliseconds since the epoch.
    :param ended: the record that ``facts`` are to be completed from once it has its number in the history.
    """

    type: str
    stream: str
    time: int
    facts: Facts
    ended: Call | None = None


def facts_of(call: Call) -> Facts:
    """What is known of a call that has ended, as plain data; times in milliseconds. See :func:`so_far`."""
    leg = next((leg for leg in call.legs if not leg.caller and leg.extension), None)
    return {
        "direction": call.direction.value,
        "from_device": call.from_device,
        "from_extension": call.from_extension,
        "from_number": call.from_number,
        "from_name": call.from_name,
        "from_site": call.from_site,
        "dialled": call.dialled,
        "called_device": call.reached_device or ("" if leg is None else leg.device),
        "called_extension": call.reached_extension or ("" if leg is None else leg.extension),
        "reached": call.reached_extension or call.reached_number,
        "reached_site": call.reached_site,
        "trunk": call.from_trunk or call.trunk,
        "started": call.started,
    }


def so_far(call: OpenCall, reached: Channel | None = None) -> Facts:
    """The same of a call that goes on. It costs little: it is asked twice of each call. Where legs stand is told at their end.

    :param reached: who has answered.
    """
    first = call.channels.get(call.first) or next(iter(call.channels.values()))
    called = call.called
    device = reached if reached is not None and reached.device else next((each for each in called if each.device), None)
    trunk = next((each.trunk for each in called if each.trunk), "")
    if first.trunk:
        direction = Direction.INBOUND
    elif EMERGENCY_CONTEXT in call.contexts:
        direction = Direction.EMERGENCY
    else:
        direction = Direction.OUTBOUND if trunk or OUTSIDE_CONTEXT in call.contexts else Direction.INTERNAL
    return {
        "direction": direction.value,
        "from_device": first.device,
        "from_extension": first.extension,
        "from_number": first.origin if first.trunk else first.number or first.first_number,
        "from_name": "" if first.trunk and not first.origin else first.caller_name,
        "from_site": "",
        "dialled": first.exten,
        "called_device": "" if device is None else device.device,
        "called_extension": "" if device is None else device.extension,
        "reached": "" if reached is None else reached.number if reached.trunk else reached.extension,
        "reached_site": "",
        "trunk": first.trunk or trunk,
        "started": first.started // 1000,
    }


def started(key: str, facts: Facts) -> Notice:
    """A call began: somebody is being called, or it was answered at once."""
    return Notice(STARTED, key, facts["started"], facts)


def answered(key: str, facts: Facts, time: int) -> Notice:
    """Somebody, or a service, has answered; at this time in milliseconds."""
    return Notice(ANSWERED, key, time, {**facts, "answered": time})


def joined(key: str, into: str, time: int) -> Notice:
    """A call has become part of another one, by a transfer."""
    return Notice(JOINED, key, time, {"into": into})


def ended(call: Call) -> list[Notice]:
    """How a call ended; before it, that it was missed if it was."""
    facts = {**facts_of(call), **_results(call)}
    found = [Notice(MISSED, call.linked_id, call.ended, facts)] if missed(call) else []
    return [*found, Notice(ENDED, call.linked_id, call.ended, facts, ended=call)]


def missed(call: Call) -> bool:
    """Whether somebody here was called and didn't answer, whoever gave up first. A call from outside always was for somebody here."""
    if call.outcome in (Outcome.ANSWERED, Outcome.ENGINE_FAILURE):
        return False
    if call.direction is Direction.INBOUND:
        return True
    return call.direction is Direction.INTERNAL and any(leg.device and not leg.caller for leg in call.legs)


def _results(call: Call) -> Facts:
    trips = [leg.quality.round_trip_ms for leg in call.legs if leg.quality is not None]
    return {
        "outcome": call.outcome.value,
        "rang": call.rang,
        "answered": call.answered,
        "ended": call.ended,
        "talk_ms": call.talk_ms,
        "ring_ms": call.ring_ms,
        "loss_percent": call.loss_percent,
        "jitter_ms": call.jitter_ms,
        "round_trip_ms": max((trip for trip in trips if trip is not None), default=None),
        "transfers": [{"kind": t.kind, "by": t.by, "of": t.of, "to": t.to} for t in call.transfers],
        "incomplete": call.incomplete,
    }


def text_of(facts: Facts) -> str:
    """Facts as they are stored."""
    return _ENCODER.encode(facts)
