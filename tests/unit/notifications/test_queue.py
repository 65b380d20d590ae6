"""Deliveries in the database: made once, in order, given up by age and not by the clock, bounded, replayed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from appliance.core.errors import InvalidError, NotFoundError, RefusedError
from appliance.history import notice, outbox
from appliance.notifications import queue as queues
from appliance.notifications.events import Names
from appliance.notifications.queue import GIVE_UP_MS, Due, Health, Outcome, Wants
from appliance.notifications.state import State
from appliance.store import history as table
from tests.unit.notifications.ground import WHOLE, Ground, call

NOW = 1_795_406_000_000
HOUR = 3_600_000
NAMES = Names({})


def fan_out(ground: Ground, *endpoints: str, now: int = NOW) -> int:
    return ground.queue.fan_out([Wants(each) for each in endpoints], NAMES, now)


def due(
    ground: Ground, now: int = NOW, endpoint: str = "crm", limit: int = 100, besides: tuple[int, ...] = ()
) -> list[Due]:
    return ground.queue.due(endpoint, now, limit, besides)


def outbox_row(ground: Ground) -> Any:
    with ground.database.read() as connection:
        return connection.execute(select(table.outbox)).one()


def test_a_notice_becomes_one_delivery_for_each_endpoint_once(ground: Ground) -> None:
    ground.notice(call("c.1", *WHOLE), call("c.2", notice.STARTED))
    assert fan_out(ground, "crm", "erp") == 4
    assert fan_out(ground, "crm", "erp") == 0
    assert sorted((d.endpoint, d.stream, d.type) for d in ground.listed()) == sorted(
        (endpoint, key, type)
        for endpoint in ("crm", "erp")
        for key, type in (*(("c.1", each) for each in WHOLE), ("c.2", notice.STARTED))
    )
    assert len({d.id for d in ground.listed()}) == 8
    assert (outbox_row(ground).last, outbox_row(ground).taken, outbox_row(ground).last_delivery) == (4, 4, 8)


def test_without_endpoints_notices_are_forgotten(ground: Ground) -> None:
    ground.notice(call("c.1", *WHOLE))
    assert fan_out(ground) == 3
    assert fan_out(ground, "crm") == 0
    assert ground.listed() == []


@pytest.mark.parametrize("facts", ["", "[]", "{}", "\x00", '{"direction": 1}'])
def test_a_notice_that_can_t_be_read_holds_up_nothing(ground: Ground, facts: str) -> None:
    with ground.database.write() as connection:
        for number, type in ((1, notice.STARTED), (2, "call.parked")):
            connection.execute(insert(table.notice).values(id=number, type=type, stream="x", time=NOW, facts=facts))
        connection.execute(update(table.outbox).values(last=2))
    ground.notice(call("c.1", notice.STARTED))
    assert fan_out(ground, "crm") == 3
    assert [d.stream for d in ground.listed()] == ["c.1"]


def test_only_the_first_that_waits_of_a_call_is_due(ground: Ground) -> None:
    ground.notice(call("c.1", *WHOLE), call("c.2", *WHOLE))
    fan_out(ground, "crm", "erp")
    first = due(ground)
    assert [(each.stream, each.type) for each in first] == [("c.1", notice.STARTED), ("c.2", notice.STARTED)]
    assert due(ground, besides=(first[0].number,)) == [first[1]]
    assert due(ground, limit=1) == first[:1]
    ground.queue.settle([Outcome(first[0], 200), Outcome(first[1], 400, "HTTP 400", wait_ms=HOUR)], {}, NOW)
    assert [(each.stream, each.type) for each in due(ground)] == [("c.1", notice.ANSWERED)]
    assert [each.type for each in due(ground, NOW + HOUR) if each.stream == "c.2"] == [notice.STARTED]
    assert len(due(ground, endpoint="erp")) == 2


def test_the_next_of_a_call_goes_on_when_one_is_given_up(ground: Ground) -> None:
    ground.notice(call("c.1", *WHOLE))
    fan_out(ground, "crm")
    ground.queue.settle([Outcome(due(ground)[0], 410, "HTTP 410", permanent=True)], {}, NOW)
    assert [each.type for each in due(ground)] == [notice.ANSWERED]


@pytest.mark.parametrize("jump", [-20 * 365 * 24 * HOUR, -5 * HOUR, 10 * 365 * 24 * HOUR])
def test_a_clock_that_jumps_neither_gives_up_nor_forgets(ground: Ground, jump: int) -> None:
    ground.notice(call("c.1", notice.STARTED))
    fan_out(ground, "crm")
    ground.queue.settle(
        [Outcome(due(ground)[0], 500, "HTTP 500", wait_ms=HOUR)], {"crm": Health(error="HTTP 500")}, NOW
    )
    assert due(ground, NOW + HOUR // 2) == []
    (found,) = due(ground, NOW + jump)
    ground.queue.settle([Outcome(found, 500, "HTTP 500", wait_ms=HOUR)], {"crm": Health(error="HTTP 500")}, NOW + jump)
    assert ground.listed()[0].state is State.WAITING


def test_what_fails_by_itself_for_three_days_is_given_up(ground: Ground) -> None:
    """The endpoint takes everything else; three days are counted by the waits."""
    ground.notice(call("c.1", notice.STARTED))
    fan_out(ground, "crm")
    now, attempts = NOW, 0
    while found := due(ground, now):
        ground.queue.settle([Outcome(found[0], 422, "HTTP 422", wait_ms=HOUR)], {"crm": Health()}, now)
        now += HOUR
        attempts += 1
        assert attempts < 100
    assert attempts == 73
    (dead,) = ground.listed(state=State.DEAD)
    assert (dead.error, dead.status, dead.attempts) == ("HTTP 422", 422, 73)


def test_what_waits_for_an_endpoint_that_fails_for_three_days_is_given_up(ground: Ground) -> None:
    """Only one in a while is tried; the others grow old with it. An outage of before doesn't count, nor a sender that is off."""
    before = Health(failing_ms=30 * 24 * HOUR, error="it can't be reached", failing_since=NOW)
    ground.queue.settle([], {"crm": before}, NOW)
    ground.notice(call("c.1", notice.STARTED), call("c.2", notice.STARTED), call("c.3", notice.STARTED))
    fan_out(ground, "crm")
    health, now = before, NOW
    for hours in range(1, 72):
        now += HOUR
        health.failing_ms += HOUR
        tried = due(ground, now)[0]
        assert (
            ground.queue.settle([Outcome(tried, None, "it can't be reached", wait_ms=HOUR)], {"crm": health}, now) == 0
        ), hours
    ground.notice(call("c.4", notice.STARTED))
    fan_out(ground, "crm", now=now)
    health.failing_ms += 2 * HOUR
    now += 365 * 24 * HOUR  # nobody tried for a year
    assert ground.queue.settle([], {"crm": health}, now) == 3
    assert [d.stream for d in ground.listed(state=State.WAITING)] == ["c.4"]
    assert {d.error for d in ground.listed(state=State.DEAD)} == {"it can't be reached"}


