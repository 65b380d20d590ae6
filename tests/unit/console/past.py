"""Calls that a company of the tests had, put into its history as the daemon does."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Sequence
from typing import Any

from appliance.history.legs import Quality
from appliance.history.model import Call, Direction, Leg, LegResult, Outcome, Transfer
from appliance.paths import Paths
from appliance.store.history import open_history
from tests.unit.history.samples import store

START = datetime.datetime(2026, 3, 2, 8, 30, tzinfo=datetime.UTC)
"""A Monday, half past nine in Rome."""
NASTY = (
    '<script>alert("x")</script>',
    "' OR '1'='1'; DROP TABLE call; --",
    '=HYPERLINK("http://evil.example","x")',
    "name\r\nSet-Cookie: a=b",
    "{{ 7 * 7 }}",
    "\u202eRossi",
)
"""What callers from outside call themselves."""
QUALITY = Quality(1000, 1000, 2, 1, 3.4, 4.1, 21.0)
BAD = Quality(900, 1000, 100, None, 45.0, None, None)


def at(minutes: float) -> int:
    """Milliseconds of so many minutes after :data:`START`."""
    return int((START + datetime.timedelta(minutes=minutes)).timestamp() * 1000)


def call(minutes: float = 0, caller: str = "201", called: str = "301", answered: bool = True, **more: Any) -> Call:
    """An internal call between two desks of Milano and Torino; answered after 4 s, two minutes long."""
    began, ended = at(minutes), at(minutes) + (124_200 if answered else 20_200)
    up = began + 4_200 if answered else None
    result = LegResult.ANSWERED if answered else LegResult.NO_ANSWER
    legs = (
        leg(caller, True, called, began, up, ended, result),
        leg(called, False, called, began + 200, up, ended, result),
    )
    made = Call(
        linked_id=f"engine-{began // 1000}.{int(minutes)}",
        run="run",
        direction=Direction.INTERNAL,
        outcome=Outcome.ANSWERED if answered else Outcome.NO_ANSWER,
        from_device=f"d{caller}",
        from_extension=caller,
        from_trunk="",
        from_number=caller,
        from_name="",
        dialled=called,
        reached_device=f"d{called}" if answered else "",
        reached_extension=called if answered else "",
        reached_trunk="",
        reached_number=called if answered else "",
        trunk="",
        failovers=0,
        started=began,
        rang=began + 200,
        answered=up,
        ended=ended,
        cause=16,
        incomplete=False,
        legs=legs,
        from_site=site(caller),
        reached_site=site(called) if answered else "",
    )
    return dataclasses.replace(made, **more)


def leg(extension: str, caller: bool, number: str, began: int, up: int | None, ended: int | None, result: LegResult,
        quality: Quality | None = QUALITY) -> Leg:  # fmt: skip
    """A desk's leg."""
    return Leg(caller, f"d{extension}", "", extension, number, began, up, ended, result, 16, codec="opus" if up else "",
               quality=quality if up else None, site=site(extension))  # fmt: skip


def site(extension: str) -> str:
    """Where a desk stands."""
    return "torino" if extension.startswith("3") else "milano"


def from_outside(
    minutes: float, called: str = "201", name: str = "", number: str = "+390200000777", **more: Any
) -> Call:
    """A call that came in by the trunk ``line``."""
    made = call(minutes, called=called)
    caller = dataclasses.replace(made.legs[0], device="", extension="", trunk="line", number="+390200000100", site="")
    return dataclasses.replace(
        made, direction=Direction.INBOUND, from_device="", from_extension="", from_trunk="line", from_number=number,
        from_name=name, from_site="", dialled="+390200000100", legs=(caller, made.legs[1]), **more,
    )  # fmt: skip


def of_a_group(minutes: float, members: int = 14) -> Call:
    """One that a group's members were called for: one answered, and passed it on."""
    made = from_outside(minutes, "201", "Rossi")
    began, ended = made.started, made.ended
    others = [
        leg(str(202 + n), False, str(202 + n), began + 300, None, began + 4_300, LegResult.ELSEWHERE) for n in range(members)
    ]  # fmt: skip
    bad = dataclasses.replace(made.legs[1], quality=BAD)
    third = leg("301", False, "301", began + 60_000, began + 64_000, ended, LegResult.ANSWERED)
    transfer = Transfer("blind", began + 59_000, "201", "+390200000777", "301")
    return dataclasses.replace(made, legs=(made.legs[0], bad, *others, third), transfers=(transfer,))


def usual() -> list[Call]:
    """Some of each sort."""
    return [
        call(0),
        call(10, answered=False),
        from_outside(20, "201", "Rossi"),
        from_outside(30, "301", "Bianchi", "+390600000888"),
        *(from_outside(40 + n, "201", name) for n, name in enumerate(NASTY)),
        call(60, "301", "302"),
        call(70, "201", "202", from_name="Desk"),
        of_a_group(80),
        call(24 * 60, "301", "303", answered=False, outcome=Outcome.FAILED),
    ]


def remember(paths: Paths, calls: Sequence[Call]) -> None:
    """Make the history of an installation, with these calls in it: the first has the id 1."""
    database = open_history(paths=paths)
    try:
        store(database, calls)
    finally:
        database.close()
