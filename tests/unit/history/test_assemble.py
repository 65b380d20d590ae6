"""Events → calls."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.history.assemble import Assembler
from appliance.history.labels import labels_of
from appliance.history.line import EVENTS, Event
from appliance.history.model import Call, Direction, LegResult, Outcome, Transfer
from appliance.history.openstate import dump, load
from appliance.history.rows import call_row, leg_rows
from tests.unit.history.events import RTCP, Channel, Engine, answered_call, callee, caller, unanswered_call


def calls_of(engine: Engine, assembler: Assembler | None = None) -> list[Call]:
    assembler = assembler or Assembler()
    return [call for event in engine.events() for call in assembler.feed(event)]


def only(engine: Engine) -> Call:
    (call,) = calls_of(engine)
    return call


def test_an_answered_call_with_a_losing_device() -> None:
    engine = Engine()
    answered_call(engine)
    call = only(engine)
    assert (call.outcome, call.direction) == (Outcome.ANSWERED, Direction.INTERNAL)
    assert (call.from_device, call.from_extension, call.dialled) == ("desk-1", "101", "102")
    assert (call.reached_device, call.reached_extension, call.reached_number) == ("desk-2", "102", "102")
    assert call.talk_ms == 5009
    assert call.ring_ms == 302
    assert [(leg.device, leg.caller, leg.result) for leg in call.legs] == [
        ("desk-1", True, LegResult.ANSWERED),
        ("desk-2", False, LegResult.ANSWERED),
        ("soft-0", False, LegResult.ELSEWHERE),
    ]
    assert call.legs[1].sip == 200
    assert call.legs[1].quality is not None
    assert call.legs[1].quality.round_trip_ms == 20
    assert not call.incomplete
    assert call.parties() == {"101", "102"}


@pytest.mark.parametrize(
    ("cause", "status", "report", "outcome", "leg"),
    [
        (17, "BUSY", "SIP 486 Busy Here|Down|alaw|", Outcome.BUSY, LegResult.BUSY),
        (127, "CANCEL", "SIP 180 Ringing|Ringing|alaw|", Outcome.CANCELLED, LegResult.CANCELLED),
        (0, "NOANSWER", "SIP 180 Ringing|Ringing|alaw|", Outcome.NO_ANSWER, LegResult.NO_ANSWER),
        (0, "NOANSWER", "Down|Down|alaw|", Outcome.NO_ANSWER, LegResult.NO_ANSWER),
        (38, "CONGESTION", "SIP 503 Service Unavailable|Down|alaw|", Outcome.FAILED, LegResult.FAILED),
        # the engine keeps the first dial's status: here a trunk was out of order before the other one rang in vain
        (0, "CHANUNAVAIL", "SIP 180 Ringing|Ringing|alaw|", Outcome.NO_ANSWER, LegResult.NO_ANSWER),
        (17, "CHANUNAVAIL", "SIP 486 Busy Here|Down|alaw|", Outcome.BUSY, LegResult.BUSY),
    ],
)
def test_calls_nobody_answered(cause: int, status: str, report: str, outcome: Outcome, leg: LegResult) -> None:
    engine = Engine()
    unanswered_call(engine, cause, status, report)
    call = only(engine)
    assert call.outcome is outcome
    assert call.answered is None
    assert call.talk_ms == 0
    assert call.legs[1].result is leg


def test_a_service_answers_without_another_leg() -> None:
    engine = Engine()
    a = caller(engine, dialled="600")
    a.answer()
    a.hangup(16, source=a.name)
    call = only(engine)
    assert (call.outcome, call.dialled, call.reached_device) == (Outcome.ANSWERED, "600", "")
    assert call.answered is not None


def test_a_refused_call() -> None:
    engine = Engine()
    a = caller(engine, dialled="00")
    a.hangup(21, source="dialplan/builtin", report="Ring|Ring|alaw|")
    assert only(engine).outcome is Outcome.FAILED


def test_inbound_and_outbound_and_failover() -> None:
    engine = Engine()
    outside = engine.channel(
        "trunk-voip", number="0200001234", origin="+390200001234", exten="+390200005678", context="from-trunk-voip"
    )
    b = callee(engine, outside)
    b.answer()
    outside.answer()
    outside.hangup(16, "ANSWER")
    b.hangup()
    a = caller(engine, dialled="00200009999")
    first = engine.channel("trunk-one", a.call, number="+390200009999", exten="s", context="from-trunk-one")
    first.hangup(38, report="SIP 503 Service Unavailable|Down|alaw|")
    second = engine.channel("trunk-two", a.call, number="+390200009999", exten="s", context="from-trunk-two")
    second.answer()
    a.answer()
    a.hangup(16, "ANSWER")
    second.hangup()
    inbound, outbound = calls_of(engine)
    assert (inbound.direction, inbound.from_trunk, inbound.from_number) == (Direction.INBOUND, "voip", "+390200001234")
    assert (inbound.from_extension, inbound.reached_extension) == ("", "102")
    assert (outbound.direction, outbound.trunk, outbound.failovers) == (Direction.OUTBOUND, "two", 1)
    assert (outbound.reached_trunk, outbound.reached_number) == ("two", "+390200009999")
    assert outbound.parties() >= {"101", "+390200009999", "00200009999"}


def test_a_withheld_number_is_not_kept() -> None:
    engine = Engine()
    outside = engine.channel(
        "trunk-voip", number="0200001234", name="Somebody", origin="0200001234", exten="+390200005678"
    )
    outside.fields |= {"number": "", "name": "", "origin": ""}  # the dialplan has seen that it is withheld
    b = callee(engine, outside)
    b.answer()
    outside.answer()
    outside.hangup(16, "ANSWER")
    b.hangup()
    call = only(engine)
    assert (call.from_number, call.from_name) == ("", "")
    assert call.parties() == {"+390200005678", "102"}


@pytest.mark.parametrize("marked", ["context", "kind"])
def test_an_emergency_call(marked: str) -> None:
    engine = Engine()
    a = caller(engine, dialled="112")
    if marked == "context":
        a.fields["context"] = "emergency"
    trunk = engine.channel("trunk-one", a.call, number="112", exten="s", context="from-trunk-one")
    trunk.answer()
    a.answer()
    a.hangup(16, "ANSWER", report=f"Up|{RTCP}|alaw|{'emergency' if marked == 'kind' else ''}")
    trunk.hangup()
    assert only(engine).direction is Direction.EMERGENCY


def test_the_token_of_a_transport_stays_out() -> None:
    engine = Engine()
    a = caller(engine, device="desk-1@tls.s3cret", dialled="600")
    a.answer()
    a.hangup()
    call = only(engine)
    assert call.from_device == "desk-1"
    assert "s3cret" not in repr(call)


def test_a_blind_transfer() -> None:
    engine = Engine()
    a = caller(engine)
    b = callee(engine, a)
    b.answer()
    a.answer()
    b.event(
        "BLINDTRANSFER",
        {
            "extension": "103",
            "context": "internal",
            "bridge_id": "x",
            "transferee_channel_name": a.name,
            "transferee_channel_uniqueid": a.id,
        },
    )
    b.hangup()
    c = callee(engine, a, "desk-3", "103")
    c.answer()
    a.hangup(16, "ANSWER")
    c.hangup()
    call = only(engine)
    assert [(t.kind, t.by, t.of, t.to) for t in call.transfers] == [("blind", "102", "101", "103")]
    assert call.reached_extension == "102"
    assert [leg.extension for leg in call.legs] == ["101", "102", "103"]


def attended(engine: Engine) -> None:
    a = caller(engine)
    b = callee(engine, a)
    b.answer()
    a.answer()
    consult = caller(engine, "desk-2", "102", "103")
    c = callee(engine, consult, "desk-3", "103")
    c.answer()
    consult.answer()
    b.event(
        "ATTENDEDTRANSFER",
        {"bridge1_id": "x", "channel2_name": consult.name, "channel2_uniqueid": consult.id, "bridge2_id": "y",
         "transferee_channel_name": a.name, "transferee_channel_uniqueid": a.id,
         "transfer_target_channel_name": c.name, "transfer_target_channel_uniqueid": c.id},
    )  # fmt: skip
    c.call = a.call  # from now on the engine links it to the older call
    c.bridge("z")
    consult.hangup()
    b.hangup()
    a.hangup(16, "ANSWER")
    c.hangup()


def test_an_attended_transfer_makes_one_call_of_two() -> None:
    engine = Engine()
    attended(engine)
    call = only(engine)
    assert [(t.kind, t.by, t.of, t.to) for t in call.transfers] == [("attended", "102", "101", "103")]
    assert [(leg.extension, leg.caller) for leg in call.legs] == [
        ("101", True),
        ("102", False),
        ("102", True),
        ("103", False),
    ]
    assert (call.from_extension, call.reached_extension) == ("101", "102")


def consulted(engine: Engine) -> tuple[Channel, Channel, Channel, Channel]:
    """A talks to B, who consults C; each pair in a bridge of its own."""
    a = caller(engine)
    b = callee(engine, a)
    b.answer()
    a.answer()
    b.bridge("one")
    a.bridge("one")
    consult = caller(engine, "desk-2", "102", "103")
    c = callee(engine, consult, "desk-3", "103")
    c.answer()
    consult.answer()
    c.bridge("two")
    consult.bridge("two")
    return a, b, consult, c


def test_the_shared_bridge_joins_two_calls_also_when_the_older_one_ends_first() -> None:
    """Seen on the engine: C's first event that names the older call comes when A, the last of it, is gone."""
    engine = Engine()
    a, b, consult, c = consulted(engine)
    a.bridge("two")
    b.event("ATTENDEDTRANSFER", {"channel2_uniqueid": consult.id, "transferee_channel_uniqueid": a.id,
                                 "transfer_target_channel_uniqueid": c.id})  # fmt: skip
    b.hangup()
    consult.hangup()
    a.hangup(16, "ANSWER")
    c.call = a.call
    c.hangup()
    call = only(engine)
    assert call.linked_id == a.id
    assert [leg.extension for leg in call.legs] == ["101", "102", "102", "103"]
    assert [(t.by, t.of, t.to) for t in call.transfers] == [("102", "101", "103")]


