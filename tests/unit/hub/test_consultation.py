"""A consultation as it is seen: by who follows every event, and by who begins from a snapshot."""

from __future__ import annotations

from typing import Any

import pytest

from appliance.engine.ami_messages import Message
from appliance.hub.live import Live, Snapshot
from appliance.pbx.extensions.consultation import WAIT
from tests.unit.hub import traces

B, A, ONE, TWO, C = (f"x-1795405632.{n}" for n in range(1, 6))
NAMES = {
    B: "PJSIP/202-1@udp.a-00000001", A: "PJSIP/201-1@udp.a-00000002", ONE: "Local/203@consultation-call-00000001;1",
    TWO: "Local/203@consultation-call-00000001;2", C: "PJSIP/203-1@udp.a-00000003",
}  # fmt: skip
DIALLED = {B: "201"}
UP, RINGING, DOWN, RING = 6, 5, 0, 4


class Told:
    """What the engine has told so far, event by event and as a snapshot of the same moment."""

    def __init__(self) -> None:
        self.live = Live(traces.company_directory())
        self.now: dict[str, dict[str, str]] = {}

    def tell(
        self, event: str, id: str, *, gone: bool = False, variables: dict[str, str] | None = None, **fields: Any
    ) -> None:
        """Something happens to a channel. ``variables``: what its variables are from now on."""
        row = self.now.setdefault(id, {"ChannelState": str(DOWN), "Context": "from-device", "vars": ""})
        row |= {
            key: str(value) for key, value in fields.items() if key in ("ChannelState", "Context", "BridgeUniqueid")
        }
        if event == "BridgeLeave":
            row.pop("BridgeUniqueid")
        for name, value in (variables or {}).items():
            row["vars"] += f"{name}={value}\n"
        lines = {"Event": event, "Uniqueid": id, "Channel": NAMES[id], "Linkedid": B, **row, **fields}
        self.live.feed(Message(tuple((key, str(value)) for key, value in lines.items() if key != "vars")), 0)
        if gone:
            del self.now[id]

    def call(self) -> dict[str, Any] | None:
        """The call, once both ways of looking agree."""
        self.live.changes()
        begun = Live(traces.company_directory())
        rows = []
        for id, row in self.now.items():
            lines = [
                ("Event", "Status"),
                ("Uniqueid", id),
                ("Channel", NAMES[id]),
                ("Linkedid", B),
                ("DNID", DIALLED.get(id, "")),
            ]
            lines += [
                ("BridgeID" if key == "BridgeUniqueid" else key, value) for key, value in row.items() if key != "vars"
            ]
            latest = dict(line.partition("=")[::2] for line in row["vars"].splitlines())
            rows.append(Message((*lines, *(("Variable", f"{key}={value}") for key, value in latest.items()))))
        begun.load(Snapshot(channels=rows))
        begun.changes()
        seen, other = (
            {id: {**call, "answered": None, "parties": [{**each, "since": None} for each in call["parties"]]}
             for id, call in live.state()["calls"].items()} for live in (self.live, begun)
        )  # fmt: skip
        assert seen == other
        found = self.live.state()["calls"].get(B)
        return dict(found) if found else None


@pytest.fixture
def told() -> Told:
    """202 talks to 201, who has been ordered to ask 203."""
    told = Told()
    told.tell("Newchannel", B, ChannelState=RING, Exten="201", CallerIDNum="202")
    told.tell("Newchannel", A)
    for id in (A, B):
        told.tell("Newstate", id, ChannelState=UP)
        told.tell("BridgeEnter", id, BridgeUniqueid="first")
    for id, context in ((A, "consultation"), (B, WAIT)):
        told.tell("BridgeLeave", id, BridgeUniqueid="first", Context=context)
    told.tell("UserEvent", A, UserEvent="Consultation", Result="", variables={"CONSULTATION": ""})
    told.tell("UserEvent", B, UserEvent="Consultation", By=NAMES[A], variables={"CONSULTED_BY": NAMES[A]})
    told.tell("BridgeEnter", B, BridgeUniqueid="holding")
    for id in (ONE, TWO):
        told.tell("Newchannel", id, Context="consultation-call")
    told.tell("Newchannel", C)
    return told


