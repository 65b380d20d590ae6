"""Calls at random, and slow answers to compare the history's with."""

from __future__ import annotations

import dataclasses
import datetime
import itertools
import random
from collections.abc import Iterable, Iterator, Sequence
from zoneinfo import ZoneInfo

from sqlalchemy import insert, select, update

from appliance.history.filter import CallFilter, Range, Visible
from appliance.history.hours import Figures, figures
from appliance.history.labels import Kind, folded, labels_of
from appliance.history.legs import Quality
from appliance.history.model import Call, Direction, Leg, LegResult, Outcome, Transfer
from appliance.history.periods import By
from appliance.history.statistics import Wanted
from appliance.history.write import Labels, write_calls
from appliance.store import history as table
from appliance.store.database import Database

NAMES = (
    "",
    "Reception",
    "reception 2",
    "100%_sure",
    "Ännchen ＡＢＣ",
    "a\\'b\"; DROP TABLE call; --",
    "=1+1",
    "%",
    "_",
    "😀 smile",
)
EXTENSIONS = [str(number) for number in range(101, 109)]
SITES = ("hq", "branch", "shop")
TRUNKS = ("a", "b")
NUMBERS = [f"+39020000{n:04}" for n in range(0, 400, 7)]
FIRST = datetime.datetime(2025, 10, 25, 20, 30, tzinfo=datetime.UTC)
"""Hours before clocks are set back in Europe."""


def calls(number: int, seed: int = 0, span_h: float = 60.0) -> list[Call]:
    """That many calls, in the order of their ends."""
    dice = random.Random(seed)
    made = [_call(dice, n, span_h) for n in range(number)]
    return sorted(made, key=lambda call: call.ended)


def _call(dice: random.Random, n: int, span_h: float) -> Call:
    direction = dice.choice(tuple(Direction))
    outcome = dice.choice((Outcome.ANSWERED, *Outcome))
    started = int(FIRST.timestamp() * 1000) + dice.randrange(int(span_h * 3_600_000)) // 50 * 50
    ring, talk = dice.randrange(30_000), dice.randrange(600_000)
    ok = outcome is Outcome.ANSWERED
    answered = started + 200 + ring if ok else None
    ended = started + 200 + ring + (talk if ok else 0)
    a, b = dice.sample(EXTENSIONS, 2)
    comes, leaves = direction is Direction.INBOUND, direction in (Direction.OUTBOUND, Direction.EMERGENCY)
    outside, trunk = dice.choice(NUMBERS), dice.choice(TRUNKS)
    legs = [
        _leg(dice, True, "" if comes else a, trunk if comes else "", started, answered, ended, ok),
        _leg(dice, False, "" if leaves else b, trunk if leaves else "", started + 200, answered, ended, ok, outside),
    ]
    if dice.random() < 0.2:
        legs.append(_leg(dice, False, dice.choice(EXTENSIONS), "", started + 200, None, ended, False))
    reached = legs[1]
    return Call(
        linked_id=f"centralino-{started // 1000}.{n}",
        run="run",
        direction=direction,
        outcome=outcome,
        from_device=legs[0].device,
        from_extension=legs[0].extension,
        from_trunk=legs[0].trunk,
        from_number=outside if comes and dice.random() < 0.9 else legs[0].extension,
        from_name=dice.choice(NAMES),
        dialled="+390200000100" if comes else f"00{outside[3:]}" if leaves else b,
        reached_device=reached.device if ok else "",
        reached_extension=reached.extension if ok else "",
        reached_trunk=reached.trunk if ok else "",
        reached_number=(outside if leaves else b) if ok else "",
        trunk=trunk if leaves else "",
        failovers=0,
        started=started,
        rang=started + 200,
        answered=answered,
        ended=ended,
        cause=16,
        incomplete=False,
        legs=tuple(legs),
        transfers=(Transfer("blind", ended, a, b, dice.choice(NUMBERS)),) if dice.random() < 0.1 else (),
        from_site=legs[0].site,
        reached_site=reached.site if ok else "",
    )


