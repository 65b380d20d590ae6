"""What somebody may see and change (pure): a subject's grants, held against an object of the document.

Nothing is allowed that no grant allows. A grant that is tied to sites reaches the objects there; of objects at no site
(classes of service, number plans …) it lets people see what their role names, since forms must offer them to choose from, but never
change it. A grant for one's own things reaches the person, its extensions, and their devices and passwords.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from appliance.access.roles import BUILT_IN, Permission, permission
from appliance.core.document import Document
from appliance.core.model import Object
from appliance.core.references import references
from appliance.organisation.model import Person, Role, Secret, Site
from appliance.pbx.extensions.model import Device, Extension


@dataclass(frozen=True, slots=True)
class Grant:
    """Permissions, and what they reach: ``sites`` None: everything; ``own``: only what is the person's own."""

    permissions: tuple[Permission, ...]
    sites: frozenset[str] | None = None
    own: bool = False

    @property
    def everywhere(self) -> bool:
        return self.sites is None and not self.own

    def covers(self, subject: str, name: str, *, edit: bool) -> bool:
        return any(each.covers(subject, name, edit=edit) for each in self.permissions)

    def touches(self, subject: str, *, edit: bool) -> bool:
        return any(each.touches(subject, edit=edit) for each in self.permissions)


@dataclass(frozen=True, slots=True)
class Subject:
    """Whoever asks: a person who signed in, or a program with a key.

    ``id`` stands in revisions and in the audit as the author: a person's id, or ``key:<id>``. ``person`` owns what is "own";
    a key's is its owner's.
    """

    id: str
    person: str
    grants: tuple[Grant, ...] = field(default=())

    def may(self, area: str, *, edit: bool = False) -> bool:
        """Whether an area, or some object of a kind, is open to it at all; see `Rights` for single objects."""
        return any(grant.touches(area, edit=edit) for grant in self.grants)


def subject_of(document: Document, person: str, more: Iterable[str] = ()) -> Subject | None:
    """A person as it stands in the document, with the grants of its roles; None: there is no such person.

    :param more: ids of roles that groups elsewhere give it besides.
    """
    found = document.find(Person, person)
    if found is None:
        return None
    sites = frozenset(found.sites) or None
    roles = (BUILT_IN.get(id) or document.find(Role, id) for id in dict.fromkeys((*found.roles, *more)))
    return Subject(person, person, tuple(_grant(role, sites) for role in roles if role is not None))


def narrowed(subject: Subject, id: str, scopes: Iterable[str]) -> Subject:
    """A program that may do what its owner may, and of that only what its key's ``scopes`` name."""
    wanted = [found for found in map(permission, scopes) if found is not None]
    grants = tuple(Grant(tuple(_both(grant.permissions, wanted)), grant.sites, grant.own) for grant in subject.grants)
    return Subject(id, subject.person, grants)


def _both(have: Iterable[Permission], wanted: Iterable[Permission]) -> Iterator[Permission]:
    """What two sets of patterns allow together."""
    wanted = tuple(wanted)
    for one in have:
        for other in wanted:
            if "*" in (one.subject, other.subject) or one.subject == other.subject:
                subject = other.subject if one.subject == "*" else one.subject
                if not one.field or not other.field or one.field == other.field:
                    yield Permission(subject, one.field or other.field, one.edit and other.edit)


def _grant(role: Role, sites: frozenset[str] | None) -> Grant:
    permissions = tuple(found for found in map(permission, role.permissions) if found is not None)
    return Grant(permissions, frozenset(role.sites) or sites, role.own_only)


NOWHERE: Final[frozenset[str]] = frozenset()


