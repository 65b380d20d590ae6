"""Signing in: the one place where credentials, throttling, sessions and the audit come together.

What doesn't work has one answer: the same error, ``FAILURE_S`` after the question, whether the account isn't known, the
password is wrong, or there were too many attempts. Under so much load that the work itself takes longer, it comes later.

Every step is one transaction; the slow hash is computed between two of them, so the second looks again at what the first
had found. Killed in between, an attempt was counted that led to nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection

from appliance.access import audit, links, passkeys, passwords, recovery, sessions, throttle, totp
from appliance.access.access import Access, held, password_of, set_password
from appliance.access.audit import Event
from appliance.access.clock import Moment
from appliance.access.passkeys import Ceremony, RelyingParty
from appliance.access.people import Documents, find_person, folded
from appliance.access.sessions import Session, Stage
from appliance.core.errors import InvalidError, NotFoundError, RefusedError
from appliance.organisation.model import Person
from appliance.store.database import Database

FAILURE_S: Final = 0.4
"""Seconds from an attempt to the answer that it failed: about three times what a password's hash takes."""

Policy = Callable[[Person], bool]
"""Whether a person must have a second factor."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """It worked, as far as ``session.stage`` says. ``token`` goes into the cookie, in the place of the one before.
    ``recovery_codes``: how many are left, if one was used."""

    session: Session
    token: str
    recovery_codes: int | None = None

    def __repr__(self) -> str:
        return f"<Outcome {self.session.person} {self.session.stage}>"


class SignIn:
    """Sign-in of one installation.

    :param people: gives the document in force.
    :param must_have_factor: whether a person must have a second factor; one who has one is asked for it in any case.
    """

    def __init__(
        self, access: Access, people: Documents, must_have_factor: Policy, party: RelyingParty | None = None
    ) -> None:
        self._access, self._people, self._must = access, people, must_have_factor
        self._party = party or RelyingParty.default()
        passwords.dummy()  # the first unknown account must not take longer than the next

    @property
    def _database(self) -> Database:
        return self._access.database

    # -- ways in ------------------------------------------------------------------------------------------------------

    def password(self, name_or_email: str, password: str, address: str = "", agent: str = "") -> Outcome:
        """A new session. Raises RefusedError (``sign_in_failed``)."""
        begun = time.monotonic()
        person = find_person(self._people(), name_or_email)
        kept = self._checked(person, folded(name_or_email), password, address, begun)
        assert person is not None  # noqa: S101 (else it had failed)
        anew = passwords.hash_of(password) if passwords.outdated(kept) else None
        now = self._access.clock()
        with self._database.write() as connection:
            same = password_of(connection, person.id) == kept  # not changed or reset while the hash was computed
            if same:
                if anew is not None:
                    set_password(connection, now, person.id, anew)
                return self._begin(connection, now, person, address, agent)
        raise _failed(begun)

    def code(self, session: Session, code: str, address: str = "") -> Outcome:
        """The second factor: a code of the authenticator app, or a recovery code. In a session where everything was proved
        it is a fresh proof. Raises RefusedError (``sign_in_failed``; ``session_stage`` while one must be enrolled)."""
        begun = time.monotonic()
        if session.stage is Stage.ENROL:
            raise _wrong_stage()
        self._person_of(session)
        keyring = self._access.keyring() if totp.looks_like(code) else None  # a lost one is no matter to recovery codes
        charged = self._charge(f"factor {session.person}", session.person, address, begun)
        now = self._access.clock()
        with self._database.write() as connection:
            if keyring is not None:
                right = totp.accept(connection, now, keyring, session.person, code)
            else:
                right = recovery.use(connection, session.person, code)
            if right:
                throttle.give_back(connection, charged)
                how = "totp" if keyring is not None else "recovery_code"
                left = None if keyring is not None else recovery.left(connection, session.person)
                return self._raise(connection, now, session, address, how, left)
            audit.append(connection, now, Event.FAILED, session.person, address=address, step="code")
        raise _failed(begun)

    def passkey_options(self) -> Ceremony:
        """What the browser needs to ask for a passkey."""
        with self._database.write() as connection:
            return passkeys.begin_sign_in(connection, self._access.clock(), self._party)

    def passkey(
        self, ceremony: str, response: str, address: str = "", agent: str = "", session: Session | None = None
    ) -> Outcome:
        """A passkey's answer: it proves everything. With a ``session`` that one is raised, if it is the same person's; else
        there is a new one. Raises RefusedError (``sign_in_failed``)."""
        begun, now = time.monotonic(), self._access.clock()
        try:
            with self._database.write() as connection:
                challenge = passkeys.take_challenge(connection, now, ceremony)
            with self._database.write() as connection:
                id = passkeys.accept(connection, now, self._party, challenge, response)
                person = self._people().find(Person, id)
                if person is not None and session is not None and session.person == id:
                    return self._raise(connection, now, session, address, "passkey", None)
                if person is not None and session is None:
                    return self._begin(connection, now, person, address, agent, proved="passkey")
        except InvalidError as error:
            self._tell_failure(address, "passkey", error.faults[0].message)
        else:
            self._tell_failure(address, "passkey", "another person's")
        raise _failed(begun)

    def link(self, token: str, new_password: str, address: str = "", agent: str = "") -> Outcome:
        """Set the password by a one-time link, which uses it up, and sign in. A second factor is asked for as ever.

        :raises InvalidError: every fault of the password; the link stays good.
        :raises RefusedError: ``link_invalid``: unknown, used or too old.
        """
        begun, now = time.monotonic(), self._access.clock()
        with self._database.read() as connection:
            id = links.owner(connection, now, token)
        person = self._people().find(Person, id)
        if person is not None:
            passwords.check(new_password, person)
            kept = passwords.hash_of(new_password)
            with self._database.write() as connection:
                if links.owner(connection, now, token) == id and links.use(connection, token):
                    audit.append(connection, now, Event.LINK_USED, person.id, address=address)
                    self._set(connection, now, person.id, kept, address)
                    return self._begin(connection, now, person, address, agent, by="link")
        self._tell_failure(address, "link")
        _wait(begun)
        raise RefusedError(
            "this link isn't good, or not any more", "ask for another: centralino access link", error_id="link_invalid"
        )

    def session_of(self, token: str, address: str = "") -> tuple[Session, Person] | None:
        """See :meth:`Access.session_of`."""
        return self._access.session_of(self._people(), token, address)

    # -- in a session -------------------------------------------------------------------------------------------------

    def again(self, session: Session, password: str, address: str = "") -> Outcome:
        """A fresh proof, before something that matters is changed. Raises RefusedError (``sign_in_failed``)."""
        begun = time.monotonic()
        person = self._full(session)
        self._checked(person, "", password, address, begun)
        with self._database.write() as connection:
            return Outcome(*sessions.raise_to(connection, self._access.clock(), session, Stage.FULL))

    def change_password(self, session: Session, old: str, new: str, address: str = "") -> Outcome:
        """Another password; all other sessions end. Raises InvalidError (the new one's faults), RefusedError
        (``sign_in_failed``: the old one is wrong)."""
        begun = time.monotonic()
        person = self._full(session)
        passwords.check(new, person)
        kept = self._checked(person, "", old, address, begun)
        anew, now = passwords.hash_of(new), self._access.clock()
        with self._database.write() as connection:
            if password_of(connection, person.id) == kept:
                self._set(connection, now, person.id, anew, address, but=session.id)
                return Outcome(*sessions.raise_to(connection, now, session, Stage.FULL))
        raise _failed(begun)

    # -- parts --------------------------------------------------------------------------------------------------------

    def _checked(self, person: Person | None, typed: str, password: str, address: str, begun: float) -> str:
        """The kept hash, if the password is right. Else it is told, and RefusedError is raised in time."""
        id = person.id if person is not None else None
        charged = self._charge(f"password {id or typed}", id, address, begun)
        with self._database.read() as connection:
            kept = password_of(connection, id) if id is not None else None
        right = passwords.verify(kept, password)
        now = self._access.clock()
        with self._database.write() as connection:
            if right:
                throttle.give_back(connection, charged)
            else:
                known = {} if id is not None else {"account": "unknown"}
                audit.append(connection, now, Event.FAILED, id or "", address=address, step="password", **known)
        if not right or kept is None:
            raise _failed(begun)
        return kept

    def _charge(self, account: str, owner: str | None, address: str, begun: float) -> throttle.Charge:
        now = self._access.clock()
        with self._database.write() as connection:
            charged = throttle.charge(connection, now, account, address, owner=owner)
            if charged.news:
                audit.append(connection, now, Event.THROTTLED, owner or "", address=address)
        if not charged.allowed:
            raise _failed(begun)
        return charged

    def _tell_failure(self, address: str, step: str, reason: str = "") -> None:
        """What can't be guessed needs no throttling; only the audit must not be filled by it."""
        now = self._access.clock()
        with self._database.write() as connection:
            charged = throttle.charge(connection, now, "", address, owner=None)
            if charged.allowed:
                audit.append(connection, now, Event.FAILED, address=address, step=step, reason=reason)

    def _begin(
        self,
        connection: Connection,
        now: Moment,
        person: Person,
        address: str,
        agent: str,
        *,
        proved: str = "",
        by: str = "password",
    ) -> Outcome:
        """A session, as far as was proved: ``proved`` names what proves everything."""
        stage = Stage.FULL
        if not proved and held(connection, person.id).factor:
            stage = Stage.PASSWORD
        elif not proved and self._must(person):
            stage = Stage.ENROL
        session, token = sessions.create(connection, now, person.id, stage, address, agent)
        event = Event.PASSWORD_RIGHT if stage is Stage.PASSWORD else Event.SIGNED_IN
        audit.append(
            connection, now, event, person.id, address=address, session=session.id, by=proved or by, stage=stage.value
        )
        if stage is Stage.FULL:
            throttle.remember(connection, now, person.id, address)
        return Outcome(session, token)

    def _raise(
        self, connection: Connection, now: Moment, session: Session, address: str, how: str, left: int | None
    ) -> Outcome:
        raised, token = sessions.raise_to(connection, now, session, Stage.FULL)
        audit.append(connection, now, Event.SIGNED_IN, session.person, address=address, session=session.id, by=how)
        throttle.remember(connection, now, session.person, address)
        return Outcome(raised, token, left)

    def _set(self, connection: Connection, now: Moment, person: str, kept: str, address: str, *, but: str = "") -> None:
        set_password(connection, now, person, kept)
        ended = sessions.end_of(connection, person, but=but)
        audit.append(connection, now, Event.PASSWORD_CHANGED, person, address=address, sessions_ended=len(ended))

    def _person_of(self, session: Session) -> Person:
        person = self._people().find(Person, session.person)
        if person is None:
            raise NotFoundError("this session has ended", "sign in again", error_id="session_ended")
        return person

    def _full(self, session: Session) -> Person:
        if session.stage is not Stage.FULL:
            raise _wrong_stage()
        return self._person_of(session)


def _wait(begun: float) -> None:
    time.sleep(max(0.0, begun + FAILURE_S - time.monotonic()))


def _failed(begun: float) -> RefusedError:
    _wait(begun)
    return RefusedError(
        "that is not right, or there were too many attempts",
        "check what you typed; after several attempts wait some minutes",
        error_id="sign_in_failed",
    )


def _wrong_stage() -> RefusedError:
    return RefusedError(
        "this session hasn't proved everything yet", "finish signing in first", error_id="session_stage"
    )
