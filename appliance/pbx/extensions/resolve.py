"""What a device is, resolved device → extension → site → company (pure)."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.core.document import Document
from appliance.organisation.model import Company, Person, Site
from appliance.pbx.extensions.model import Device, Extension
from appliance.pbx.numbers.model import DEFAULT_CLASS, ClassOfService, NumberCategory


@dataclass(frozen=True, slots=True)
class Identity:
    """Whoever calls: one extension as seen from one place (its own site, or that of one of its devices).

    ``caller_number`` and ``emergency_number`` are E.164 or empty; ``class_of_service`` is an id or empty; ``inside``: its
    class may call extensions and groups.
    """

    extension: str
    number: str
    site: str
    time_zone: str
    class_of_service: str
    caller_number: str
    emergency_number: str
    language: str
    inside: bool
    forward: str
    transfer: str


def identity(document: Document, extension: Extension, device: Device | None = None) -> Identity:
    """Who calls from an extension, or from one of its devices."""
    site = document.get(Site, (device.site if device else None) or extension.site)
    company = document.get(Company, site.company)
    chain = (device, extension, site)
    class_of_service = next((item.class_of_service for item in chain if item and item.class_of_service), "")
    caller_number = next((item.caller_number for item in (*chain, company) if item and item.caller_number), "")
    person = document.find(Person, extension.person)
    language = next((item.language for item in (device, extension, person, site) if item and item.language), None)
    found = (document.find(ClassOfService, class_of_service) if class_of_service else None) or DEFAULT_CLASS
    inside = NumberCategory.INTERNAL in found.allow
    return Identity(
        extension.id,
        extension.number,
        site.id,
        site.time_zone,
        class_of_service,
        caller_number,
        site.emergency_number or "",
        language or company.language,
        inside,
        reach(inside, found.may_forward_outside),
        reach(inside, found.may_transfer_outside),
    )


def reach(inside: bool, outside: bool) -> str:
    """How far a call may be sent on, as in the names of the contexts ``sent-on-<reach>``."""
    if inside:
        return "outside" if outside else "inside"
    return "outside-only" if outside else "nowhere"


def display_name(document: Document, extension: Extension) -> str:
    """The name that others see: the person's, else the label, else the number."""
    person = document.find(Person, extension.person)
    return person.name if person else extension.label or extension.number