def test_a_transfer_to_who_is_in_no_bridge_joins_two_calls() -> None:
    engine = Engine()
    a = caller(engine)
    b = callee(engine, a)
    b.answer()
    a.answer()
    b.bridge("one")
    a.bridge("one")
    consult = caller(engine, "desk-2", "102", "*43")
    consult.answer()
    b.event("ATTENDEDTRANSFER", {"channel2_uniqueid": consult.id, "transferee_channel_uniqueid": a.id, "app": "Echo"})
    b.hangup()
    consult.hangup()
    a.hangup(16)
    assert [leg.extension for leg in only(engine).legs] == ["101", "102", "102"]


def test_who_is_handed_on_by_order_is_transferred() -> None:
    """By the hub (HANDED_ON), within one call: 101 called 102, who let it wait and asked 103 through a Local channel."""
    engine = Engine()
    a = caller(engine)
    b = callee(engine, a)
    b.answer()
    a.answer()
    b.bridge("one")
    a.bridge("one")
    a.bridge("holding")
    c = engine.channel("desk-3", a.call, number="103", account="103", exten="s", context="from-device")
    c.answer()
    c.bridge("two")
    a.event("HANDED_ON", {"extra": f"{b.id}|{c.id}"}, context="consultation-join")
    a.bridge("two")
    for channel in (b, c, a):
        channel.hangup()
    call = only(engine)
    assert [leg.extension for leg in call.legs] == ["101", "102", "103"]
    assert [(t.kind, t.by, t.of, t.to) for t in call.transfers] == [("attended", "102", "101", "103")]