class Belongings:
    """Where each object of a document stands, and whose it is."""

    def __init__(self, document: Document) -> None:
        self._document = document

    def sites(self, item: Object) -> frozenset[str]:
        """Ids of the sites that it is at; none: it is at no site, but everybody's.

        A device is where it stands, and where its extension is; a password where those are that use it; a person where its extensions
        are; everything else where it says.
        """
        if isinstance(item, Site):
            return frozenset({item.id})
        if isinstance(item, Device):
            return self._device_sites(item)
        if isinstance(item, Secret):
            # One that something at no site uses as well is everybody's: a phone made to share a trunk's password must not open it.
            places = [self.sites(user) for user in self._users_of_secrets.get(item.id, ())]
            return frozenset().union(*places) if all(places) else NOWHERE
        if isinstance(item, Person):
            return frozenset(extension.site for extension in self._extensions.get(item.id, ()))
        site = getattr(item, "site", None)
        return frozenset({site}) if isinstance(site, str) else NOWHERE

    def owner(self, item: Object) -> str | None:
        """Id of the person whose it is."""
        if isinstance(item, Person):
            return item.id
        if isinstance(item, Extension):
            return item.person
        if isinstance(item, Device):
            extension = self._document.find(Extension, item.extension)
            return None if extension is None else extension.person
        if isinstance(item, Secret):
            owners = {self.owner(user) for user in self._users_of_secrets.get(item.id, ())}
            return owners.pop() if len(owners) == 1 else None
        return None

    def _device_sites(self, device: Device) -> frozenset[str]:
        extension = self._document.find(Extension, device.extension)
        found = {device.site, None if extension is None else extension.site}
        return frozenset(site for site in found if site is not None)

    @cached_property
    def _extensions(self) -> dict[str, list[Extension]]:
        found: dict[str, list[Extension]] = {}
        for extension in self._document.all(Extension).values():
            if extension.person is not None:
                found.setdefault(extension.person, []).append(extension)
        return found

    @cached_property
    def _users_of_secrets(self) -> dict[str, list[Object]]:
        found: dict[str, list[Object]] = {}
        for device in self._document.all(Device).values():
            found.setdefault(device.secret, []).append(device)
        for kind, objects in self._document.objects.items():
            if kind not in (Device.kind, Secret.kind):
                for item in objects.values():
                    for _path, id, kinds in references(item):
                        if Secret.kind in kinds:
                            found.setdefault(id, []).append(item)
        return found


class Rights:
    """One subject's rights in one document."""

    def __init__(self, subject: Subject, document: Document) -> None:
        self.subject = subject
        self._belongings = Belongings(document)
        self._wholly: dict[tuple[str, bool], frozenset[str]] = {}

    def may(self, item: Object, name: str = "", *, edit: bool = False) -> bool:
        """Whether a field of an object may be seen or changed; ``name`` empty: all of its fields."""
        return any(
            grant.covers(item.kind, name, edit=edit) and self._reaches(grant, item, edit=edit)
            for grant in self.subject.grants
        )

    def fields(self, item: Object, *, edit: bool = False) -> frozenset[str]:
        """Fields of an object that may be seen, or changed. With none, there is no such object for this subject."""
        wholly = self._wholly.get((item.kind, edit))
        if wholly is None:
            wholly = self._wholly[item.kind, edit] = self._of_kind(type(item), edit=edit)
        if wholly:
            return wholly
        names = type(item).model_fields.keys()
        found: set[str] = set()
        for grant in self.subject.grants:
            if grant.touches(item.kind, edit=edit) and self._reaches(grant, item, edit=edit):
                if grant.covers(item.kind, "", edit=edit):
                    return frozenset(names)
                found.update(name for name in names if grant.covers(item.kind, name, edit=edit))
        return frozenset(found | {"id"}) if found else frozenset()

    def _of_kind(self, model: type[Object], *, edit: bool) -> frozenset[str]:
        """Every field, if some right opens all objects of the kind wherever they are; else none."""
        everything = any(grant.everywhere and grant.covers(model.kind, "", edit=edit) for grant in self.subject.grants)
        return frozenset(model.model_fields) if everything else NOWHERE

    def _reaches(self, grant: Grant, item: Object, *, edit: bool) -> bool:
        if grant.own and self._belongings.owner(item) != self.subject.person:
            return False
        if grant.sites is None:
            return True
        sites = self._belongings.sites(item)
        # Whoever may change things at one site may not move them to another, nor change what both share.
        return sites <= grant.sites and bool(sites) if edit else not sites or bool(sites & grant.sites)
