"""Live state: from a trace of the real engine, in any order of beginning, and from single events."""

from __future__ import annotations

import functools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.engine.ami_messages import Message
from appliance.hub.live import Live, Snapshot
from tests.unit.hub import traces


@functools.cache
def trace() -> traces.Trace:
    return traces.read()


@functools.cache
def followed() -> dict[int, tuple[traces.State, dict[str, int]]]:
    return traces.followed(trace())


def test_the_trace_holds_what_it_is_for() -> None:
    events = {dict(item[2])["Event"] for item in trace() if item[0] == "event"}
    assert {"Hold", "Unhold", "BlindTransfer", "AttendedTransfer", "BridgeEnter", "UserEvent", "Registry"} <= events
    assert len(traces.snapshots(trace())) >= 15
    assert len(traces.settled(trace())) >= 5
    states = {call["state"] for state, _ in followed().values() for call in state["calls"].values()}
    directions = {call["direction"] for state, _ in followed().values() for call in state["calls"].values()}
    assert states == {"ringing", "up", "held"}
    assert {"internal", "outbound", "emergency"} <= directions


def test_whenever_nothing_is_under_way_events_and_snapshot_tell_the_same() -> None:
    for index in traces.settled(trace()):
        state, memory = followed()[index]
        assert traces.differences(state, traces.state(traces.begun(trace()[index], memory))) == []


@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_a_hub_that_begins_anywhere_sees_the_same(data: st.DataObject) -> None:
    """Begun by any snapshot, in the middle of whatever happened: at the next calm moment all is the same."""
    begin = data.draw(st.sampled_from(traces.snapshots(trace())))
    live = traces.begun(trace()[begin], followed()[begin][1])
    calm = set(traces.settled(trace())) | {len(trace())}
    for index in traces.follow(live, trace(), trace()[begin][3]):
        if index > begin and index in calm:
            assert traces.differences(followed()[index][0], traces.state(live)) == [], (begin, index)


def test_changes_told_one_by_one_add_up_to_the_state() -> None:
    live = traces.begun(trace()[0], {})
    told: dict[str, dict[str, Any]] = {"extensions": {}, "calls": {}, "trunks": {}, "links": {}}
    for _ in traces.follow(live, trace(), 1):
        for change in live.changes():
            if change.data is None:
                del told[change.room][change.id]
            else:
                told[change.room][change.id] = change.data
        assert told == live.state()


def event(**fields: Any) -> Message:
    return Message(tuple((key, str(value)) for key, value in fields.items()))


def channel(id: str, name: str, event_name: str = "Newchannel", **fields: Any) -> Message:
    defaults = {"ChannelState": 4, "CallerIDNum": "201", "Exten": "202", "Context": "from-device", "Linkedid": id}
    return event(Event=event_name, Channel=name, Uniqueid=id, **{**defaults, **fields})


def test_an_event_that_comes_late_brings_no_channel_back() -> None:
    live = Live(traces.company_directory())
    live.feed(channel("x-1.1", "PJSIP/201-1@udp.a-00000001"), 0)
    live.feed(channel("x-1.1", "PJSIP/201-1@udp.a-00000001", "Hangup"), 0)
    live.feed(channel("x-1.1", "PJSIP/201-1@udp.a-00000001", "Newstate"), 0)
    live.feed(channel("x-1.1", "PJSIP/201-1@udp.a-00000001"), 0)
    live.changes()
    assert live.state()["calls"] == {}


def test_the_engine_s_own_affairs_are_nobody_s_call() -> None:
    live = Live(traces.company_directory())
    live.feed(channel("x-1.1", "Local/s@trunk-watch-00000002;1"), 0)
    live.feed(channel("x-1.2", "Local/started@engine-run-00000000;2", Linkedid="x-1.1"), 0)
    live.changes()
    assert live.state()["calls"] == {}


def test_when_it_was_answered_is_never_guessed() -> None:
    row = channel("x-1795405632.1", "PJSIP/201-1@udp.a-00000001", "Status", ChannelState=6, DNID="*43", Seconds=5)
    live = Live(traces.company_directory())
    live.load(Snapshot(channels=[row]))
    live.changes()
    call = live.state()["calls"]["x-1795405632.1"]
    assert (call["state"], call["started"], call["answered"]) == ("up", 1795405632000, None)


@pytest.mark.parametrize(
    ("family", "field", "on", "off"),
    [("dnd", "dnd", True, False), ("forward", "forward", "1", ""), ("lock", "locked", True, False)],
)
def test_what_phones_set(family: str, field: str, on: object, off: object) -> None:
    live = Live(traces.company_directory())
    for value, shown in (("1", on), ("", off)):
        live.feed(event(Event="UserEvent", UserEvent="Setting", Family=family, Key="ext-201", Value=value), 0)
        live.changes()
        assert live.state()["extensions"]["ext-201"][field] == shown
    live.load(Snapshot(settings=[event(Event="DBGetTreeResponse", Key=f"/{family}/ext-201", Val="1")]))
    live.changes()
    assert live.state()["extensions"]["ext-201"][field] == on


def test_another_revision_changes_what_is_known_and_not_who_calls() -> None:
    import dataclasses

    directory = traces.company_directory()
    live = Live(directory)
    live.feed(channel("x-1.1", "PJSIP/201-1@udp.a-00000001"), 0)
    live.changes()
    fewer = {id: entry for id, entry in directory.extensions.items() if id != "ext-202"}
    fewer["ext-201"] = dataclasses.replace(fewer["ext-201"], name="Warehouse")
    live.use(dataclasses.replace(directory, extensions=fewer, revision=2))
    changes = {(change.kind, change.id): change.data for change in live.changes()}
    assert changes["extension", "ext-202"] is None
    assert changes["call", "x-1.1"]["parties"][0]["name"] == "Warehouse"  # type: ignore[index]
    assert live.changes() == []
