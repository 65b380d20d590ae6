"""Signing in: the one place where credentials, throttling, sessions and the audit come together.

What doesn't work has one answer: the same error, ``FAILURE_S`` after the question, whether the account isn't known, the
password is wrong, or there were too many attempts. Under so much load that the work itself takes longer, it comes later.
Where a directory is asked too, ``DIRECTORY_FAILURE_S``; and when none of its servers answers, everybody who fails is told so.

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
from appliance.access.directories import Directories, Secrets, enabled, may_use_local, with_roles
from appliance.access.outward import Outward
from appliance.access.passkeys import Ceremony, RelyingParty
from appliance.access.people import Documents, find_person, folded
from appliance.access.sessions import Session, Stage
from appliance.clock import Moment
from appliance.core.document import Document
from appliance.core.errors import InvalidError, NotFoundError, RefusedError
from appliance.firewall.bans.reporting import Report, nobody, unknown
from appliance.i18n import later
from appliance.organisation.model import Person
from appliance.store.database import Database

FAILURE_S: Final = 0.4
"""Seconds from an attempt to the answer that it failed: about three times what a password's hash takes."""

DIRECTORY_FAILURE_S: Final = 1.2
"""The same where a directory is asked: two round trips and the hash that a directory computes, with room."""

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


@dataclass(frozen=True, slots=True)
class Proof:
    """A password was right. ``kept``: the hash that it was compared with; None: a directory took it, named by ``by``. ``roles``:
    those that the directory's groups give."""

    person: Person
    kept: str | None = None
    by: str = "password"
    roles: tuple[str, ...] = ()


