"""Keeps bans and strikes over a restart: a small database of its own, written in the transaction of each batch of decisions.

Killed at any moment, it holds what was decided up to some moment; damaged or full, the judge goes on without it. A row that can't be
read costs itself alone.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final, Protocol

from sqlalchemy import Connection, Table, delete, func, select

from appliance.clock import Moment
from appliance.firewall.bans.model import (
    Action,
    Ban,
    Decision,
    Evidence,
    Network,
    Outcome,
    Reason,
    Service,
    Strikes,
)
from appliance.firewall.bans.rules import Rules
from appliance.firewall.bans.sets import set_of
from appliance.firewall.bans.standing import STRIKES_MAX
from appliance.firewall.bans.timeline import Timeline
from appliance.store import bans as tables

_AT_ONCE: Final = 500
_GARBAGE: Final = (ValueError, TypeError, KeyError, OverflowError, RecursionError)
"""What a row that nobody of ours wrote may raise: SQLite takes any type in any column."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What was kept. ``unreadable``: how many rows couldn't be read."""

    timeline: Timeline
    bans: tuple[Ban, ...] = ()
    strikes: tuple[tuple[Network, Strikes], ...] = ()
    unreadable: int = 0


class Transactions(Protocol):
    """A database: what :class:`appliance.store.database.Database` is."""

    def read(self) -> AbstractContextManager[Connection]:
        """A transaction that reads. Raises UnavailableError or CorruptError."""

    def write(self) -> AbstractContextManager[Connection]:
        """A transaction that writes. Raises UnavailableError or CorruptError."""


class Keeper:
    """The database of bans; see :func:`appliance.store.bans.open_bans`. Not for several processes that judge.

    Its methods raise UnavailableError (``disk_full``, ``database_busy``, …) or CorruptError, and then nothing was written:
    give ``keep_all`` the whole later.
    """

    def __init__(self, database: Transactions, rules: Rules | None = None) -> None:
        self._database = database
        self._rules = rules or Rules()

    def load(self, moment: Moment) -> Kept:
        """What was kept, and the timeline that goes on from there."""
        with self._database.read() as connection:
            row = connection.execute(select(tables.running)).first()
            bans, bad = _read(connection, tables.ban, _ban)
            strikes, worse = _read(connection, tables.strikes, _strikes)
        before = max((one.since for one in (*bans, *(found for _, found in strikes))), default=0)
        try:
            ran = 0 if row is None else Timeline(str(row.boot), int(row.uptime), int(row.running)).at(moment)
        except _GARBAGE:
            ran, bad = 0, bad + 1
        timeline = Timeline.begun(moment, max(ran, before))
        return Kept(timeline, tuple(bans), tuple(strikes), bad + worse)

    def keep(self, decisions: Iterable[Decision], moment: Moment, timeline: Timeline) -> None:
        """Write down decisions; and the time, also without any: call it once a minute at least."""
        put: dict[str, Ban] = {}
        gone: set[str] = set()
        for decision in decisions:
            name = str(decision.ban.network)
            if decision.action is Action.LIFT:
                put.pop(name, None)
                gone.add(name)
            elif decision.action is not Action.SPARE:
                put[name] = decision.ban
        with self._database.write() as connection:
            _remove(connection, tables.ban, gone | set(put))
            _insert(connection, tables.ban, [_row(one) for one in put.values()])
            lasting = [one for one in put.values() if not one.brief]
            _remove(connection, tables.strikes, {str(one.network) for one in lasting})
            struck = [(one.network, Strikes(one.strike, one.since, one.until)) for one in lasting]
            _insert(connection, tables.strikes, [_strikes_row(*one) for one in struck])
            self._time(connection, moment, timeline)
            self._sweep(connection, timeline.at(moment))

    def forgive(self, network: Network) -> None:
        """Forget the strikes of a network, and of all that have an address in common with it. Belongs to ``Judge.lift``."""
        with self._database.write() as connection:
            names = connection.execute(select(tables.strikes.c.network)).scalars()
            _remove(connection, tables.strikes, {name for name in names if _touches(name, network)})

    def keep_all(
        self, bans: Iterable[Ban], strikes: Iterable[tuple[Network, Strikes]], moment: Moment, timeline: Timeline
    ) -> None:
        """Write down the whole, instead of all that is there: after something couldn't be kept."""
        with self._database.write() as connection:
            connection.execute(delete(tables.ban))
            connection.execute(delete(tables.strikes))
            _insert(connection, tables.ban, [_row(one) for one in bans])
            _insert(connection, tables.strikes, [_strikes_row(*one) for one in strikes])
            self._time(connection, moment, timeline)
            self._sweep(connection, timeline.at(moment))

    @staticmethod
    def _time(connection: Connection, moment: Moment, timeline: Timeline) -> None:
        connection.execute(delete(tables.running))
        now = {"id": 1, "boot": moment.boot, "uptime": moment.uptime, "running": timeline.at(moment)}
        connection.execute(tables.running.insert().values(now))

    def _sweep(self, connection: Connection, now: int) -> None:
        """Remove what has ended or is forgotten, and more strikes than anybody looks at."""
        table = tables.strikes
        connection.execute(delete(tables.ban).where(tables.ban.c.until <= now))
        connection.execute(delete(table).where(table.c.until < now - self._rules.forget))
        many = connection.execute(select(func.count()).select_from(table)).scalar_one()
        if many > STRIKES_MAX:
            oldest = select(table.c.network).order_by(table.c.until).limit(many - STRIKES_MAX)
            connection.execute(delete(table).where(table.c.network.in_(oldest)))