def test_two_calls_of_a_phone_that_are_joined_by_order_become_one() -> None:
    engine = Engine()
    a, b, consult, c = consulted(engine)
    a.event("HANDED_ON", {"extra": f"{b.id}|{c.id}"}, context="consultation-join")
    c.bridge("three")
    a.bridge("three")
    for channel in (b, consult, c, a):
        channel.hangup()
    call = only(engine)
    assert [leg.extension for leg in call.legs] == ["101", "102", "102", "103"]
    assert [(t.kind, t.by, t.of, t.to) for t in call.transfers] == [("attended", "102", "101", "103")]


def test_bridges_are_forgotten_with_their_calls() -> None:
    engine = Engine()
    a, b, consult, c = consulted(engine)
    a.bridge("two")
    for channel in (b, consult, a, c):
        channel.hangup()
    assembler = Assembler()
    assert len(calls_of(engine, assembler)) == 1
    assert assembler._of_bridge == {}


def test_forwards_and_pick_up() -> None:
    engine = Engine()
    a = caller(engine)
    a.event("FORWARD", {"forward": "Local/103@internal"})
    b = callee(engine, a)
    other = caller(engine, "desk-9", "109", "*8")
    b.event("PICKUP", {"pickup_channel": other.name, "pickup_channel_uniqueid": other.id})
    for channel in (a, b, other):
        channel.hangup()
    call, _ = calls_of(engine)
    assert call.forwards == ("103",)
    assert [transfer.kind for transfer in call.transfers] == ["pickup"]


