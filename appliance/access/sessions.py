"""Sessions: who is signed in, where, since when.

The cookie holds 256 random bits; the database holds their SHA-256, so reading it opens nothing. Each rise of privilege
gives the session a new token, so one that was slipped to somebody before (session fixation) is worth nothing after.
The token against forged requests (CSRF) is derived from the cookie's: it is kept nowhere, and renewed with it.

A session ends after 12 h without use or 7 days in all; before everything was proved, after 10 minutes (the second
factor), or an hour (enrolling one). Also when its person is removed from the document or changes the password. When the
clock is set back by more than 5 minutes, those from "later" end: they would last too long.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
from collections.abc import Collection
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Connection, delete, select, update

from appliance.access import audit
from appliance.access.audit import Event
from appliance.access.texts import ADDRESS_MAX, clean, hashed, new_id, new_token
from appliance.clock import DAY, HOUR, MINUTE, Clock, Moment, over, system_clock
from appliance.core.errors import NotFoundError, UnavailableError
from appliance.store.access import AGENT_MAX
from appliance.store.access import session as table
from appliance.store.database import Database

COOKIE: Final = "__Host-session"
"""Its cookie, for every web process. The prefix has browsers take it only from HTTPS, for this host alone and the whole of it
(RFC 6265bis section 4.1.3.2)."""
IDLE: Final = 12 * HOUR
LONGEST: Final = 7 * DAY
SEEN_EVERY: Final = MINUTE
"""``seen`` is written at most this often."""
RECENT: Final = 15 * MINUTE
"""How long after a proof what matters (factors, keys, the password) may be changed without another."""
_log: Final = logging.getLogger(__name__)


class Stage(StrEnum):
    """How much has been proved."""

    PASSWORD = "password"  # noqa: S105 (the second factor is still due)
    ENROL = "enrol"
    """Signed in, but must have a second factor and has none: may do nothing but enrol one."""
    FULL = "full"


_LASTS: Final = {Stage.PASSWORD: 10 * MINUTE, Stage.ENROL: HOUR, Stage.FULL: LONGEST}


@dataclass(frozen=True, slots=True)
class Session:
    """A session that is valid. Times in ms since the epoch; ``proved``: when a password, code or passkey was last given.
    ``csrf`` is there only when it was found by its token. ``roles``: those that groups of a directory or a provider gave when it
    was begun."""

    id: str
    person: str
    stage: Stage
    address: str
    agent: str
    created: int
    seen: int
    proved: int
    csrf: str = field(default="", repr=False)
    roles: tuple[str, ...] = ()

    def is_recent(self, now: Moment) -> bool:
        """Whether the last proof is recent enough for what matters."""
        return not over(self.proved, RECENT, now.wall)


def csrf_of(token: str) -> str:
    """The token against forged requests that goes with a cookie's token."""
    return hmac.new(token.encode(), b"centralino csrf v1", hashlib.sha256).hexdigest()


# -- inside a transaction -------------------------------------------------------------------------------------------------


def create(
    connection: Connection,
    now: Moment,
    person: str,
    stage: Stage,
    address: str,
    agent: str,
    roles: tuple[str, ...] = (),
) -> tuple[Session, str]:
    """A new session and its token."""
    _sweep(connection, now)
    token = new_token()
    wall = now.wall
    where, device = clean(address, ADDRESS_MAX), clean(agent, AGENT_MAX)
    made = Session(new_id(80), person, stage, where, device, wall, wall, wall, csrf_of(token), roles)
    row = {name: value for name, value in asdict(made).items() if name != "csrf"} | {"roles": " ".join(roles) or None}
    connection.execute(table.insert().values(row | {"token": hashed(token)}))
    return made, token


def raise_to(connection: Connection, now: Moment, session: Session, stage: Stage) -> tuple[Session, str]:
    """The same session with more proved, under a new token. Raises NotFoundError if it ended meanwhile, or was raised by
    another."""
    token = new_token()
    values = {"token": hashed(token), "stage": stage, "proved": now.wall, "seen": now.wall}
    same = (table.c.id == session.id) & (table.c.stage == session.stage) & (table.c.proved == session.proved)
    if connection.execute(update(table).where(same).values(values)).rowcount != 1:
        raise NotFoundError("this session has ended", "sign in again", error_id="session_ended")
    return replace(session, stage=stage, proved=now.wall, seen=now.wall, csrf=csrf_of(token)), token