def _read(connection: Connection, table: Table, parse: Any) -> tuple[list[Any], int]:
    found, bad = [], 0
    for row in connection.execute(select(table).order_by(table.c.until)):
        try:
            found.append(parse(row))
        except _GARBAGE:
            bad += 1
    return found, bad


def _remove(connection: Connection, table: Table, names: Iterable[str]) -> None:
    found = sorted(names)
    for start in range(0, len(found), _AT_ONCE):
        connection.execute(delete(table).where(table.c.network.in_(found[start : start + _AT_ONCE])))


def _insert(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    if rows:
        connection.execute(table.insert(), rows)


def _row(ban: Ban) -> dict[str, Any]:
    evidence = [
        [one.wall, one.address, one.service.value, int(one.outcome), one.account, one.detail] for one in ban.evidence
    ]
    return {
        "network": str(ban.network),
        "since": ban.since,
        "until": ban.until,
        "wall": ban.wall,
        "reason": ban.reason.value,
        "words": ban.words,
        "strike": ban.strike,
        "attempts": ban.attempts,
        "evidence": json.dumps(evidence, ensure_ascii=False, separators=(",", ":")),
        "quarantine": ban.quarantine,
        "brief": ban.brief,
    }


def _strikes_row(network: Network, strikes: Strikes) -> dict[str, Any]:
    return {"network": str(network), "count": strikes.count, "since": strikes.since, "until": strikes.until}


def _ban(row: Any) -> Ban:
    evidence = tuple(
        Evidence(int(wall), str(address), Service(service), Outcome(outcome), str(account), str(detail))
        for wall, address, service, outcome, account, detail in json.loads(row.evidence)
    )
    ban = Ban(
        ipaddress.ip_network(row.network), int(row.since), int(row.until), int(row.wall), Reason(row.reason), str(row.words),
        int(row.strike), int(row.attempts), evidence, bool(row.quarantine), bool(row.brief),
    )  # fmt: skip
    set_of(ban)  # KeyError: no ban is like that
    return ban


def _strikes(row: Any) -> tuple[Network, Strikes]:
    return ipaddress.ip_network(row.network), Strikes(int(row.count), int(row.since), int(row.until))


def _touches(name: str, network: Network) -> bool:
    try:
        found = ipaddress.ip_network(name)
    except ValueError:
        return True  # nothing that anybody can read
    return found.version == network.version and found.overlaps(network)