def _leg(
    dice: random.Random, caller: bool, extension: str, trunk: str, started: int, answered: int | None, ended: int, ok: bool,
    number: str = "",
) -> Leg:  # fmt: skip
    quality = Quality(1000, 1000, dice.choice((0, 0, 5, 100)), dice.choice((None, 0, 30)), dice.choice((0.5, 12.25)), dice.choice((None, 3.5)), None)  # fmt: skip
    return Leg(
        caller=caller,
        device=f"{extension}-{dice.choice('12')}" if extension else "",
        trunk=trunk,
        extension=extension,
        number=number if trunk else extension,
        started=started,
        answered=answered,
        ended=ended,
        result=LegResult.ANSWERED if ok else LegResult.NO_ANSWER,
        cause=16,
        quality=quality if ok and dice.random() < 0.7 else None,
        site=SITES[int(extension) % 3] if extension else "",
    )


def store(database: Database, made: Sequence[Call], batch: int = 97) -> None:
    """Write the calls as the daemon does, in batches, each with a start of its own."""
    with database.write() as connection:
        connection.execute(insert(table.reader).values(id=1, run="", last_call=0, last_event=0))
    for first in range(0, len(made), batch):
        with database.write() as connection:
            labels = Labels(connection.execute(select(table.reader.c.last_label)).scalar_one())
            write_calls(connection, made[first : first + batch], first + 1, labels)
            connection.execute(update(table.reader).values(last_label=labels.last, last_call=first + batch))


def newest_first(made: Iterable[Call]) -> list[tuple[int, Call]]:
    """With the ids that :func:`store` gives, as pages have them."""
    return sorted(enumerate(made, 1), key=lambda item: (item[1].started, item[0]), reverse=True)


def matches(call: Call, id: int, filter: CallFilter, visible: Visible | None) -> bool:
    """Whether a filter finds a call: said once more, without any database."""
    labels = labels_of(call)
    numbers = {value for kind, value in labels if kind in (Kind.EXTENSION, Kind.NUMBER)}
    names = {folded(value) for kind, value in labels if kind is Kind.NAME}
    start = datetime.datetime.fromtimestamp(call.started / 1000, datetime.UTC)
    conditions = [
        filter.since is None or start >= filter.since,
        filter.until is None or start < filter.until,
        not filter.number or filter.number in numbers,
        not filter.number_prefix or any(number.startswith(filter.number_prefix) for number in numbers),
        not filter.number_part or any(filter.number_part in number for number in numbers),
        not filter.name or any(folded(filter.name) in name for name in names),
        filter.direction in (None, call.direction),
        filter.outcome in (None, call.outcome),
        filter.id in (None, id),
        filter.linked_id in ("", call.linked_id),
        *(_within(getattr(call, name), getattr(filter, name)) for name in ("talk_ms", "ring_ms", "loss_percent", "jitter_ms")),
    ]  # fmt: skip
    for kind in (Kind.EXTENSION, Kind.DEVICE, Kind.TRUNK, Kind.SITE):
        value = getattr(filter, kind.name.lower())
        conditions.append(not value or (kind, value) in labels)
    return all(conditions) and (visible is None or sees(labels, numbers, visible))


def sees(labels: Iterable[tuple[Kind, str]], numbers: set[str], visible: Visible) -> bool:
    """Whether somebody may see a call."""
    found = {Kind.SITE: visible.sites, Kind.TRUNK: visible.trunks}
    return bool(numbers & visible.extensions) or any(value in found.get(kind, ()) for kind, value in labels)


def _within(value: float | None, range: Range | None) -> bool:
    if range is None:
        return True
    return value is not None and (range.low or 0) <= value <= (range.high if range.high is not None else 1e18)