def test_an_age_doesn_t_count_the_same_hour_twice(ground: Ground) -> None:
    """The one that is always tried is given up no sooner than its neighbours."""
    ground.notice(call("c.1", notice.STARTED))
    fan_out(ground, "crm")
    health, now, hours = Health(error="down"), NOW, 0
    while found := due(ground, now):
        ground.queue.settle([Outcome(found[0], None, "down", wait_ms=HOUR)], {"crm": health}, now)
        health.failing_ms += HOUR
        now += HOUR
        hours += 1
        assert hours < 100
    assert GIVE_UP_MS // HOUR <= hours <= GIVE_UP_MS // HOUR + 1


def test_a_queue_that_is_full_makes_dead_letters_that_can_be_replayed(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queues, "WAITING_MAX", 5)
    ground.notice(*(call(f"c.{n}", notice.STARTED) for n in range(8)))
    fan_out(ground, "crm", "erp")
    assert ground.queue.figures().waiting == {"crm": 5, "erp": 5}
    dead = ground.listed(state=State.DEAD, endpoint="crm")
    assert [d.stream for d in dead] == ["c.7", "c.6", "c.5"]
    assert {d.error for d in dead} == {"too many wait for this endpoint already"}
    assert ground.deliveries.replay(dead[0].id).state is State.WAITING
    assert ground.deliveries.replay_dead() == 5
    assert ground.queue.figures().waiting == {"crm": 8, "erp": 8}


def test_what_nobody_takes_out_is_bounded_too(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "WAITING_MAX", 5)
    ground.notice(*(call(f"c.{n}", notice.STARTED) for n in range(4)))
    ground.notice(*(call(f"d.{n}", notice.STARTED) for n in range(4)))
    row = outbox_row(ground)
    assert (row.last, row.taken, row.dropped) == (5, 0, 3)
    fan_out(ground, "crm")
    ground.notice(call("e.1", notice.STARTED))
    fan_out(ground, "crm")
    assert [d.stream for d in reversed(ground.listed())] == ["c.0", "c.1", "c.2", "c.3", "d.0", "e.1"]


