"""Everything that has to do with one installation's credentials, opened at once; and what is done to whole accounts."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from sqlalchemy import Connection, delete, select

from appliance.access import apikeys, audit, passkeys, recovery, sessions, totp
from appliance.access.apikeys import ApiKeys
from appliance.access.audit import Audit, Event
from appliance.access.directories import roles_given, with_roles
from appliance.access.links import Links
from appliance.access.passkeys import Passkey
from appliance.access.people import known_people
from appliance.access.sessions import Session, Sessions
from appliance.access.signing import SigningKeys
from appliance.access.tokens import Tokens
from appliance.access.totp import Keyrings
from appliance.clock import Clock, Moment, system_clock
from appliance.core.document import Document
from appliance.core.errors import CorruptError, NotFoundError
from appliance.organisation.model import Person
from appliance.paths import Paths
from appliance.store import access as table
from appliance.store.database import Database
from appliance.store.sealing import Keyring

_OF_PERSON: Final = (table.credential, table.totp, table.totp_step, table.recovery_code, table.passkey, table.known_place, table.link)  # fmt: skip
"""Tables of what is forgotten with a person."""


@dataclass(frozen=True, slots=True)
class Held:
    """What a person can sign in with. ``recovery_codes``: how many are left."""

    password: bool
    totp: bool
    passkeys: tuple[Passkey, ...]
    recovery_codes: int

    @property
    def factor(self) -> bool:
        """Whether there is a second factor."""
        return self.totp or bool(self.passkeys)


class Access:
    """Credentials, sessions, keys and audit of one installation. Thread-safe; processes may share the database."""

    def __init__(
        self, database: Database, keyring: Keyrings, signing: SigningKeys, clock: Clock = system_clock
    ) -> None:
        self.database, self.keyring, self.signing, self.clock = database, keyring, signing, clock
        self.sessions = Sessions(database, clock)
        self.links = Links(database, clock)
        self.keys = ApiKeys(database, clock)
        self.tokens = Tokens(signing, self.keys, self.sessions, clock)
        self.audit = Audit(database)

    @classmethod
    def open(cls, paths: Paths | None = None, *, url: str | None = None, clock: Clock = system_clock) -> Self:
        """Those of an installation; tables are made or brought up to date.

        :param url: of the database; by default ``CENTRALINO_ACCESS_URL``, else ``store/access.db`` of the state directory.
        """
        paths = paths or Paths.default()
        database = table.open_access(url, paths)
        return cls(database, lambda: _keyring(database, paths.factor_key), SigningKeys(paths.token_keys), clock)

    def close(self) -> None:
        """Close all connections."""
        self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def held(self, person: str) -> Held:
        """What a person can sign in with."""
        with self.database.read() as connection:
            return held(connection, person)

    def session_of(self, document: Document, token: str, address: str = "") -> tuple[Session, Person] | None:
        """Whose request it is, by its cookie: the session, whatever its stage, and the person as the document has it now, with the
        roles that groups elsewhere give. When the person was removed from the document, so is the session."""
        session = self.sessions.find(token, address)
        if session is None:
            return None
        person = document.find(Person, session.person)
        if person is None:
            self.sessions.end_unknown(known_people(document))
            return None
        # Roles by groups elsewhere: what isn't given any more ends now.
        given = tuple(role for role in session.roles if role in roles_given(document))
        return replace(session, roles=given), with_roles(person, given)

    def reset(self, person: str, *, author: str = "", address: str = "") -> int:
        """Forget a person's password, factors and links, and end the sessions: only a new link lets them in again. API keys
        stay: how many good ones there are is returned."""
        now = self.clock()
        with self.database.write() as connection:
            for each in _OF_PERSON:
                if each is not table.totp_step:  # a code that was used stays used
                    connection.execute(delete(each).where(each.c.person == person))
            ended = sessions.end_of(connection, person)
            audit.append(connection, now, Event.RESET, person, author=author, address=address, sessions=len(ended))
        return sum(key.is_good(now) for key in self.keys.listed(person))

    def forget_unknown(self, known: Collection[str]) -> list[str]:
        """Collect what people left who aren't in ``known`` (the ids of all people of the document): sessions end, keys are
        revoked, credentials are forgotten, so that another person of the same id later inherits nothing. Whose it was.

        Without any known person only sessions end: that document can't be the right one.
        """
        self.sessions.end_unknown(known)
        if not known:
            return []
        gone = self.unknown(known)
        for person in gone:
            with self.database.write() as connection:
                _forget(connection, self.clock(), person)
        return gone

    def unknown(self, known: Collection[str]) -> list[str]:
        """Who left something that :meth:`forget_unknown` would collect."""
        with self.database.read() as connection:
            return sorted(_people(connection) - set(known))


def held(connection: Connection, person: str) -> Held:
    """What a person can sign in with, inside a transaction."""
    return Held(
        password_of(connection, person) is not None,
        totp.has(connection, person),
        tuple(passkeys.of(connection, person)),
        recovery.left(connection, person),
    )


def password_of(connection: Connection, person: str) -> str | None:
    """The hash that is kept."""
    query = select(table.credential.c.password).where(table.credential.c.person == person)
    return connection.execute(query).scalar()


def set_password(connection: Connection, now: Moment, person: str, hash: str) -> None:
    """Keep another hash."""
    passkeys.handle(connection, person)  # the row is there, then
    mine = table.credential.c.person == person
    connection.execute(table.credential.update().where(mine).values(password=hash, changed=now.wall))


def _people(connection: Connection) -> set[str]:
    """Everybody who left something that is to be collected."""
    found: set[str] = set()
    for each in _OF_PERSON:
        found.update(connection.execute(select(each.c.person).distinct()).scalars())
    key = table.api_key
    found.update(connection.execute(select(key.c.owner).where(key.c.revoked.is_(None)).distinct()).scalars())
    return found


def _forget(connection: Connection, now: Moment, person: str) -> None:
    for each in _OF_PERSON:
        connection.execute(delete(each).where(each.c.person == person))
    sessions.end_of(connection, person)
    apikeys.revoke_of(connection, now, person, "centralino")
    audit.append(connection, now, Event.FORGOTTEN, person, author="centralino")


def _keyring(database: Database, path: Path) -> Keyring:
    """Read each time: another process may have rotated it. Made at first use, unless seeds are sealed under one that is lost."""
    try:
        return Keyring.load(path)
    except NotFoundError:
        with database.read() as connection:
            lost = connection.execute(select(table.totp.c.person).limit(1)).first() is not None
        if lost:
            raise CorruptError(
                f"the key file {path} is missing, and the seeds of authenticator apps are sealed under it",
                "restore it from a backup, or have people enrol anew: centralino access reset",
                error_id="bad_key",
            ) from None
        return Keyring.load_or_create(path)