def filters(seed: int, number: int) -> Iterator[tuple[CallFilter, Visible | None]]:
    """Filters at random, of one to four conditions, and what may be seen."""
    dice = random.Random(seed)
    texts = {
        "number": [*EXTENSIONS, *NUMBERS[:5], "+390200000100", "none", "' OR 1=1 --"],
        "number_prefix": ["+39", "+3902000000", "10", "1", "00", NUMBERS[3], "%", "x"],
        "number_part": ["0000", "07", "10", NUMBERS[9][2:], "39020000", "_", "+", "020000000000000"],
        "name": [
            "rec",
            "ECEPT",
            "%",
            "_",
            "ＡＢＣ",
            "ännchen abc",
            "DROP TABLE call; --",
            "😀",
            "reception 2",
            "zzz",
            "100%_s",
        ],
        "extension": [*EXTENSIONS, "+390200000100"],
        "device": ["101-1", "102-2", "nobody"],
        "trunk": [*TRUNKS, "c"],
        "site": [*SITES, "nowhere"],
    }
    for _ in range(number):
        chosen: dict[str, object] = {
            name: dice.choice(texts[name]) for name in dice.sample(sorted(texts), dice.randint(0, 2))
        }
        if dice.random() < 0.3:
            chosen["since"] = FIRST + datetime.timedelta(minutes=dice.randrange(3600))
        if dice.random() < 0.3:
            chosen["until"] = FIRST + datetime.timedelta(minutes=dice.randrange(3600))
        if dice.random() < 0.2:
            chosen["direction"] = dice.choice(tuple(Direction))
        if dice.random() < 0.2:
            chosen["outcome"] = dice.choice(tuple(Outcome))
        for name, high in (("talk_ms", 600_000), ("ring_ms", 30_000), ("loss_percent", 12), ("jitter_ms", 13)):
            if dice.random() < 0.1:
                low = dice.randrange(high)
                chosen[name] = Range(dice.choice((None, low)), dice.choice((None, low + dice.randrange(high))))
        yield CallFilter(**chosen), dice.choice(VISIBLE)  # type: ignore[arg-type]


VISIBLE = (
    None,
    None,
    Visible(),
    Visible(extensions=frozenset({"101"})),
    Visible(sites=frozenset({"branch"})),
    Visible(sites=frozenset({"branch"}), trunks=frozenset({"b"})),
    Visible(extensions=frozenset({"103", "104", "nobody", "' OR 1=1 --"}), sites=frozenset({"shop"})),
)


def slow_statistics(
    made: Sequence[Call], wanted: Wanted, visible: Visible | None
) -> tuple[dict[str, Figures], Figures]:
    """Statistics call by call."""
    zone = ZoneInfo(wanted.zone)
    rows: dict[str, Figures] = {}
    total = Figures()
    for id, call in enumerate(made, 1):
        if not matches(call, id, wanted.filter(), visible):
            continue
        share = Figures(*figures(call))
        total += share
        local = datetime.datetime.fromtimestamp(call.started / 1000, zone)
        keys = {
            By.TOTAL: [],
            By.HOUR: [local.strftime("%H")],
            By.WEEKDAY: [local.strftime("%u")],
            By.DAY: [local.strftime("%Y-%m-%d")],
            By.MONTH: [local.strftime("%Y-%m")],
        }
        kinds = {By.SITE: Kind.SITE, By.TRUNK: Kind.TRUNK, By.EXTENSION: Kind.EXTENSION}
        found = keys.get(wanted.by) if wanted.by in keys else [v for k, v in labels_of(call) if k is kinds[wanted.by]]
        for key in found or ():
            rows[key] = rows.get(key, Figures()) + share
    return dict(sorted(rows.items())), total


def wishes(seed: int, number: int) -> Iterator[tuple[Wanted, Visible | None]]:
    """Statistics at random."""
    dice = random.Random(seed)
    zones = ("Europe/Rome", "UTC", "Asia/Kolkata", "America/New_York", "Australia/Lord_Howe")
    for _, by in itertools.product(range(-(-number // len(By))), By):
        minutes = sorted(dice.randrange(-600, 4300) for _ in range(2))
        since, until = (FIRST + datetime.timedelta(minutes=minute) for minute in minutes)
        wanted = Wanted(since, until, dice.choice(zones), by, dice.choice((None, None, *Direction)))
        if by not in (By.SITE, By.TRUNK, By.EXTENSION) and dice.random() < 0.5:
            only = dice.choice(({"site": "hq"}, {"trunk": "a"}, {"extension": "103"}, {"site": "nowhere"}))
            wanted = dataclasses.replace(wanted, **only)
        yield wanted, dice.choice(VISIBLE) if dice.random() < 0.4 else None