def test_old_ones_are_cleared_away(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queues, "DELIVERED_MAX", 3)
    monkeypatch.setattr(queues, "DEAD_MAX", 2)
    ground.notice(*(call(f"c.{n}", notice.STARTED) for n in range(12)))
    fan_out(ground, "crm")
    found = due(ground)
    done = [Outcome(each, 200) for each in found[:6]] + [
        Outcome(each, 410, "x", permanent=True) for each in found[6:10]
    ]
    ground.queue.settle(done, {}, NOW)
    assert ground.queue.clear_away(NOW) == 5
    assert [d.stream for d in ground.listed(state=State.DELIVERED)] == ["c.5", "c.4", "c.3"]
    assert [d.stream for d in ground.listed(state=State.DEAD)] == ["c.9", "c.8"]
    assert ground.queue.clear_away(NOW + 8 * 24 * HOUR) == 3
    assert ground.queue.clear_away(NOW + 10 * 365 * 24 * HOUR) == 0, "dead letters stay, whatever the clock says"
    assert len(ground.listed(state=State.WAITING)) == 2


def test_pages_orders_and_what_isn_t_there(ground: Ground) -> None:
    ground.notice(*(call(f"c.{n}", notice.STARTED) for n in range(5)))
    fan_out(ground, "crm")
    page = ground.deliveries.listed(limit=2)
    assert [d.stream for d in page] == ["c.4", "c.3"]
    assert [d.stream for d in ground.deliveries.listed(limit=2, before=page[-1].number)] == ["c.2", "c.1"]
    assert ground.deliveries.listed(endpoint="erp") == []
    for limit in (0, 1001):
        with pytest.raises(InvalidError):
            ground.deliveries.listed(limit=limit)
    with pytest.raises(NotFoundError):
        ground.deliveries.get("dlv_nothing")
    with pytest.raises(RefusedError) as refused:
        ground.deliveries.replay(page[0].id)
    assert refused.value.error_id == "waiting"
    with pytest.raises(RefusedError):
        ground.deliveries.discard(page[0].id)
    ground.queue.settle([Outcome(due(ground)[0], 410, "HTTP 410", permanent=True)], {}, NOW)
    (dead,) = ground.listed(state=State.DEAD)
    ground.deliveries.discard(dead.id)
    assert ground.deliveries.discard_dead("crm") == 0
    assert len(ground.listed()) == 4


def test_what_was_delivered_can_be_sent_again(ground: Ground) -> None:
    ground.notice(call("c.1", notice.STARTED))
    fan_out(ground, "crm")
    ground.queue.settle([Outcome(due(ground)[0], 200)], {"crm": Health(failing_ms=7)}, NOW)
    before = ground.listed()[0]
    again = ground.deliveries.replay(before.id)
    assert (again.id, again.body, again.attempts) == (before.id, before.body, 0)
    assert due(ground, again.next_try or 0)[0].outage_ms == 7
    (status,) = ground.deliveries.endpoints()
    assert (status.id, status.waiting, status.dead, status.delivered) == ("crm", 1, 0, 0)


def test_a_body_is_what_is_told_of_the_call(ground: Ground) -> None:
    ground.notice(call("c.1", notice.ENDED))
    ground.queue.fan_out([Wants("crm")], Names({"201": ("anna", "Anna B.")}), NOW)
    assert json.loads(ground.listed()[0].body) == {
        "type": "call.ended", "timestamp": "2026-11-23T03:53:20.000Z",
        "data": {
            "call": "c.1", "direction": "inbound", "caller": "+390200000123", "caller_name": "Anna", "called": "+390200001000",
            "user": {"id": "anna", "name": "Anna B.", "extension": "201"}, "did": "+390200001000", "trunk": "line", "site": "hq",
            "start": "2026-11-23T03:53:20.000Z", "reached": "201", "answer": "2026-11-23T03:53:22.000Z",
            "end": "2026-11-23T03:54:22.500Z", "duration_s": 60.5, "ringing_s": 1.9, "outcome": "answered",
            "quality": {"loss_percent": 0.5, "jitter_ms": 3.25, "round_trip_ms": 20.0}, "transfers": [], "history_id": 7,
        },
    }  # fmt: skip
