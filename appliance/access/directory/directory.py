"""Whether a directory takes a password, and whose it is.

The account for looking people up searches; then the person's own name and password are tried on the same connection. Of somebody
who isn't found, a name that nobody has is tried instead, so that both take two round trips.

A server that didn't answer isn't asked again for ``AWAY_S``: whoever signs in meanwhile is told at once.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from appliance import tls
from appliance.access.directory import messages
from appliance.access.directory.connection import Connection
from appliance.access.directory.messages import Code, Entry, Filter, Scope
from appliance.access.people import person_of
from appliance.core.document import Document
from appliance.core.errors import UnavailableError
from appliance.organisation.model import DirectorySecurity, DirectoryService, Person, PersonBy

SERVER_S: Final = 4.0
"""Seconds that one server has for everything."""
WHOLE_S: Final = 8.0
"""Seconds after which no further server is asked."""
AWAY_S: Final = 10.0
PORTS: Final = {DirectorySecurity.LDAPS: 636, DirectorySecurity.STARTTLS: 389}
_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Found:
    """Somebody's entry. ``values``: of the attribute that tells the person. ``groups``: those asked for that they belong to."""

    dn: str
    values: tuple[str, ...]
    groups: frozenset[str] = frozenset()

    def person(self, service: DirectoryService, document: Document) -> Person | None:
        """Whose it is. None also when it could be two people's."""
        return person_of(document, service.person_by, self.values)


@dataclass(frozen=True, slots=True)
class Verdict:
    """``found``: the password is right and this is whose it is. Else ``reason`` says why not, for the audit."""

    found: Found | None
    reason: str = ""


class Leave(StrEnum):
    """What may be done with a password, now that it is known whose entry it would open."""

    TRY = "try"
    TRY_NOBODY = "try_nobody"  # it can open nothing here: it isn't shown to the directory as theirs
    REFUSE = "refuse"


Permit = Callable[[Found | None], Leave]
"""Asked before a password is tried."""


@dataclass(slots=True)
class Away:
    """Servers that didn't answer, and until when they aren't asked. Thread-safe."""

    _until: dict[tuple[str, int], float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, server: tuple[str, int]) -> None:
        with self._lock:
            self._until[server] = time.monotonic() + AWAY_S

    def is_away(self, server: tuple[str, int]) -> bool:
        with self._lock:
            return time.monotonic() < self._until.get(server, 0.0)

    def is_back(self, server: tuple[str, int]) -> None:
        with self._lock:
            self._until.pop(server, None)


