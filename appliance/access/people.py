"""Who an account belongs to: people are objects of the document."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Set
from typing import Final

from appliance.core.document import Document
from appliance.organisation.model import Person, PersonBy

Documents = Callable[[], Document]
"""Gives the document in force."""
NAME_MAX: Final = 320
"""Characters of the longest login name looked at: an e-mail address."""


def find_person(document: Document, name: str) -> Person | None:
    """The person with this id or e-mail, capitals or not. None as well when two have the same e-mail: neither is meant.

    Every person is looked at, whoever is found, so that the time it takes tells nothing.
    """
    wanted = folded(name)
    people = document.all(Person)
    found = people.get(wanted)
    by_email = [person for person in people.values() if person.email is not None and person.email.casefold() == wanted]
    if found is not None:
        return found
    return by_email[0] if len(by_email) == 1 else None


def person_of(document: Document, by: PersonBy, values: Iterable[str]) -> Person | None:
    """The person whom somebody elsewhere (a directory, a provider) names: by e-mail or id, capitals or not. None also when it
    could be two people, or when the same address is two people's."""
    wanted = {folded(value) for value in values} - {""}
    found = [
        person
        for person in document.all(Person).values()
        if (person.id if by is PersonBy.ID else (person.email or "").casefold()) in wanted
    ]
    return found[0] if len(found) == 1 else None


def folded(name: str) -> str:
    """A login name as it is compared."""
    return name[:NAME_MAX].strip().casefold()


def known_people(document: Document) -> Set[str]:
    """Ids of all people of the document."""
    return document.all(Person).keys()