def test_calls_of_a_dead_engine_end_with_the_next_run() -> None:
    engine = Engine()
    engine.start()
    a = caller(engine)
    b = callee(engine, a)
    b.answer()
    a.answer()
    last = engine.clock // 1000
    engine.wait(60_000)
    engine.counter = 0
    engine.start()
    answered_call(engine)
    dead, fine = calls_of(engine)
    assert dead.outcome is Outcome.ENGINE_FAILURE
    assert dead.ended == last
    assert {leg.result for leg in dead.legs} == {LegResult.OPEN}
    assert dead.answered is not None
    assert dead.run != fine.run
    assert fine.outcome is Outcome.ANSWERED


def test_the_same_ids_in_two_runs_are_two_calls() -> None:
    engine = Engine()
    engine.start()
    clock = engine.clock
    answered_call(engine)
    engine.clock, engine.counter = clock - 3000, 0  # the clock was set back, and everything happens again
    engine.start()
    answered_call(engine)
    first, second = calls_of(engine)
    assert first.linked_id == second.linked_id
    assert first.outcome is second.outcome is Outcome.ANSWERED


def test_a_clock_set_back_during_a_call_spoils_nothing_but_its_times() -> None:
    engine = Engine()
    a = caller(engine)
    b = callee(engine, a)
    b.answer()
    a.answer()
    engine.clock -= 3_600_000_000
    a.hangup(16, "ANSWER")
    b.hangup()
    call = only(engine)
    assert call.outcome is Outcome.ANSWERED
    assert call.talk_ms == 0


def test_a_call_whose_beginning_was_lost_is_kept_as_incomplete() -> None:
    engine = Engine()
    a = caller(engine)
    a.answer()
    a.hangup()
    engine.lines = engine.lines[1:]
    call = only(engine)
    assert call.incomplete
    assert call.from_extension == "101"


def test_a_call_whose_end_was_lost_is_ended_when_the_engine_does_not_know_it() -> None:
    engine = Engine()
    lost, kept = caller(engine), caller(engine, "desk-7", "107")
    assembler = Assembler()
    assert calls_of(engine, assembler) == []
    ended = assembler.reconcile({kept.id}, engine.clock + 1)
    assert [(call.from_extension, call.incomplete) for call in ended] == [("101", True)]
    assert list(assembler.calls) == [kept.call]
    assert lost.id not in assembler.calls