class SignIn:
    """Sign-in of one installation.

    :param people: gives the document in force.
    :param must_have_factor: whether a person must have a second factor; one who has one is asked for it in any case.
    :param secrets: what this process was handed: passwords for directories.
    :param report: tells the judge of bans who failed and who came in.
    """

    def __init__(
        self,
        access: Access,
        people: Documents,
        must_have_factor: Policy,
        party: RelyingParty | None = None,
        secrets: Secrets = lambda _id: None,
        outward: Outward | None = None,
        report: Report = nobody,
    ) -> None:
        self._report = report
        self._access, self._people, self._must = access, people, must_have_factor
        self._party = party or RelyingParty.default()
        self._directories = Directories(secrets, outward or Outward())
        passwords.dummy()  # the first unknown account must not take longer than the next

    @property
    def _database(self) -> Database:
        return self._access.database

    @property
    def access(self) -> Access:
        """The credentials that it stands on."""
        return self._access

    def document(self) -> Document:
        """The one in force."""
        return self._people()

    @property
    def directories(self) -> Directories:
        """Those of the document."""
        return self._directories

    # -- ways in ------------------------------------------------------------------------------------------------------

    def password(self, name_or_email: str, password: str, address: str = "", agent: str = "") -> Outcome:
        """A new session, by a password kept here or by a directory. Raises RefusedError (``sign_in_failed``;
        ``directory_silent``)."""
        document = self._people()
        until = self._until(document)
        person = find_person(document, name_or_email)
        proof = self._proved(document, person, name_or_email, password, address, until)
        anew = passwords.hash_of(password) if proof.kept is not None and passwords.outdated(proof.kept) else None
        now = self._access.clock()
        with self._database.write() as connection:
            # not changed or reset while the hash was computed
            same = proof.kept is None or password_of(connection, proof.person.id) == proof.kept
            if same:
                if anew is not None:
                    set_password(connection, now, proof.person.id, anew)
                return self._begin(connection, now, proof.person, address, agent, by=proof.by, roles=proof.roles)
        raise _failed(until)

    def code(self, session: Session, code: str, address: str = "") -> Outcome:
        """The second factor: a code of the authenticator app, or a recovery code. In a session where everything was proved
        it is a fresh proof. Raises RefusedError (``sign_in_failed``; ``session_stage`` while one must be enrolled)."""
        until = time.monotonic() + FAILURE_S
        if session.stage is Stage.ENROL:
            raise _wrong_stage()
        self._person_of(session)
        keyring = self._access.keyring() if totp.looks_like(code) else None  # a lost one is no matter to recovery codes
        charged = self._charge(f"factor {session.person}", session.person, address, until)
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
        self._report("portal", address, "failed", session.person, later("wrong second factor"))
        raise _failed(until)

    def passkey_options(self) -> Ceremony:
        """What the browser needs to ask for a passkey."""
        with self._database.write() as connection:
            return passkeys.begin_sign_in(connection, self._access.clock(), self._party)

    def passkey(
        self, ceremony: str, response: str, address: str = "", agent: str = "", session: Session | None = None
    ) -> Outcome:
        """A passkey's answer: it proves everything. With a ``session`` that one is raised, if it is the same person's; else
        there is a new one. Raises RefusedError (``sign_in_failed``)."""
        until, now = time.monotonic() + FAILURE_S, self._access.clock()
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
            self.tell_failure(address, "passkey", error.faults[0].message)
        else:
            self.tell_failure(address, "passkey", "another person's")
        raise _failed(until)

    def link(self, token: str, new_password: str, address: str = "", agent: str = "") -> Outcome:
        """Set the password by a one-time link, which uses it up, and sign in. A second factor is asked for as ever.

        :raises InvalidError: every fault of the password; the link stays good.
        :raises RefusedError: ``link_invalid``: unknown, used or too old.
        """
        until, now = time.monotonic() + FAILURE_S, self._access.clock()
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
        self.tell_failure(address, "link")
        _wait(until)
        raise RefusedError(
            "this link isn't good, or not any more", "ask for another: centralino access link", error_id="link_invalid"
        )

    def vouched(
        self,
        person: Person,
        by: str,
        address: str = "",
        agent: str = "",
        *,
        proved: bool = False,
        roles: tuple[str, ...] = (),
    ) -> Outcome:
        """A new session for somebody for whom a provider of single sign-on vouches.

        :param by: which, for the audit.
        :param proved: it has asked for a second factor, in whose place that stands. Else ours is asked for as ever.
        :param roles: those that the provider's groups give.
        """
        now = self._access.clock()
        with self._database.write() as connection:
            factor = by if proved else ""
            return self._begin(connection, now, person, address, agent, proved=factor, by=by, roles=roles)

    def session_of(self, token: str, address: str = "") -> tuple[Session, Person] | None:
        """See :meth:`Access.session_of`."""
        return self._access.session_of(self._people(), token, address)

    # -- in a session -------------------------------------------------------------------------------------------------

    def again(self, session: Session, password: str, address: str = "") -> Outcome:
        """A fresh proof, before something that matters is changed. Raises RefusedError (``sign_in_failed``;
        ``directory_silent``)."""
        document = self._people()
        until = self._until(document)
        self._proved(document, self._full(session), None, password, address, until)
        with self._database.write() as connection:
            return Outcome(*sessions.raise_to(connection, self._access.clock(), session, Stage.FULL))

    def change_password(self, session: Session, old: str, new: str, address: str = "") -> Outcome:
        """Another password kept here; all other sessions end. Raises InvalidError (the new one's faults), RefusedError
        (``sign_in_failed``: the old one is wrong)."""
        until = time.monotonic() + FAILURE_S
        person = self._full(session)
        passwords.check(new, person)
        charged = self._charge(f"password {person.id}", person.id, address, until)
        kept = self._local(person, old)
        if kept is None:
            self._tell_wrong(person.id, person.id, address)
            raise _failed(until)
        anew, now = passwords.hash_of(new), self._access.clock()
        with self._database.write() as connection:
            throttle.give_back(connection, charged)
            if password_of(connection, person.id) == kept:
                self._set(connection, now, person.id, anew, address, but=session.id)
                return Outcome(*sessions.raise_to(connection, now, session, Stage.FULL))
        raise _failed(until)

    # -- parts --------------------------------------------------------------------------------------------------------

    def _until(self, document: Document) -> float:
        """When an attempt that fails is answered, on the monotonic clock."""
        return time.monotonic() + (DIRECTORY_FAILURE_S if enabled(document) else FAILURE_S)

    def _proved(
        self, document: Document, person: Person | None, typed: str | None, password: str, address: str, until: float
    ) -> Proof:
        """Whose password it is. Else it is told, and RefusedError is raised in time.

        :param person: whom the document knows by what was ``typed``; with None typed it must be that person's.
        """
        id = person.id if person is not None else None
        charges = {id: self._charge(f"password {id or folded(typed or '')}", id, address, until)}
        kept = self._local(person, password)
        if kept is not None and person is not None and may_use_local(document, person):
            self._give_back(charges[id])
            return Proof(person, kept)
        reason, silent = "", False
        if enabled(document):

            def permit(found: Person) -> bool:
                """A directory knows people by other names too: what counts is whose account is tried."""
                if found.id in charges:
                    return True
                charges[found.id] = self._charged(f"password {found.id}", found.id, address)
                return charges[found.id].allowed

            who = person if typed is None and person is not None else typed or ""
            taken = self._directories.check(document, who, password, permit)
            if taken.person is not None:
                self._give_back(*(charged for whose, charged in charges.items() if whose in (id, taken.person.id)))
                return Proof(taken.person, by=f"directory {taken.service}", roles=taken.roles)
            reason, silent = taken.reason, taken.silent
        self._tell_wrong(id, typed or "", address, reason)
        raise _silent(until) if silent else _failed(until)

    def _local(self, person: Person | None, password: str) -> str | None:
        """The kept hash, if that is right. Takes its time, whoever it is."""
        kept = None
        if person is not None:
            with self._database.read() as connection:
                kept = password_of(connection, person.id)
        return kept if passwords.verify(kept, password) else None

    def _give_back(self, *charges: throttle.Charge) -> None:
        with self._database.write() as connection:
            for charged in charges:
                throttle.give_back(connection, charged)

    def _tell_wrong(self, id: str | None, typed: str, address: str, reason: str = "") -> None:
        self._report("portal", address, "failed", id or unknown(folded(typed)), later("wrong password"))
        known = {} if id is not None else {"account": "unknown"}
        more = {"directory": reason} if reason else {}
        now = self._access.clock()
        with self._database.write() as connection:
            audit.append(connection, now, Event.FAILED, id or "", address=address, step="password", **known, **more)

    def _charge(self, account: str, owner: str | None, address: str, until: float) -> throttle.Charge:
        charged = self._charged(account, owner, address)
        if not charged.allowed:
            raise _failed(until)
        return charged

    def _charged(self, account: str, owner: str | None, address: str) -> throttle.Charge:
        """Count an attempt, or refuse it; a refusal is told once."""
        now = self._access.clock()
        with self._database.write() as connection:
            charged = throttle.charge(connection, now, account, address, owner=owner)
            if charged.news:
                audit.append(connection, now, Event.THROTTLED, owner or "", address=address)
        if not charged.allowed:
            tried = owner or unknown(account.partition(" ")[2])
            self._report("portal", address, "failed", tried, later("too many attempts"))
        return charged

    def tell_failure(self, address: str, step: str, reason: str = "") -> None:
        """What can't be guessed needs no throttling; only the audit must not be filled by it."""
        self._report("portal", address, "failed", step, reason or later("refused"))
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
        roles: tuple[str, ...] = (),
    ) -> Outcome:
        """A session, as far as was proved: ``proved`` names what proves everything."""
        stage = Stage.FULL
        if not proved and held(connection, person.id).factor:
            stage = Stage.PASSWORD
        elif not proved and self._must(with_roles(person, roles)):
            stage = Stage.ENROL
        session, token = sessions.create(connection, now, person.id, stage, address, agent, roles)
        event = Event.PASSWORD_RIGHT if stage is Stage.PASSWORD else Event.SIGNED_IN
        audit.append(
            connection, now, event, person.id, address=address, session=session.id, by=proved or by, stage=stage.value
        )
        if stage is Stage.FULL:
            throttle.remember(connection, now, person.id, address)
            self._report("portal", address, "succeeded", person.id)
        return Outcome(session, token)

    def _raise(
        self, connection: Connection, now: Moment, session: Session, address: str, how: str, left: int | None
    ) -> Outcome:
        raised, token = sessions.raise_to(connection, now, session, Stage.FULL)
        audit.append(connection, now, Event.SIGNED_IN, session.person, address=address, session=session.id, by=how)
        throttle.remember(connection, now, session.person, address)
        self._report("portal", address, "succeeded", session.person)
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


def _wait(until: float) -> None:
    time.sleep(max(0.0, until - time.monotonic()))


def _failed(until: float) -> RefusedError:
    _wait(until)
    return RefusedError(
        "that is not right, or there were too many attempts",
        "check what you typed; after several attempts wait some minutes",
        error_id="sign_in_failed",
    )


def _silent(until: float) -> RefusedError:
    _wait(until)
    return RefusedError(
        "the company's directory doesn't answer: only passwords kept here are good now",
        "try again later; administrators sign in with their password of this system",
        error_id="directory_silent",
    )


def _wrong_stage() -> RefusedError:
    return RefusedError(
        "this session hasn't proved everything yet", "finish signing in first", error_id="session_stage"
    )
