"""Codes of an authenticator app: TOTP (RFC 6238) with SHA-1, 6 digits, 30 s, which is what every app can do.

The code of the step before and after is taken too (clocks differ), each step once: that two processes are given the same
code at once is decided by the primary key of the table of used steps. Steps stay there for 30 days, so that a clock that
jumps forth and back makes neither an old code good again nor a new one bad. Seeds are sealed by the key file.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import pyotp
from sqlalchemy import Connection, delete, select, update
from sqlalchemy.exc import IntegrityError

from appliance.clock import DAY, Moment
from appliance.core.errors import CorruptError
from appliance.store.access import totp as table
from appliance.store.access import totp_step
from appliance.store.sealing import Keyring

STEP_S: Final = 30
AROUND: Final = 1
"""Steps before and after that are taken too."""
ISSUER: Final = "Centralino"
_KEPT: Final = 30 * DAY // 1000 // STEP_S

Keyrings = Callable[[], Keyring]
"""Gives the keyring; asked when it is needed."""


@dataclass(frozen=True, slots=True)
class Seed:
    """A seed for the authenticator app, to be shown once: as text, and as a URI for a QR code."""

    secret: str
    uri: str

    def __repr__(self) -> str:
        return "<Seed>"


def looks_like(code: str) -> bool:
    """Whether it has the form of such a code; spaces in it don't matter."""
    return re.fullmatch(r"[0-9]{6}", re.sub(r"\s", "", code), re.ASCII) is not None


def begin(connection: Connection, now: Moment, keyring: Keyring, person: str, account: str) -> Seed:
    """A new seed, which waits for its first code. One in use stays until then."""
    secret = pyotp.random_base32()
    pending = (table.c.person == person) & ~table.c.confirmed
    connection.execute(delete(table).where(pending))
    sealed = keyring.seal(_name(person), secret)
    connection.execute(table.insert().values(person=person, confirmed=False, sealed=sealed, created=now.wall))
    return Seed(secret, pyotp.TOTP(secret).provisioning_uri(name=account, issuer_name=ISSUER))


def confirm(connection: Connection, now: Moment, keyring: Keyring, person: str, code: str) -> bool:
    """Whether the code is one of the waiting seed's; it is then the one in use."""
    if not _take(connection, now, keyring, person, code, confirmed=False):
        return False
    mine = table.c.person == person
    connection.execute(delete(table).where(mine, table.c.confirmed))
    connection.execute(update(table).where(mine).values(confirmed=True))
    return True


def accept(connection: Connection, now: Moment, keyring: Keyring, person: str, code: str) -> bool:
    """Whether the code is right and its step wasn't used; it is now. Raises CorruptError (``bad_key``)."""
    return _take(connection, now, keyring, person, code, confirmed=True)


def has(connection: Connection, person: str) -> bool:
    """Whether the person uses an authenticator app."""
    return (
        connection.execute(select(table.c.person).where(table.c.person == person, table.c.confirmed)).first()
        is not None
    )


def remove(connection: Connection, person: str) -> bool:
    """Forget the person's seeds; used steps stay. Whether one was in use."""
    had = has(connection, person)
    connection.execute(delete(table).where(table.c.person == person))
    return had


def _take(connection: Connection, now: Moment, keyring: Keyring, person: str, code: str, *, confirmed: bool) -> bool:
    query = select(table.c.sealed).where(table.c.person == person, table.c.confirmed == confirmed)
    sealed = connection.execute(query).scalar()
    if sealed is None or not looks_like(code):
        return False
    step = _step_of(_open(keyring, person, sealed), re.sub(r"\s", "", code), now.wall // 1000 // STEP_S)
    if step is None:
        return False
    return _use(connection, person, step)


def _step_of(secret: str, code: str, middle: int) -> int | None:
    """The step whose code it is; all are compared, whichever fits."""
    generator, found = pyotp.HOTP(secret), None
    for step in range(middle - AROUND, middle + AROUND + 1):
        if hmac.compare_digest(generator.at(step), code):
            found = step
    return found


def _use(connection: Connection, person: str, step: int) -> bool:
    """Mark a step as used; False if it was. The insertion decides, so it holds without the writers' turns as well."""
    old = (totp_step.c.step < step - _KEPT) | (totp_step.c.step > step + _KEPT)
    connection.execute(delete(totp_step).where(totp_step.c.person == person, old))
    try:
        with connection.begin_nested():
            connection.execute(totp_step.insert().values(person=person, step=step))
    except IntegrityError:
        return False
    return True


def _open(keyring: Keyring, person: str, sealed: str) -> str:
    try:
        return keyring.open(_name(person), sealed)
    except CorruptError:
        raise CorruptError(
            f"the authenticator of {person} can't be opened with the key in {keyring.path}",
            f"restore the key file, or let {person} start anew: centralino access reset {person}",
            error_id="bad_key",
        ) from None


def _name(person: str) -> str:
    """What the seal is bound to; no id of a secret has a colon."""
    return f"totp:{person}"
