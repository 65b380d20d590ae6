"""A person's second factors: adding and removing them, in a session of the person's own.

Whoever found a browser left open may not make its owner's account theirs: changes need a proof of the last 15 minutes
(RefusedError ``prove_again``; then :meth:`appliance.access.signin.SignIn.again`, ``code`` or ``passkey``). Recovery codes
come with the first factor and go with the last. The first factor ends all other sessions: they haven't proved it.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from appliance.access import audit, passkeys, recovery, sessions, throttle, totp
from appliance.access.access import Access, Held, held
from appliance.access.audit import Event
from appliance.access.passkeys import Ceremony, RelyingParty
from appliance.access.people import Documents
from appliance.access.sessions import Session, Stage
from appliance.access.signin import Outcome
from appliance.access.totp import Seed
from appliance.clock import Moment
from appliance.core.errors import Fault, InvalidError, NotFoundError, RefusedError
from appliance.organisation.model import Person


@dataclass(frozen=True, slots=True)
class Enrolled:
    """A factor was added. ``recovery_codes`` are new, to be shown once; empty if there were some already."""

    outcome: Outcome
    recovery_codes: tuple[str, ...]

    def __repr__(self) -> str:
        return f"<Enrolled {self.outcome!r}>"


class Factors:
    """Second factors of one installation's people."""

    def __init__(self, access: Access, people: Documents, party: RelyingParty | None = None) -> None:
        self._access, self._people = access, people
        self._party = party or RelyingParty.default()

    def of(self, person: str) -> Held:
        """What a person has."""
        return self._access.held(person)

    # -- authenticator app --------------------------------------------------------------------------------------------

    def begin_totp(self, session: Session) -> Seed:
        """A seed for the app; it counts once :meth:`confirm_totp` was given a code of it."""
        now = self._access.clock()
        person = self._may_add(session, now)
        keyring = self._access.keyring()
        with self._access.database.write() as connection:
            return totp.begin(connection, now, keyring, person.id, person.email or person.id)

    def confirm_totp(self, session: Session, code: str, address: str = "") -> Enrolled:
        """The app shows the right code: it is a factor now, in the place of another app before. Raises InvalidError
        (``code_wrong``)."""
        now = self._access.clock()
        person = self._may_add(session, now)
        keyring = self._access.keyring()
        with self._access.database.write() as connection:
            charged = throttle.charge(connection, now, f"enrol {person.id}", address, owner=person.id)
        if charged.allowed:
            with self._access.database.write() as connection:
                first = self._is_first(connection, session)
                if totp.confirm(connection, now, keyring, person.id, code):
                    throttle.give_back(connection, charged)
                    return self._added(connection, now, session, address, "totp", first=first)
        hint = "type the one that the app shows now; does its clock show the right time?"
        raise InvalidError([Fault("code", "is not the code of this app, or it was used", hint, "code_wrong")])

    def remove_totp(self, session: Session, address: str = "") -> None:
        """The app is no factor any more. Raises NotFoundError."""
        now = self._access.clock()
        self._may_remove(session, now)
        with self._access.database.write() as connection:
            if not totp.remove(connection, session.person):
                raise NotFoundError("there is no authenticator app", "it may have been removed meanwhile")
            self._removed(connection, now, session, address, "totp")

    # -- passkeys -----------------------------------------------------------------------------------------------------

    def begin_passkey(self, session: Session) -> Ceremony:
        """What the browser needs to make a passkey. Raises RefusedError (``too_many``)."""
        now = self._access.clock()
        person = self._may_add(session, now)
        with self._access.database.write() as connection:
            return passkeys.begin_adding(
                connection, now, self._party, person.id, person.email or person.id, person.name
            )

    def add_passkey(self, session: Session, ceremony: str, response: str, name: str, address: str = "") -> Enrolled:
        """Keep what the browser made; ``name`` tells it apart. Raises InvalidError (``passkey_invalid``)."""
        now = self._access.clock()
        person = self._may_add(session, now)
        with self._access.database.write() as connection:
            challenge = passkeys.take_challenge(connection, now, ceremony, person.id)
        with self._access.database.write() as connection:
            first = self._is_first(connection, session)
            made = passkeys.finish_adding(connection, now, self._party, person.id, challenge, response, name)
            return self._added(connection, now, session, address, "passkey", made.name, first=first)

    def remove_passkey(self, session: Session, id: str, address: str = "") -> None:
        """Forget one. Raises NotFoundError."""
        now = self._access.clock()
        self._may_remove(session, now)
        with self._access.database.write() as connection:
            names = passkeys.remove(connection, session.person, id)
            if not names:
                raise NotFoundError("there is no such passkey", "it may have been removed meanwhile")
            self._removed(connection, now, session, address, "passkey", names[0])

    # -- recovery codes -----------------------------------------------------------------------------------------------

    def new_recovery_codes(self, session: Session, address: str = "") -> tuple[str, ...]:
        """Ten new ones, to be shown once; those before are void. Raises RefusedError (``no_factor``)."""
        now = self._access.clock()
        self._may_remove(session, now)
        with self._access.database.write() as connection:
            if not held(connection, session.person).factor:
                raise RefusedError(
                    "there is no second factor that they could replace", "add one first", error_id="no_factor"
                )
            codes = recovery.make(connection, session.person)
            audit.append(connection, now, Event.RECOVERY_CODES_MADE, session.person, address=address)
        return codes

    # -- parts --------------------------------------------------------------------------------------------------------

    def _may_add(self, session: Session, now: Moment) -> Person:
        """Somebody who must enrol may; anybody else needs a fresh proof."""
        if session.stage is Stage.ENROL:
            return self._person(session)
        return self._may_remove(session, now)

    def _may_remove(self, session: Session, now: Moment) -> Person:
        if session.stage is not Stage.FULL:
            raise RefusedError(
                "this session hasn't proved everything yet", "finish signing in first", error_id="session_stage"
            )
        if not session.is_recent(now):
            raise RefusedError(
                "this needs a proof of who you are", "give your password or second factor again", error_id="prove_again"
            )
        return self._person(session)

    def _person(self, session: Session) -> Person:
        person = self._people().find(Person, session.person)
        if person is None:
            raise NotFoundError("this session has ended", "sign in again", error_id="session_ended")
        return person

    @staticmethod
    def _is_first(connection: Connection, session: Session) -> bool:
        """Whether the person has none yet. Who must enrol one and finds one there isn't its owner."""
        first = not held(connection, session.person).factor
        if not first and session.stage is Stage.ENROL:
            raise NotFoundError("this session has ended", "sign in again", error_id="session_ended")
        return first

    def _added(
        self,
        connection: Connection,
        now: Moment,
        session: Session,
        address: str,
        factor: str,
        name: str = "",
        *,
        first: bool,
    ) -> Enrolled:
        codes = () if recovery.left(connection, session.person) else recovery.make(connection, session.person)
        if first:
            sessions.end_of(connection, session.person, but=session.id)
        audit.append(connection, now, Event.FACTOR_ADDED, session.person, address=address, factor=factor, name=name)
        outcome = Outcome(*sessions.raise_to(connection, now, session, Stage.FULL))
        throttle.remember(connection, now, session.person, address)
        return Enrolled(outcome, codes)

    def _removed(
        self, connection: Connection, now: Moment, session: Session, address: str, factor: str, name: str = ""
    ) -> None:
        if not held(connection, session.person).factor:
            recovery.remove(connection, session.person)
        audit.append(connection, now, Event.FACTOR_REMOVED, session.person, address=address, factor=factor, name=name)