def states(call: dict[str, Any]) -> dict[str, str]:
    return {each["extension"].removeprefix("ext-"): each["state"] for each in call["parties"]}


def asked(told: Told) -> dict[str, Any] | None:
    call = told.call()
    assert call is not None
    found: dict[str, Any] | None = call["consultation"]
    return found


def test_from_the_first_ring_to_the_end(told: Told) -> None:
    assert asked(told) == {"by": A, "held": B, "to": [C], "state": "calling"}
    told.tell("Newstate", C, ChannelState=RINGING)
    assert asked(told) == {"by": A, "held": B, "to": [C], "state": "ringing"}
    for id, bridge in ((C, "third"), (TWO, "third"), (ONE, "second"), (A, "second")):
        told.tell("Newstate", id, ChannelState=UP)
        told.tell("BridgeEnter", id, BridgeUniqueid=bridge)
    call = told.call()
    assert call is not None
    assert call["consultation"] == {"by": A, "held": B, "to": [C], "state": "talking"}
    assert (call["state"], states(call)) == ("held", {"202": "held", "201": "up", "203": "up"})
    told.tell("BridgeLeave", B, BridgeUniqueid="holding", Context="consultation-join")
    told.tell("UserEvent", B, UserEvent="HandedOn", Ids=f"{A}|{C}")
    told.tell("BridgeLeave", ONE, BridgeUniqueid="second")
    for id in (ONE, B):
        told.tell("BridgeEnter", id, BridgeUniqueid="fourth")
    told.tell("Hangup", A, gone=True)
    call = told.call()
    assert call is not None
    assert (call["state"], call["consultation"], states(call)) == ("up", None, {"202": "up", "203": "up"})
    [(type, happened)] = told.live.happened
    assert (type, happened["kind"], happened["by"], happened["of"], happened["to"]) == (
        "transfer", "attended", "201", "202", "203"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("status", "state"),
    [("BUSY", "busy"), ("NOANSWER", "no_answer"), ("CONGESTION", "unreachable"), ("ANSWER", "ended"), ("TAKEN_BACK", "taken_back")],
)  # fmt: skip
def test_how_it_ended_is_told_until_the_next_one(told: Told, status: str, state: str) -> None:
    for id in (C, TWO, ONE):
        told.tell("Hangup", id, gone=True)
    told.tell("UserEvent", A, UserEvent="Consultation", Result=status, variables={"CONSULTATION": status})
    told.tell("BridgeLeave", B, BridgeUniqueid="holding")
    for id in (A, B):
        told.tell("BridgeEnter", id, BridgeUniqueid="again")  # who waited still is where it waited, by its context
    call = told.call()
    assert call is not None
    assert call["consultation"] == {"by": A, "held": None, "to": [], "state": state}
    assert (call["state"], states(call)) == ("up", {"202": "up", "201": "up"})
    told.tell("UserEvent", A, UserEvent="Consultation", Result="", variables={"CONSULTATION": ""})
    assert asked(told) is None


def test_who_waits_may_be_behind_a_local_channel(told: Told) -> None:
    """A phone that consulted before talks through one: it waits with whom it leads to."""
    told.tell("Newstate", C, ChannelState=UP)
    told.tell("Hangup", B, gone=True)
    for id in (C, TWO):
        told.tell("BridgeEnter", id, BridgeUniqueid="third")
    told.tell("Newstate", ONE, ChannelState=UP, Context=WAIT)
    told.tell("UserEvent", ONE, UserEvent="Consultation", By=NAMES[A], variables={"CONSULTED_BY": NAMES[A]})
    told.tell("BridgeEnter", ONE, BridgeUniqueid="holding-too")
    call = told.call()
    assert call is not None
    assert (states(call)["203"], call["consultation"]["held"]) == ("held", C)