def end_of(connection: Connection, person: str, *, but: str = "") -> list[str]:
    """End all sessions of a person, perhaps but one. Their ids."""
    which = (table.c.person == person) & (table.c.id != but)
    ids = list(connection.execute(select(table.c.id).where(which)).scalars())
    connection.execute(delete(table).where(which))
    return ids


def _sweep(connection: Connection, now: Moment) -> None:
    connection.execute(delete(table).where((table.c.created < now.wall - LONGEST) | (table.c.seen < now.wall - IDLE)))


def _valid(row: Any, now: Moment) -> Session | None:
    try:
        stage = Stage(row.stage)
    except ValueError:
        return None
    if over(row.created, LONGEST, now.wall) or over(row.seen, min(IDLE, _LASTS[stage]), now.wall):
        return None
    if stage is not Stage.FULL and over(row.proved, _LASTS[stage], now.wall):
        return None
    roles = tuple((row.roles or "").split())
    return Session(row.id, row.person, stage, row.address, row.agent, row.created, row.seen, row.proved, roles=roles)


# -- for everybody --------------------------------------------------------------------------------------------------------


class Sessions:
    """Finds, lists and ends them."""

    def __init__(self, database: Database, clock: Clock = system_clock) -> None:
        self._database, self._clock = database, clock

    def find(self, token: str, address: str = "") -> Session | None:
        """The session of a cookie, if it is valid; whatever its stage: look at it. Notes that it was used."""
        if not token or len(token) > 100:
            return None
        now = self._clock()
        with self._database.read() as connection:
            row = connection.execute(select(table).where(table.c.token == hashed(token))).one_or_none()
        found = _valid(row, now) if row is not None else None
        if found is None:
            return None
        if abs(now.wall - found.seen) > SEEN_EVERY:
            found = self._seen(found, now, address)
        return replace(found, csrf=csrf_of(token))

    def _seen(self, session: Session, now: Moment, address: str) -> Session:
        where = clean(address, ADDRESS_MAX) or session.address
        try:
            with self._database.write() as connection:
                values = {"seen": now.wall, "address": where}
                connection.execute(update(table).where(table.c.id == session.id).values(values))
        except UnavailableError as error:  # a full disk must not sign everybody out
            _log.warning("a session's use can't be noted: %s", error)
            return session
        return replace(session, seen=now.wall, address=where)

    def get(self, id: str) -> Session | None:
        """The session with this id, if it is valid."""
        with self._database.read() as connection:
            row = connection.execute(select(table).where(table.c.id == id)).one_or_none()
        return _valid(row, self._clock()) if row is not None else None

    def listed(self, person: str | None = None) -> list[Session]:
        """All valid ones, of one person or of everybody, last seen first."""
        query = select(table).order_by(table.c.seen.desc(), table.c.id)
        if person is not None:
            query = query.where(table.c.person == person)
        now = self._clock()
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return [found for row in rows if (found := _valid(row, now)) is not None]

    def end(self, id: str, *, author: str = "", address: str = "") -> str:
        """End one: whose it was. Raises NotFoundError."""
        now = self._clock()
        with self._database.write() as connection:
            person = connection.execute(select(table.c.person).where(table.c.id == id)).scalar()
            if person is None:
                raise NotFoundError(f"there is no session {id!r}", "centralino access sessions lists them")
            connection.execute(delete(table).where(table.c.id == id))
            audit.append(connection, now, Event.SESSION_ENDED, person, author=author, address=address, session=id)
        return str(person)

    def end_all(self, person: str, *, but: str = "", author: str = "", address: str = "") -> int:
        """End all of a person's, perhaps but one (that with which it was asked). How many there were."""
        now = self._clock()
        with self._database.write() as connection:
            ids = end_of(connection, person, but=but)
            for id in ids:
                audit.append(connection, now, Event.SESSION_ENDED, person, author=author, address=address, session=id)
        return len(ids)

    def end_unknown(self, known: Collection[str]) -> int:
        """End those of people who aren't in ``known``, the ids of all people of the document. How many there were."""
        now = self._clock()
        with self._database.read() as connection:
            gone = set(connection.execute(select(table.c.person).distinct()).scalars()) - set(known)
        if not gone:
            return 0
        ended = 0
        with self._database.write() as connection:
            for person in sorted(gone):
                for id in end_of(connection, person):
                    audit.append(connection, now, Event.SESSION_ENDED, person, author="centralino", session=id)
                    ended += 1
        return ended
