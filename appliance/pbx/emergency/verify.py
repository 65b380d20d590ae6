"""Can everybody reach help? What is missing is told, but nothing is held up: a site may be under construction."""

from __future__ import annotations

from collections.abc import Iterator

from appliance.core.document import Document
from appliance.core.errors import Fault
from appliance.organisation.model import Site
from appliance.pbx.extensions.model import Device, Extension
from appliance.pbx.routing.model import Did
from appliance.pbx.trunks.model import Trunk
from appliance.pbx.trunks.order import flattened


def verify(document: Document) -> Iterator[Fault]:
    """Every fault found, each with its path and how to mend it."""
    ours = {did.number for did in document.all(Did).values()}
    for site in document.all(Site).values():
        if site.emergency_number is not None and site.emergency_number not in ours:
            yield Fault(
                site.path("emergency_number"),
                f"{site.emergency_number} is not a number of this appliance: emergency services couldn't call back",
                "use the number of a did that is answered at the site",
                "emergency_number_not_ours",
            )
    extensions = document.all(Extension)
    occupied: dict[str, Device] = {}
    for device in document.all(Device).values():
        extension = extensions.get(device.extension)
        if extension is None:
            continue
        occupied.setdefault(device.site or extension.site, device)
        if device.nomadic:
            yield Fault(
                device.path("nomadic"),
                f"extension {extension.number} may call emergency services from a place that isn't known to them",
                "tell its user to use another telephone in an emergency",
                "nomadic_emergency",
                "warning",
            )
    for id in sorted(occupied):
        place = document.find(Site, id)
        if place is not None:
            yield from _site(document, place)


def _site(document: Document, site: Site) -> Iterator[Fault]:
    trunks = flattened(document, site.trunks)
    if not document.all(Trunk):
        yield Fault(
            site.path("trunks"),
            "has devices, but there is no trunk at all: emergency calls can't leave",
            "add a trunk and name it in the site's trunks",
            "no_emergency_way_out",
            "warning",
        )
    elif not trunks:
        yield Fault(
            site.path("trunks"),
            "has devices but no trunk of its own: its emergency calls leave by other sites' trunks",
            "name the trunks of this place in the site's trunks",
            "no_emergency_way_out",
            "warning",
        )
    if site.emergency_number is None:
        yield Fault(
            site.path("emergency_number"),
            "has devices but no emergency calling number: emergency services see the trunk's main number",
            "set it to the number of a did that is answered at the site",
            "no_emergency_number",
            "warning",
        )