class Directory:
    """One directory.

    :param password: of the account that looks people up; None: nobody has handed it to us.
    :param away: what is known of servers, shared by all questions of this process.
    """

    def __init__(self, service: DirectoryService, password: str | None, away: Away) -> None:
        self._service, self._password, self._away = service, password, away

    def by_name(self, name: str) -> Filter | None:
        """Who may have typed this; None: nobody. What stands before a backslash is a domain's name (``EXAMPLE\\\\ann``)."""
        typed = name.rpartition("\\")[2].strip().encode(errors="replace").decode()
        if not typed:
            return None
        return self._person(messages.any_of(*(messages.equal(each, typed) for each in self._service.login_attributes)))

    def by_person(self, person: Person) -> Filter | None:
        """The entry of a person of the document; None: it can't be told."""
        value = person.email if self._service.person_by is PersonBy.EMAIL else person.id
        return None if value is None else self._person(messages.equal(self._service.person_attribute, value))

    def check(self, wanted: Filter, password: str, permit: Permit, groups: frozenset[str] = frozenset()) -> Verdict:
        """Whose entry it is, if the password is right.

        :param permit: asked before the password is tried.
        :param groups: of which membership is looked up.
        :raises UnavailableError: no server answers, or none takes the account that looks people up.
        """
        return self._with_server(lambda server: self._checked(server, wanted, password, permit, groups))

    def probe(self) -> list[UnavailableError]:
        """What is wrong with each server; none: all is well."""
        found = []
        for server in self._servers():
            try:
                with self._connected(server, time.monotonic() + SERVER_S) as connection:
                    self._bound(connection)
            except UnavailableError as error:
                found.append(error)
        return found

    # -- servers --------------------------------------------------------------------------------------------------

    def _servers(self) -> list[tuple[str, int]]:
        return [(each.host, each.port or PORTS[self._service.security]) for each in self._service.servers]

    def _with_server(self, act: Callable[[Connection], Verdict]) -> Verdict:
        until = time.monotonic() + WHOLE_S
        error = UnavailableError("no server of the directory answered", "try again", error_id="directory_away")
        for server in self._servers():
            if self._away.is_away(server) or time.monotonic() >= until:
                continue
            try:
                with self._connected(server, min(until, time.monotonic() + SERVER_S)) as connection:
                    self._bound(connection)
                    verdict = act(connection)
            except UnavailableError as reason:
                if reason.error_id != "directory_refuses":  # that may depend on who is asked for
                    self._away.note(server)
                _log.warning("directory %s: %s", self._service.id, reason.message)
                error = reason
            else:
                self._away.is_back(server)
                return verdict
        raise error

    def _connected(self, server: tuple[str, int], deadline: float) -> Connection:
        context = tls.context(self._service.authority)
        start_tls = self._service.security is DirectorySecurity.STARTTLS
        return Connection(*server, context, start_tls=start_tls, deadline=deadline)

    def _bound(self, connection: Connection) -> None:
        """As the account that looks people up."""
        if not self._password:
            raise UnavailableError(
                "the password of the account that looks people up isn't there",
                f"centralino secret set {self._service.secret}, then commit",
                error_id="directory_account",
            )
        result = connection.bind(self._service.bind_dn, self._password)
        if not result.right:
            raise UnavailableError(
                f"the directory doesn't take the account that looks people up (result {result.code})",
                f"check bind_dn, and centralino secret set {self._service.secret}",
                error_id="directory_account",
            )

    # -- people ---------------------------------------------------------------------------------------------------

    def _person(self, filter: Filter) -> Filter:
        return messages.both(messages.equal("objectClass", self._service.user_class), filter)

    def _checked(
        self, connection: Connection, wanted: Filter, password: str, permit: Permit, groups: frozenset[str]
    ) -> Verdict:
        found, reason = self._found(connection, wanted)
        leave = permit(found)
        if leave is Leave.REFUSE:
            return Verdict(None, "too many attempts")
        if leave is Leave.TRY_NOBODY and found is not None:
            found, reason = None, "nobody of the document"
        # An empty password would bind nobody and succeed; text that isn't any can't be sent.
        sendable = bool(password) and _is_text(password)
        if found is None:
            if sendable:
                nobody = f"cn={secrets.token_hex(12)},{self._service.base}"
                connection.bind(nobody, password)
            return Verdict(None, reason)
        required = self._service.required_group
        asked = groups if required is None else groups | {required}
        member = frozenset(group for group in sorted(asked) if self._is_member(connection, found.dn, group))
        if not sendable or not self._takes(connection, found.dn, password):
            return Verdict(None, "wrong password")
        if required is not None and required not in member:
            return Verdict(None, "not in the group")
        return Verdict(Found(found.dn, found.values, member))

    def _found(self, connection: Connection, wanted: Filter) -> tuple[Found | None, str]:
        attribute = self._service.person_attribute
        result, entries = connection.search(self._service.base, Scope.SUBTREE, wanted, (attribute,), 2)
        if len(entries) > 1 or result.code == Code.SIZE_LIMIT:
            return None, "several entries have that name"
        if result.code in (Code.NO_SUCH_OBJECT, Code.REFERRAL) or (result.right and not entries):
            return None, "not in the directory"
        if not result.right:
            raise self._refused(result.code)
        entry = entries[0]
        return Found(entry.dn, entry.attributes.get(attribute.lower(), ())), ""

    def _is_member(self, connection: Connection, dn: str, group: str) -> bool:
        if self._service.nested_groups:
            place, filter = dn, messages.matches(messages.IN_CHAIN, "memberOf", group)
        else:
            place, filter = group, messages.any_of(messages.equal("member", dn), messages.equal("uniqueMember", dn))
        result, entries = connection.search(place, Scope.BASE, filter, ("1.1",), 1)
        if result.code == Code.NO_SUCH_OBJECT:
            _log.warning("directory %s: there is no group %s", self._service.id, group)
            return False
        if not result.right:
            raise self._refused(result.code)
        return bool(_named(entries))

    def _takes(self, connection: Connection, dn: str, password: str) -> bool:
        """Whether the directory takes somebody's password. Expired, locked, must be changed: all that is a no."""
        result = connection.bind(dn, password)
        if result.code in (Code.BUSY, Code.UNAVAILABLE):
            raise self._refused(result.code)
        return result.right

    @staticmethod
    def _refused(code: int) -> UnavailableError:
        return UnavailableError(
            f"the directory refuses to look people up (result {code})",
            "the account of bind_dn must be allowed to read people and groups",
            error_id="directory_refuses",
        )


def _named(entries: list[Entry]) -> list[Entry]:
    return [entry for entry in entries if entry.dn]


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\x00" not in text
