"""Whoever signed in to the portal: the same sessions, roles and rights as everywhere."""

from __future__ import annotations

from collections.abc import Iterable

from appliance.access.access import Access
from appliance.access.live import View, own_extensions, shown, view_of
from appliance.access.permissions import subject_of
from appliance.access.sessions import Stage
from appliance.core.document import Document
from appliance.hub.subject import Message, Subject
from appliance.store import Store


class Sessions:
    """The hub's authenticator: a session in which everything was proved, of somebody whom the document in force knows."""

    def __init__(self, store: Store, access: Access) -> None:
        self._store, self._access = store, access

    def subject(self, token: str, address: str) -> Subject | None:
        """Whose session this is. Raises CentralinoError when that can't be looked up."""
        document = self._store.document()
        found = self._access.session_of(document, token, address)
        if found is None or found[0].stage is not Stage.FULL:
            return None
        return subject_in(document, found[1].id, found[0].roles)


def subject_in(document: Document, person: str, more: Iterable[str] = ()) -> Subject | None:
    """A person with the rights that its roles give, and those that groups elsewhere give it."""
    found = subject_of(document, person, more)
    return None if found is None else Subject(person, view_of(found.grants), own_extensions(document, person))


def visible(subject: Subject, message: Message) -> Message | None:
    """What of a message somebody may see; see :mod:`appliance.access.live`."""
    if not isinstance(subject.view, View):
        return None
    seen = shown(subject.view, subject.extensions, message.type, message.room, message.data)
    return None if seen is None else message if seen is message.data else message.with_data(seen)
