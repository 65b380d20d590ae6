"""How many sign-ins may fail: per account and per address, kept over restarts.

Each bucket counts failures and forgets them with time: a token bucket of ``free`` tokens, one more each ``forget``. Who
takes more than there are waits ``first`` after the next failure, twice as long after each further one, at most
``longest``. Attempts while waiting are refused without being looked at, and count for nothing.

============ ==== ===== ======= ======== =====================================================================
bucket       free first longest forget   why
============ ==== ===== ======= ======== =====================================================================
strangers      5  1 s   15 min  1 h      one account, from all places where nobody signed in to it: about 110
                                         guesses a day (NIST SP 800-63B §5.2.2 speaks of 100 in a row)
address       30  1 s   15 min  1 min    one address, all accounts: an office behind one address mistypes a lot,
                                         somebody trying many accounts is slowed down all the same
owner         10  1 s   1 min   1 min    one account at one address where it was signed in to before: the only
                                         bucket that counts there. Strangers elsewhere can't make its owner wait,
                                         and somebody behind the same address can do so for a minute at most
============ ==== ===== ======= ======== =====================================================================

Failures are counted before the password is looked at and given back if it was right, so a hundred guesses at once are a
hundred. Time is the machine's uptime: setting the clock neither opens nor shuts anything. Over a restart of the machine
only what has certainly passed counts: the lesser of the uptime and what the clock says.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, and_, delete, or_, select, update

from appliance.access.texts import hashed, place
from appliance.clock import DAY, HOUR, MINUTE, SECOND, Moment
from appliance.store.access import known_place
from appliance.store.access import throttle as table

PLACES_MAX: Final = 50
"""Places that are remembered of a person: those of the last sign-ins."""
_KEPT: Final = 2 * DAY
"""By then every bucket has forgotten everything."""
_SWEEP_EVERY: Final = 100


@dataclass(frozen=True, slots=True)
class Rule:
    """What a bucket allows. Times in ms."""

    free: int
    longest: int
    forget: int
    first: int = SECOND

    @property
    def most(self) -> int:
        """More failures than this make no difference."""
        return self.free + (self.longest // self.first).bit_length()

    def wait(self, failures: float) -> float:
        """How long after the last failure the next attempt may come."""
        if failures <= self.free - 1:  # a whole token is there
            return 0
        return min(self.first * 2 ** (failures - self.free), self.longest)

    def left(self, failures: float, elapsed: int) -> float:
        """What is left of so many failures after some time."""
        return max(0.0, failures - elapsed / self.forget)


STRANGERS: Final = Rule(5, 15 * MINUTE, HOUR)
OWNER: Final = Rule(10, MINUTE, MINUTE)
ADDRESS: Final = Rule(30, 15 * MINUTE, MINUTE)


@dataclass(frozen=True, slots=True)
class Charge:
    """An attempt that was counted, or refused. ``news``: the first refusal since the last failure, worth telling."""

    allowed: bool
    buckets: tuple[tuple[str, Rule], ...]
    news: bool = False


def charge(connection: Connection, now: Moment, account: str, address: str, *, owner: str | None) -> Charge:
    """Count an attempt at ``account``, or refuse it.

    :param account: what is guessed at; ``""`` if no account is (a passkey names it itself).
    :param owner: id of the person whose account it is; None if there is none.
    """
    where = place(address)
    if owner is not None and _is_known(connection, owner, where):
        buckets: tuple[tuple[str, Rule], ...] = ((hashed(f"owner {account} {where}"), OWNER),)
    else:
        buckets = ((hashed(f"address {where}"), ADDRESS),)
        if account:
            buckets = ((hashed(f"account {account}"), STRANGERS), *buckets)
    found = [(bucket, rule, _read(connection, now, bucket)) for bucket, rule in buckets]
    waiting = [(bucket, told) for bucket, rule, (failures, elapsed, told) in found if elapsed < rule.wait(failures)]
    if waiting:
        for bucket, _ in waiting:
            connection.execute(update(table).where(table.c.bucket == bucket).values(told=True))
        return Charge(False, buckets, news=not any(told for _, told in waiting))
    for bucket, rule, (failures, elapsed, _) in found:
        _write(connection, now, bucket, min(rule.left(failures, elapsed) + 1, rule.most))
    if secrets.randbelow(_SWEEP_EVERY) == 0:
        _sweep(connection, now)
    return Charge(True, buckets)


def give_back(connection: Connection, charged: Charge) -> None:
    """The attempt was a right one. The account starts anew; of the address, whose other accounts may be under attack, only
    this attempt is forgotten."""
    for bucket, rule in charged.buckets:
        if rule is ADDRESS:
            failures = table.c.failures
            connection.execute(
                update(table).where(table.c.bucket == bucket, failures >= 1).values(failures=failures - 1)
            )
        else:
            connection.execute(delete(table).where(table.c.bucket == bucket))


def remember(connection: Connection, now: Moment, person: str, address: str) -> None:
    """The person signed in here: strangers elsewhere can't make them wait here any more."""
    where = place(address)
    if where == "elsewhere":
        return
    mine = known_place.c.person == person
    connection.execute(delete(known_place).where(mine, known_place.c.place == where))
    connection.execute(known_place.insert().values(person=person, place=where, last=now.wall))
    latest = select(known_place.c.place).where(mine).order_by(known_place.c.last.desc()).limit(PLACES_MAX)
    kept = list(connection.execute(latest).scalars())
    if len(kept) == PLACES_MAX:
        connection.execute(delete(known_place).where(mine, known_place.c.place.not_in(kept)))


def _is_known(connection: Connection, person: str, where: str) -> bool:
    query = select(known_place.c.person).where(known_place.c.person == person, known_place.c.place == where)
    return connection.execute(query).first() is not None


def _read(connection: Connection, now: Moment, bucket: str) -> tuple[float, int, bool]:
    """Failures at the last one, time since then, and whether a refusal was told of."""
    row = connection.execute(select(table).where(table.c.bucket == bucket)).one_or_none()
    if row is None:
        return 0, 0, False
    elapsed = _elapsed(row, now)
    if row.boot != now.boot:  # from now on by this uptime; before the machine's start it is below zero
        values = {"boot": now.boot, "uptime": now.uptime - elapsed, "wall": now.wall - elapsed}
        connection.execute(update(table).where(table.c.bucket == bucket).values(values))
    return row.failures, elapsed, row.told


def _elapsed(row: Any, now: Moment) -> int:
    since = now.uptime - row.uptime if row.boot == now.boot else min(now.uptime, now.wall - row.wall)
    return int(max(0, since))


def _write(connection: Connection, now: Moment, bucket: str, failures: float) -> None:
    values = {"failures": failures, "boot": now.boot, "uptime": now.uptime, "wall": now.wall, "told": False}
    done = connection.execute(update(table).where(table.c.bucket == bucket).values(values))
    if done.rowcount == 0:
        connection.execute(table.insert().values(bucket=bucket, **values))


def _sweep(connection: Connection, now: Moment) -> None:
    """Forget buckets that have forgotten everything."""
    here, old = table.c.boot == now.boot, table.c.uptime < now.uptime - _KEPT
    elsewhere = and_(table.c.boot != now.boot, table.c.wall < now.wall - _KEPT) if now.uptime > _KEPT else None
    connection.execute(
        delete(table).where(or_(and_(here, old), elsewhere) if elsewhere is not None else and_(here, old))
    )
