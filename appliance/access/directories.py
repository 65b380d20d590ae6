"""The document's directories as a way in: which of them takes a password, who that is, and what it makes of local passwords."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from appliance.access.directory.directory import WHOLE_S, Away, Directory, Found, Leave, Verdict
from appliance.access.outward import Outward
from appliance.core.document import Document
from appliance.core.errors import UnavailableError
from appliance.organisation.model import DirectoryService, IdentityProvider, LocalPasswords, Person

ADMINISTRATOR: Final = "administrator"
Secrets = Callable[[str], str | None]
"""Secret id → clear text, of those that we were handed."""


def enabled(document: Document) -> list[DirectoryService]:
    """Directories that are asked, in order of their ids."""
    found = document.all(DirectoryService)
    return [found[id] for id in sorted(found) if found[id].enabled]


def may_use_local(document: Document, person: Person | None) -> bool:
    """Whether a password kept here lets somebody in. Administrators' always do: the way in when the directory is gone."""
    strict = any(each.local_passwords is LocalPasswords.ADMINISTRATORS for each in enabled(document))
    return not strict or person is None or ADMINISTRATOR in person.roles


def roles_given(document: Document) -> frozenset[str]:
    """Ids of all roles that groups elsewhere may give."""
    providers = (each for each in document.all(IdentityProvider).values() if each.enabled)
    vouching: tuple[DirectoryService | IdentityProvider, ...] = (*enabled(document), *providers)
    return frozenset(each.role for service in vouching for each in service.groups)


def with_roles(person: Person, roles: Iterable[str]) -> Person:
    """A person with more roles than its own."""
    return person.model_copy(update={"roles": tuple(dict.fromkeys((*person.roles, *roles)))})


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of it. ``person``: whose password it is. Else ``reason`` says why nobody's, and ``silent`` that a directory
    couldn't be asked."""

    person: Person | None = None
    service: str = ""
    roles: tuple[str, ...] = ()
    reason: str = ""
    silent: bool = False


Permit = Callable[[Person], bool]
"""Whether a password may be tried on this person's account now."""


class Directories:
    """Those of one installation. Thread-safe."""

    def __init__(self, secrets: Secrets, outward: Outward) -> None:
        self._secrets, self._outward = secrets, outward
        self._away: dict[str, Away] = {}

    def check(self, document: Document, who: str | Person, password: str, permit: Permit) -> Taken:
        """Ask one after the other until one takes the password of somebody who is in the document.

        :param who: what was typed, or a person of the document whose own password it must be.
        """
        reasons: list[str] = []
        silent = False
        for service in enabled(document):
            try:
                taken = self._ask(service, document, who, password, permit)
            except UnavailableError as error:
                silent = True
                reasons.append(f"{service.id}: {error.error_id}")
                continue
            if taken.person is not None:
                return taken
            reasons.append(f"{service.id}: {taken.reason}")
        return Taken(reason="; ".join(reasons), silent=silent)

    def probe(self, document: Document) -> Iterator[tuple[DirectoryService, list[UnavailableError]]]:
        """Each directory, and what is wrong with its servers."""
        for service in enabled(document):
            try:
                yield service, self._outward.ask(self._directory(service).probe, 4 * WHOLE_S)
            except UnavailableError as error:
                yield service, [error]

    def _directory(self, service: DirectoryService) -> Directory:
        return Directory(service, self._secrets(service.secret), self._away.setdefault(service.id, Away()))

    def _ask(
        self, service: DirectoryService, document: Document, who: str | Person, password: str, permit: Permit
    ) -> Taken:
        directory = self._directory(service)
        wanted = directory.by_name(who) if isinstance(who, str) else directory.by_person(who)
        if wanted is None:
            return Taken(reason="the person has nothing to be found by")
        groups = frozenset(each.group for each in service.groups)

        def permitted(found: Found | None) -> Leave:
            """Others' passwords aren't guessed at through us: only those of people who could get in here are tried."""
            person = None if found is None else found.person(service, document)
            if person is None or (isinstance(who, Person) and person.id != who.id):
                return Leave.TRY_NOBODY
            return Leave.TRY if permit(person) else Leave.REFUSE

        def ask() -> Verdict:
            return directory.check(wanted, password, permitted, groups)

        verdict = self._outward.ask(ask, WHOLE_S + 1)
        if verdict.found is None:
            return Taken(reason=verdict.reason)
        person = verdict.found.person(service, document)
        if person is None:
            return Taken(reason="nobody of the document")
        roles = tuple(dict.fromkeys(each.role for each in service.groups if each.group in verdict.found.groups))
        return Taken(person, service.id, roles)
