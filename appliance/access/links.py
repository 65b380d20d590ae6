"""One-time links: whoever holds one may set the password of the account it was made for.

256 random bits, shown once; the database holds their SHA-256. A link is used up by the transaction that sets the password,
so it stays good when the password was refused, and of two who use it at once one wins. A new one replaces those before.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, delete, select

from appliance.access import audit
from appliance.access.audit import Event
from appliance.access.texts import hashed, new_token
from appliance.clock import DAY, HOUR, Clock, Moment, over, system_clock
from appliance.core.errors import Fault, InvalidError
from appliance.store.access import link as table
from appliance.store.database import Database

LASTS_H: Final = 24
LONGEST_H: Final = 24 * 14
PATH: Final = "/sign-in/link"
"""Where the portal takes it; the token follows as a fragment, which no browser sends and no server logs."""


def path_of(token: str) -> str:
    """The link, without the portal's address."""
    return f"{PATH}#{token}"


class Links:
    """Makes them."""

    def __init__(self, database: Database, clock: Clock = system_clock) -> None:
        self._database, self._clock = database, clock

    def make(self, person: str, *, hours: float = LASTS_H, author: str = "", address: str = "") -> str:
        """A link for a person of the document: its token. Those made before are void.

        :param hours: how long it is good, more than 0 and at most 336.
        """
        if not 0 < hours <= LONGEST_H:
            raise InvalidError(
                [Fault("link/hours", f"{hours:g} is not a time that a link may last", f"1 to {LONGEST_H}")]
            )
        token, now = new_token(), self._clock()
        row = {"hash": hashed(token), "person": person, "made": now.wall, "expires": now.wall + int(hours * HOUR)}
        with self._database.write() as connection:
            connection.execute(delete(table).where((table.c.person == person) | (table.c.expires < now.wall - DAY)))
            connection.execute(table.insert().values(row))
            audit.append(
                connection, now, Event.LINK_MADE, person, author=author, address=address, hours=round(hours, 2)
            )
        return token


def owner(connection: Connection, now: Moment, token: str) -> str | None:
    """Whose link it is; None if it isn't one, or not any more."""
    row = connection.execute(select(table).where(table.c.hash == hashed(token[:100]))).one_or_none()
    if row is None or over(row.made, row.expires - row.made, now.wall):
        return None
    return str(row.person)


def use(connection: Connection, token: str) -> bool:
    """Use it up. False: somebody else was faster."""
    return connection.execute(delete(table).where(table.c.hash == hashed(token[:100]))).rowcount == 1
