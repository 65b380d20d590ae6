"""API keys: what programs sign in with. ``ck_<id>_<secret>``: the id finds it, the secret (256 random bits, kept as SHA-256)
proves it; the prefix lets scanners of source code recognise one that slipped out.

A key has the permissions that its scopes name, as far as its owner has them: which that are is decided when it is used, by
whoever guards permissions.
"""

from __future__ import annotations

import hmac
import json
import logging
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Final

from sqlalchemy import Connection, select, update

from appliance.access import audit
from appliance.access.audit import Event
from appliance.access.texts import clean, hashed, new_id, new_token
from appliance.clock import MINUTE, Clock, Moment, system_clock
from appliance.core.errors import CorruptError, Fault, InvalidError, NotFoundError, UnavailableError
from appliance.store.access import api_key as table
from appliance.store.database import Database

NAME_MAX: Final = 120
SCOPES_MAX: Final = 100
USED_EVERY: Final = MINUTE
_FORM: Final = re.compile(r"ck_([a-z2-7]{12})_([A-Za-z0-9_-]{43})", re.ASCII)
_SCOPE: Final = re.compile(r"[a-z_*]+(\.[a-z_*]+)*:(view|edit)", re.ASCII)
_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key, without its secret. Times in ms; ``expires`` None: never."""

    id: str
    name: str
    owner: str
    scopes: tuple[str, ...]
    created: int
    expires: int | None
    used: int | None
    revoked: int | None

    def is_good(self, now: Moment) -> bool:
        """Neither revoked nor expired."""
        return self.revoked is None and (self.expires is None or now.wall < self.expires)


class ApiKeys:
    """Makes, finds, lists and revokes them."""

    def __init__(self, database: Database, clock: Clock = system_clock) -> None:
        self._database, self._clock = database, clock

    def make(
        self,
        owner: str,
        name: str,
        scopes: Iterable[str],
        *,
        days: int | None = None,
        author: str = "",
        address: str = "",
    ) -> tuple[ApiKey, str]:
        """A new key, and its text, to be shown once.

        :param scopes: patterns of permissions such as ``extension:view``, as in a role; at least one.
        :param days: how long it is good, 1 to 3,650; None: until it is revoked.
        :raises InvalidError: every fault.
        """
        wanted, now = tuple(dict.fromkeys(scopes)), self._clock()
        label = clean(name, NAME_MAX)
        found = _faults(label, wanted, days)
        if found:
            raise InvalidError(found)
        expires = now.wall + days * 86_400_000 if days is not None else None
        secret = new_token()
        made = ApiKey(new_id(60), label, owner, wanted, now.wall, expires, None, None)
        row = {name: value for name, value in asdict(made).items() if name != "scopes"}
        with self._database.write() as connection:
            connection.execute(table.insert().values(row | {"hash": hashed(secret), "scopes": json.dumps(wanted)}))
            audit.append(
                connection, now, Event.KEY_MADE, owner, author=author, address=address, key=made.id, scopes=list(wanted)
            )
        return made, f"ck_{made.id}_{secret}"

    def find(self, text: str) -> ApiKey | None:
        """The key of this text, if it is good. Notes that it was used, at most once a minute."""
        match = _FORM.fullmatch(text)
        if match is None:
            return None
        with self._database.read() as connection:
            row = connection.execute(select(table).where(table.c.id == match[1])).one_or_none()
        kept = row.hash if row is not None else hashed("nothing")
        if not hmac.compare_digest(kept, hashed(match[2])) or row is None:
            return None
        found, now = _key(row), self._clock()
        if not found.is_good(now):
            return None
        if found.used is None or abs(now.wall - found.used) > USED_EVERY:
            self._used(found, now)
        return found

    def _used(self, key: ApiKey, now: Moment) -> None:
        try:
            with self._database.write() as connection:
                connection.execute(update(table).where(table.c.id == key.id).values(used=now.wall))
        except UnavailableError as error:  # a full disk must not shut programs out
            _log.warning("the use of a key can't be noted: %s", error)

    def get(self, id: str) -> ApiKey:
        """A key by its id, good or not. Raises NotFoundError."""
        with self._database.read() as connection:
            return _get(connection, id)

    def listed(self, owner: str | None = None) -> list[ApiKey]:
        """All, or one person's, good or not; the newest first."""
        query = select(table).order_by(table.c.created.desc(), table.c.id)
        if owner is not None:
            query = query.where(table.c.owner == owner)
        with self._database.read() as connection:
            return [_key(row) for row in connection.execute(query)]

    def revoke(self, id: str, *, author: str = "", address: str = "") -> None:
        """From now on it opens nothing, nor do tokens made from it. Idempotent. Raises NotFoundError."""
        now = self._clock()
        with self._database.write() as connection:
            row = connection.execute(select(table.c.owner, table.c.revoked).where(table.c.id == id)).one_or_none()
            if row is None:
                raise _unknown(id)
            if row.revoked is None:
                _revoke(connection, now, id, row.owner, author, address)


def revoke_of(connection: Connection, now: Moment, owner: str, author: str) -> None:
    """Revoke all keys of a person, in the caller's transaction."""
    query = select(table.c.id).where(table.c.owner == owner, table.c.revoked.is_(None)).order_by(table.c.id)
    for id in list(connection.execute(query).scalars()):
        _revoke(connection, now, id, owner, author, "")


def _revoke(connection: Connection, now: Moment, id: str, owner: str, author: str, address: str) -> None:
    connection.execute(update(table).where(table.c.id == id).values(revoked=now.wall))
    audit.append(connection, now, Event.KEY_REVOKED, owner, author=author, address=address, key=id)


def _get(connection: Connection, id: str) -> ApiKey:
    row = connection.execute(select(table).where(table.c.id == id)).one_or_none()
    if row is None:
        raise _unknown(id)
    return _key(row)


def _unknown(id: str) -> NotFoundError:
    return NotFoundError(f"there is no API key {id!r}", "centralino access key list shows those there are")


def _key(row: Any) -> ApiKey:
    try:
        scopes = tuple(str(scope) for scope in json.loads(row.scopes))
    except (ValueError, TypeError):
        hint = f"revoke it and make another: centralino access key revoke {row.id}"
        raise CorruptError(f"API key {row.id} can't be read back", hint) from None
    return ApiKey(row.id, row.name, row.owner, scopes, row.created, row.expires, row.used, row.revoked)


def _faults(name: str, scopes: tuple[str, ...], days: int | None) -> list[Fault]:
    found = []
    if not name:
        found.append(Fault("key/name", "is missing", "what uses it, say"))
    if not 1 <= len(scopes) <= SCOPES_MAX:
        found.append(Fault("key/scopes", f"has {len(scopes)} entries", f"1 to {SCOPES_MAX}"))
    for number, scope in enumerate(scopes):
        if len(scope) > 200 or _SCOPE.fullmatch(scope) is None:
            found.append(Fault(f"key/scopes[{number}]", "is not in the right form", "extension:view, or *:edit"))
    if days is not None and not 1 <= days <= 3650:
        found.append(Fault("key/days", f"{days} is not a number of days that a key may last", "1 to 3650"))
    return found
