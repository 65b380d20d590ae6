"""A spool as the engine writes it, for the history's benchmark."""

from __future__ import annotations

from pathlib import Path

from tests.unit.history.events import RTCP, Engine, answered_call, unanswered_call


def spool_of(directory: Path, calls: int, after_ms: int) -> None:
    """Write ``events.csv`` with calls that begin after the given time: inside, from outside, in vain."""
    engine = Engine(clock=(after_ms + 1000) * 1000)
    engine.start()
    with (directory / "events.csv").open("wb") as file:
        for n in range(calls):
            extension = str(2000 + n * 37 % 5000)
            if n % 10 < 4:
                answered_call(engine, talk_ms=50, losers=int(n % 3 == 0), extension=extension)
            elif n % 10 < 8:
                _inbound(engine, n, extension)
            else:
                unanswered_call(engine, 17, "BUSY", "SIP 486 Busy Here|Down|alaw|", dialled=extension)
            file.write(engine.data())
            engine.lines.clear()


def _inbound(engine: Engine, n: int, extension: str) -> None:
    number = f"+39020{1_000_000 + n * 7919 % 400_000}"
    name = f"Azienda {n * 31 % 3000}" if n % 3 == 0 else ""
    a = engine.channel(
        f"trunk-trunk-{n % 8}", number=number, origin=number, name=name, exten="+390200000100", context="from-trunk"
    )
    b = engine.channel(f"{extension}-1", a.call, number=extension, account=extension, exten="s", context="from-device")
    b.answer()
    a.answer()
    for channel in (a, b):
        channel.bridge(f"of {a.id}")
    engine.wait(50)
    site = f"site-{int(extension) % 500}"
    a.hangup(16, "ANSWER", a.name, report=f"Up|{RTCP}|alaw|")
    b.hangup(16, source=a.name, report=f"SIP 200 OK|{RTCP}|alaw|||{extension}-1|{extension}|ext-{extension}|{site}|||")