def test_the_engines_own_affairs_are_no_calls() -> None:
    engine = Engine()
    watch = engine.channel("x")
    watch.name = "Local/s@trunk-watch-00000001;1"
    engine.lines.clear()
    watch.event("CHAN_START")
    watch.hangup(0)
    assembler = Assembler()
    assert calls_of(engine, assembler) == []
    assert not assembler.calls


def test_a_late_event_opens_nothing() -> None:
    engine = Engine()
    a = caller(engine)
    a.hangup()
    a.leg("Up||alaw|")
    assembler = Assembler()
    assert len(calls_of(engine, assembler)) == 1
    assert not assembler.calls
    assert assembler.late == 1


@pytest.mark.parametrize("seed", range(5))
def test_stopping_anywhere_and_going_on_from_the_stored_state_changes_nothing(seed: int) -> None:
    engine = Engine()
    engine.start()
    attended(engine)
    answered_call(engine, losers=2)
    unanswered_call(engine, 17, "BUSY", "SIP 486 Busy Here|Down|alaw|")
    expected = calls_of(engine)
    rng = random.Random(seed)
    assembler, got = Assembler(), []
    for event in engine.events():
        got += assembler.feed(event)
        if rng.random() < 0.5:
            stored = [load(key, dump(call)) for key, call in assembler.calls.items()]
            assembler = Assembler(assembler.run, stored)
    assert got == expected
    assert len(got) == 3


def test_interleaved_calls_are_kept_apart() -> None:
    engine = Engine()
    pairs = []
    for n in range(50):
        a = caller(engine, f"desk-{n}", str(100 + n), str(200 + n))
        pairs.append((a, callee(engine, a, f"phone-{n}", str(200 + n))))
    random.Random(1).shuffle(pairs)
    for a, b in pairs:
        b.answer()
        a.answer()
    for a, b in pairs:
        b.hangup()
        a.hangup(16, "ANSWER")
    calls = calls_of(engine)
    assert len(calls) == 50
    assert all(int(call.reached_extension) == int(call.from_extension) + 100 for call in calls)


IDS = [f"c-1795406000.{n}" for n in range(4)]
TYPES = [*EVENTS[:-1], "LEG", "RUN", "NEW_THING"]


@given(
    st.lists(
        st.builds(
            Event,
            type=st.sampled_from(TYPES),
            time=st.integers(0, 2**52),
            id=st.sampled_from(IDS),
            call=st.sampled_from(IDS),
            channel=st.sampled_from(["PJSIP/a-1-00000001", "PJSIP/trunk-t-00000002", "Local/1@x-00000001;1", "x", "Local/started@"]),
            number=st.text(max_size=3),
            context=st.sampled_from(["", "from-device", "engine-run"]),
            extra=st.none()
            | st.dictionaries(
                st.sampled_from(["hangupcause", "bridge_id", "transferee_channel_uniqueid", "transfer_target_channel_uniqueid", "channel2_uniqueid",
                                 "pickup_channel_uniqueid", "extension", "forward", "extra"]),
                st.sampled_from([*IDS, 17, None, "", 1.5, [], "SIP 200 OK|x|y|z"]),
            ),
        ),
        max_size=40,
    )
)  # fmt: skip
def test_no_order_of_events_is_too_odd(events: list[Event]) -> None:
    assembler = Assembler()
    for event in events:
        for call in assembler.feed(event):
            leg_rows(1, call)
            labels_of(call)
            assert len(call_row(1, call)["linked_id"]) <= 80
        stored = [load(key, dump(call)) for key, call in assembler.calls.items()]
        assert stored == list(assembler.calls.values())
    assembler.close_all()
    assert not assembler.calls


def test_unknown_events_do_no_harm() -> None:
    assert Assembler().feed(Event("NEW_THING", 1, "a.1", "a.1", "PJSIP/x-00000001")) == []
    assert Transfer("blind", 0, "", "", "").to == ""
