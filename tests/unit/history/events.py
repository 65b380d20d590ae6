"""Events as the engine writes them, for tests of the history: sequences seen on the real engine (22.10.1)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field

from appliance.history.line import Event, parse, text

RTCP = "ssrc=1;themssrc=2;lp=3;rxjitter=0.001500;rxcount=276;txjitter=0.000250;txcount=271;rlp=4;rtt=0.020000;rxmes=80;txmes=88"


@dataclass
class Engine:
    """Writes lines as one run of the engine would. Its clock moves 1 ms per event, and by `wait`."""

    clock: int = 1_795_406_000_000_000
    counter: int = 0
    lines: list[bytes] = field(default_factory=list)
    _channels: int = 0

    def wait(self, ms: int) -> None:
        self.clock += ms * 1000

    def start(self) -> None:
        """The announcement of a new run."""
        id = self.id()
        self.write("CHAN_START", id, id, "Local/started@engine-run-00000000;1", context="engine-run")
        self.write("RUN", id, id, "Local/started@engine-run-00000000;1", context="engine-run", extra={"extra": "1"})
        self.write(
            "HANGUP", id, id, "Local/started@engine-run-00000000;1", context="engine-run", extra={"hangupcause": 0}
        )

    def id(self) -> str:
        value = f"centralino-{self.clock // 1_000_000}.{self.counter}"
        self.counter += 1
        return value

    def channel(self, endpoint: str, call: str = "", **fields: str) -> Channel:
        id = self.id()
        self._channels += 1
        channel = Channel(self, id, call or id, f"PJSIP/{endpoint}-{self._channels:08x}", dict(fields))
        channel.event("CHAN_START")
        return channel

    def write(self, type: str, id: str, call: str, channel: str, /, *, extra: object = None, **fields: str) -> None:
        self.clock += 1000
        row = {
            "EventType": type,
            "EventTime": f"{self.clock // 1_000_000}.{self.clock % 1_000_000:06}",
            "UniqueID": id,
            "LinkedID": call,
            "ChanName": channel,
        }
        columns = {
            "number": "Num",
            "name": "Name",
            "exten": "Exten",
            "context": "Context",
            "account": "AccountCode",
            "by": "RDNIS",
            "origin": "ANI",
        }
        row |= {columns[key]: value for key, value in fields.items()}
        row["EventExtra"] = json.dumps(extra) if extra is not None else ""
        self.lines.append(text(row))

    def events(self) -> Iterator[Event]:
        return (parse(line) for line in self.lines)

    def data(self) -> bytes:
        return b"".join(line + b"\n" for line in self.lines)


@dataclass
class Channel:
    engine: Engine
    id: str
    call: str
    name: str
    fields: dict[str, str]

    def event(self, type: str, extra: object = None, **fields: str) -> None:
        self.engine.write(type, self.id, self.call, self.name, extra=extra, **{**self.fields, **fields})

    def answer(self) -> None:
        self.event("ANSWER")

    def bridge(self, id: str) -> None:
        self.event("BRIDGE_ENTER", {"bridge_id": id, "bridge_technology": "simple_bridge"})

    def leg(self, report: str) -> None:
        self.event("LEG", {"extra": report}, context="leg-ended", exten="s")

    def hangup(self, cause: int = 16, dial_status: str = "", source: str = "", report: str | None = None) -> None:
        self.leg(report if report is not None else f"SIP 200 OK|{RTCP}|alaw|")
        self.event("HANGUP", {"hangupcause": cause, "hangupsource": source, "dialstatus": dial_status})


def caller(engine: Engine, device: str = "desk-1", extension: str = "101", dialled: str = "102") -> Channel:
    return engine.channel(device, number=extension, account=extension, exten=dialled, context="from-device")


def callee(engine: Engine, of: Channel, device: str = "desk-2", extension: str = "102") -> Channel:
    return engine.channel(device, of.call, number=extension, account=extension, exten="s", context="from-device")


def answered_call(engine: Engine, talk_ms: int = 5000, losers: int = 1, extension: str = "102") -> None:
    """A calls B, who has `losers` devices more; B answers on the first."""
    a = caller(engine, dialled=extension)
    b = callee(engine, a, extension=extension)
    others = [callee(engine, a, f"soft-{n}", extension) for n in range(losers)]
    engine.wait(300)
    b.answer()
    a.answer()
    for other in others:
        other.hangup(26, report="SIP 180 Ringing|Ringing|alaw|")
    b.bridge(f"of {a.id}")
    a.bridge(f"of {a.id}")
    engine.wait(talk_ms)
    a.hangup(16, "ANSWER", a.name, report=f"Up|{RTCP}|alaw|")
    b.hangup(16, source=a.name)


def unanswered_call(engine: Engine, cause: int, dial_status: str, report: str, dialled: str = "102") -> None:
    a = caller(engine, dialled=dialled)
    b = callee(engine, a, extension=dialled)
    engine.wait(500)
    b.hangup(cause, report=report)
    a.hangup(cause, dial_status, a.name if cause == 127 else "", report="Ring|Ring|alaw|")
