"""Events of the engine → what is told of calls, while they go on."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from appliance.history.assemble import Assembler
from appliance.history.notice import ANSWERED, ENDED, JOINED, MISSED, STARTED, Notice
from appliance.history.openstate import dump, load
from tests.unit.history.events import Engine, answered_call, callee, caller, unanswered_call


def told(engine: Engine, *, restarting: bool = False) -> list[Notice]:
    """What is told. ``restarting``: the reader is another one for every event."""
    assembler = Assembler()
    found: list[Notice] = []
    for event in engine.events():
        assembler.feed(event)
        found += assembler.notices
        assembler.notices.clear()
        if restarting:
            assembler = Assembler(
                assembler.run,
                [load(key, dump(call)) for key, call in assembler.calls.items() if key not in assembler.gone],
            )
    return found


def types(notices: Sequence[Notice]) -> list[str]:
    return [each.type for each in notices]


@pytest.mark.parametrize("restarting", [False, True])
def test_an_answered_call(restarting: bool) -> None:
    engine = Engine()
    answered_call(engine)
    started, answered, ended = told(engine, restarting=restarting)
    assert types([started, answered, ended]) == [STARTED, ANSWERED, ENDED]
    assert {each.stream for each in (started, answered, ended)} == {"centralino-1795406000.0"}
    assert (started.facts["direction"], started.facts["from_extension"], started.facts["dialled"]) == (
        "internal",
        "101",
        "102",
    )
    assert started.time == started.facts["started"]
    assert (answered.facts["reached"], answered.facts["called_extension"]) == ("102", "102")
    assert answered.time == answered.facts["answered"] == ended.facts["answered"]
    assert ended.ended is not None
    assert (ended.facts["outcome"], ended.facts["talk_ms"], ended.facts["ring_ms"]) == ("answered", 5009, 302)
    assert ended.facts["round_trip_ms"] == 20
    assert ended.time == ended.facts["ended"]


def test_it_is_told_the_moment_that_it_happens() -> None:
    engine, assembler = Engine(), Assembler()
    seen: list[list[str]] = []

    def go_on() -> None:
        for event in engine.events():
            assembler.feed(event)
        engine.lines.clear()
        seen.append(types(assembler.notices))
        assembler.notices.clear()

    a = caller(engine)
    go_on()
    b = callee(engine, a)
    go_on()
    b.answer()
    go_on()
    a.answer()
    b.bridge("x")
    a.bridge("x")
    go_on()
    a.hangup(16, "ANSWER", a.name)
    go_on()
    b.hangup(16, source=a.name)
    go_on()
    assert seen == [[], [STARTED], [ANSWERED], [], [], [ENDED]]


@pytest.mark.parametrize(
    ("cause", "status", "report", "outcome"),
    [
        (17, "BUSY", "SIP 486 Busy Here|Down|alaw|", "busy"),
        (127, "CANCEL", "SIP 180 Ringing|Ringing|alaw|", "cancelled"),
        (0, "NOANSWER", "SIP 180 Ringing|Ringing|alaw|", "no_answer"),
        (38, "CONGESTION", "SIP 503 Service Unavailable|Down|alaw|", "failed"),
    ],
)
def test_a_missed_call(cause: int, status: str, report: str, outcome: str) -> None:
    engine = Engine()
    unanswered_call(engine, cause, status, report)
    notices = told(engine)
    assert types(notices) == [STARTED, MISSED, ENDED]
    assert notices[1].facts["outcome"] == outcome
    assert notices[1].facts["called_extension"] == "102"
    assert notices[1].facts["answered"] is None


def test_a_call_to_nobody_begins_and_ends_and_isn_t_missed() -> None:
    engine = Engine()
    a = caller(engine, dialled="999")
    a.hangup(1, report="Ring|Ring|alaw|")
    assert types(told(engine)) == [STARTED, ENDED]


def test_a_call_from_outside_to_nobody_is_missed() -> None:
    engine = Engine()
    line = engine.channel(
        "trunk-line", number="0200000123", origin="+390200000123", exten="+390200001000", context="from-trunk"
    )
    line.hangup(1, report="Ring|Ring|alaw|")
    notices = told(engine)
    assert types(notices) == [STARTED, MISSED, ENDED]
    assert (notices[0].facts["direction"], notices[0].facts["from_number"]) == ("inbound", "+390200000123")
    assert notices[0].facts["trunk"] == "line"


def test_a_service_answers() -> None:
    engine = Engine()
    a = caller(engine, dialled="*43")
    a.answer()
    engine.wait(2000)
    a.hangup(16, report="Up|Up|alaw|")
    assert types(told(engine)) == [STARTED, ANSWERED, ENDED]


def test_a_call_that_is_joined_to_another_says_so_and_says_no_more() -> None:
    """A talks to B, who asks C and transfers A there: two calls become one."""
    engine = Engine()
    a = caller(engine)
    b = callee(engine, a)
    b.answer()
    a.answer()
    b.bridge("first")
    a.bridge("first")
    b2 = engine.channel("desk-2", number="102", account="102", exten="103", context="from-device")
    c = callee(engine, b2, "desk-3", "103")
    c.answer()
    b2.answer()
    c.bridge("second")
    b2.bridge("second")
    b.event("ATTENDEDTRANSFER", {"channel2_uniqueid": b2.id, "transferee_channel_uniqueid": a.id, "transfer_target_channel_uniqueid": c.id})  # fmt: skip
    c.bridge("first")
    for channel in (b, b2, a, c):
        channel.hangup()
    notices = told(engine)
    assert [(each.type, each.stream) for each in notices] == [
        (STARTED, a.id), (ANSWERED, a.id), (STARTED, b2.id), (ANSWERED, b2.id), (JOINED, b2.id), (ENDED, a.id),
    ]  # fmt: skip
    assert notices[4].facts == {"into": a.id}


def test_the_engine_dies() -> None:
    engine, assembler = Engine(), Assembler()
    a = caller(engine)
    b = callee(engine, a)
    b.answer()
    for event in engine.events():
        assembler.feed(event)
    assembler.close_all()
    assert types(assembler.notices) == [STARTED, ANSWERED, ENDED]
    assert assembler.notices[-1].facts["outcome"] == "engine_failure"


def test_calls_of_a_release_that_told_nothing_are_told_of_from_now_on() -> None:
    engine, assembler = Engine(), Assembler()
    a = caller(engine)
    b = callee(engine, a)
    for event in engine.events():
        assembler.feed(event)
    (call,) = assembler.calls.values()
    text = dump(call).replace(',"told":["call.started"]', "")
    assert "told" not in text
    engine.lines.clear()
    b.answer()
    b.hangup()
    a.hangup()
    later = Assembler("", [load(call.key, text)])
    for event in engine.events():
        later.feed(event)
    assert types(later.notices) == [STARTED, ANSWERED, ENDED]


def test_what_the_engine_does_for_itself_is_no_call() -> None:
    engine = Engine()
    engine.start()
    engine.write(
        "CHAN_START", "centralino-1.9", "centralino-1.9", "Local/s@elsewhere-00000001;1", exten="s", context="elsewhere"
    )
    engine.write("HANGUP", "centralino-1.9", "centralino-1.9", "Local/s@elsewhere-00000001;1", extra={"hangupcause": 0})
    assert told(engine) == []
